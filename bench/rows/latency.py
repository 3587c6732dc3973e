"""What one client waits, at p99: to be connected and answered, and for simple and complex commands (reedcms-10.md).

The core holds 942 pages, bonded as a tree, and has indexed them. The client is the blocking one of `reed.client`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.content import KILOBYTE, PAGE_TYPE, pages_file
from bench.lines import Line
from bench.measure import quantile, timed
from bench.processes import Site, connect, core, settle
from bench.rows import Run
from reed.client import Client, Request
from reed.wire.codes import Command
from reed.wire.schema import SchemaBond
from reed.wire.snippets import SnippetCreate, SnippetWritten

BRANCHES = 12


def measure(run: Run) -> list[Line]:
    path, _ = pages_file(run.folder)
    with core() as site, Client(site.socket) as client:
        ids = fill(client, path)
        settle(client)
        simple: dict[str, Callable[[], object]] = {
            "SNIPPET_GET": lambda: client.snippet_get(ids[500]),
            "REGISTRY_GET": lambda: client.registry_get("page"),
        }
        query = iter(_queries())
        complex_: dict[str, Callable[[], object]] = {
            "SNIPPET_CREATE, durable": lambda: client.snippet_create("page", "", KILOBYTE),
            "SNIPPET_LIST, 100 records": lambda: client.snippet_list("page", "", 100),
            "SEARCH_QUERY, 20 hits of 942 pages": lambda: client.search(next(query), limit=20),
            "SCHEMA_TREE, 157 bonds": lambda: client.schema_tree(ids[1]),
        }
        lines = _connecting(run, site)
        lines += [_line(f"simple: {name}, p99", operation, run, 0.5) for name, operation in simple.items()]
        lines += [_line(f"complex: {name}, p99", operation, run, 5.0) for name, operation in complex_.items()]
    return lines


def fill(client: Client, path: Path) -> list[str]:
    """Store the pages, each but the first bonded below one before it; their ids."""
    client.registry_define("page", PAGE_TYPE)
    contents = path.read_bytes().splitlines()
    ids = _written(
        client, [Request(Command.SNIPPET_CREATE, SnippetCreate("page", "", each).pack()) for each in contents]
    )
    bonds = [SchemaBond(ids[(at - 1) // BRANCHES], ids[at], at, "").pack() for at in range(1, len(ids))]
    for _ in client.pipelined(Request(Command.SCHEMA_BOND, bond) for bond in bonds):
        pass
    return ids


def _written(client: Client, requests: list[Request]) -> list[str]:
    ids = []
    for _, answer in client.pipelined(requests):
        if isinstance(answer, Exception):
            raise answer
        ids.append(SnippetWritten.unpack(answer).snippet_id)
    return ids


def _line(work: str, operation: Callable[[], object], run: Run, goal: float) -> Line:
    for _ in range(20):
        operation()
    return Line(work, quantile([timed(operation) * 1000 for _ in range(run.times(1000))], 0.99), "ms", goal=goal)


def _connecting(run: Run, site: Site) -> list[Line]:
    """In turn with an echo of asyncio, so that what the machine does at that moment is seen on both sides."""

    def ours() -> None:
        with Client(site.socket) as client:
            client.registry_get("page")

    def echo() -> None:
        with connect(run.folder / "asyncio.sock") as sock:
            sock.sendall(bytes(64))
            sock.recv(64)

    run.peers.raw("asyncio")
    times = [(timed(ours) * 1000, timed(echo) * 1000) for _ in range(run.times(1000))]
    p50, p99 = (tuple(quantile(list(side), part) for side in zip(*times, strict=True)) for part in (0.5, 0.99))
    return [
        Line("connection set up, and the first answer, p99", p99[0], "ms", "asyncio echo", p99[1], 1.5),
        Line("  p50", p50[0], "ms", "asyncio echo", p50[1]),
    ]


def _queries() -> Iterator[str]:
    words = ("template", "function", "site", "page content", "markdown render", "image", "build config", "menu")
    while True:
        yield from words
