"""1,000 to 1,000,000 small snippets in one store: what it costs to read, list, search, walk and index them."""

from __future__ import annotations

import itertools
import json
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from bench.content import pages
from bench.measure import timed
from bench.processes import core, settle
from bench.series import Curve, Scale
from reed.client import Client, Request
from reed.wire.codes import Command
from reed.wire.schema import SchemaBond
from reed.wire.snippets import SnippetCreate, SnippetWritten

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
POSTGRES_MOST = 100_000  # a million would take half an hour
BRANCHES = 10  # of each parent in a tree of 1,000
TREE = 1_000
TYPE = {"schema": {"type": "object"}, "searchable": {"title": 3, "text": 1}, "composed_of": ["note"]}


def curves(scale: Scale) -> Iterator[Curve]:
    """SQLite and PostgreSQL are filled and read in turn, so that what else the machine does is seen on both."""
    with ExitStack() as stack:
        sides = [_Side("sqlite", "", COUNTS[-1], stack)]
        if scale.postgres:
            sides.append(_Side(f"postgres:{scale.postgres}", ", PostgreSQL", POSTGRES_MOST, stack))
        for count in COUNTS:
            for side in sides:
                if count <= min(scale.most, side.most):
                    side.grow(count)
                    side.read()
    for side in sides:
        yield from side.curves


class _Side:
    """A core on a store, and what it cost so far."""

    def __init__(self, store: str, suffix: str, most: int, stack: ExitStack) -> None:
        def curve(plot: str, name: str, unit: str, may_grow: float) -> Curve:
            self.curves.append(Curve(plot, f"{name}{suffix}", "snippets", unit, may_grow))
            return self.curves[-1]

        self.curves: list[Curve] = []
        self.most = most
        self._suffix = suffix
        self._reads = {
            "GET": curve("snippets", "GET by id, any of them", "us", 0),
            "LIST": curve("snippets", "LIST of 100, anywhere", "us", 0),
            "TREE": curve("snippets", "TREE of 1,000", "us", 0),
            "rare": curve("snippets", "SEARCH, a word of 20 of them", "us", 0),
            "common": curve("search", "SEARCH, a word of 1 in 20", "ms", 1),
        }
        self._writes = curve("writes", "CREATE, 512 in flight", "us each", 0)
        self._reindex = curve("writes", "reindex of everything", "us each", 0)
        self._memory = curve("memory of snippets", "memory of the core", "MB", 0.5)
        environ = {"REED_STORE": store, "REED_TIMING_SEARCH_TIMEOUT": "30"}
        self._site = stack.enter_context(core(environ=environ))
        self._client = stack.enter_context(Client(self._site.socket, timeout=1200))
        self._client.registry_define("note", TYPE)
        self._memory.add(1, self._site.memory() / 1e6)
        self._ids: list[str] = []
        self._source = _contents()

    def grow(self, count: int) -> None:
        """Until there are so many snippets, all of them indexed; then index them again."""
        client, ids = self._client, self._ids
        before = len(ids)
        seconds = timed(lambda: ids.extend(_create(client, self._source, count - before)))
        self._writes.add(count, seconds / (count - before) * 1e6)
        if not before:
            _bond(client, ids[:TREE])
        settle(client)
        self._reindex.add(count, timed(client.search_index) / count * 1e6)
        settle(client)

    def read(self) -> None:
        _reads(self._client, self._ids, self._reads)
        memory = self._site.memory() / 1e6
        self._memory.add(len(self._ids), memory)
        print(f"  {len(self._ids):,} snippets{self._suffix}: the core has {memory:.1f} MB", flush=True)


def _contents() -> Iterator[bytes]:
    """Notes of a title and ten words; `everytwentieth` is in one of 20, `rare` in the first 20 of all."""
    made = [(page["title"], page["description"]) for page in pages(5_000, body_words=4)]
    for number in itertools.count():
        title, text = made[number % len(made)]
        marks = (" everytwentieth" if number % 20 == 7 else "") + (" raritas" if number < 20 else "")
        yield json.dumps({"title": f"{title} {number}", "text": text + marks}).encode()


def _create(client: Client, source: Iterator[bytes], count: int) -> Iterator[str]:
    requests = (
        Request(Command.SNIPPET_CREATE, SnippetCreate("note", "", content).pack())
        for content in itertools.islice(source, count)
    )
    for _, answer in client.pipelined(requests):
        if isinstance(answer, Exception):
            raise answer
        yield SnippetWritten.unpack(answer).snippet_id


def _bond(client: Client, ids: list[str]) -> None:
    bonds = (SchemaBond(ids[(at - 1) // BRANCHES], ids[at], at, "").pack() for at in range(1, len(ids)))
    for _ in client.pipelined(Request(Command.SCHEMA_BOND, bond) for bond in bonds):
        pass


def _reads(client: Client, ids: list[str], curves: dict[str, Curve]) -> None:
    rng = random.Random(5)

    def any_id() -> str:
        return ids[rng.randrange(len(ids))]

    operations: dict[str, tuple[Callable[[], object], int]] = {
        "GET": (lambda: client.snippet_get(any_id()), 1000),
        "LIST": (lambda: client.snippet_list("", any_id(), 100), 100),
        "TREE": (lambda: client.schema_tree(ids[0]), 10),
        "rare": (lambda: client.search("raritas"), 50),
        "common": (lambda: client.search("everytwentieth"), 5),
    }
    for name, (operation, times) in operations.items():
        curve = curves[name]
        seconds = statistics.median(timed(operation) for _ in range(times))
        curve.add(len(ids), seconds * (1e3 if curve.unit == "ms" else 1e6))
