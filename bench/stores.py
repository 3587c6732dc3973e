"""`python -m bench stores --postgres CONNINFO`: one and two cores on PostgreSQL, and SQLite beside, in one run.

    row                what is measured, for each store in turn            goal: PostgreSQL beside SQLite
    GET hot            one snippet, one request at a time                  at most 1.1 of its time
    GET cold           16 kB pages, more than the cache holds              -
    CREATE             small contents, 64 under way                        at least 0.8 of its rate
    CREATE of a page   real pages (REED_PAGES), 64 under way               at least 0.5 of its rate
    LIST               100 records                                         -
    SEARCH             a word that a tenth of the pages has                at most 2 of its time
    two cores          GETs a second, of two clients                       at least 1.8 of one core's
    commits            CREATEs a second of one to four cores, 64 each      -

The database must be empty: its content is made here. Times mean little on a busy machine, and processors are shared
with the server of PostgreSQL; ratios of one run are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.measure import interleaved
from bench.processes import Site, running, site
from reed.client import Client
from reed.client.pipeline import Request
from reed.errors import CallError
from reed.wire.codes import Command
from reed.wire.snippets import SnippetCreate

IN_FLIGHT = 64
TYPE = {"searchable": {"title": 5, "body": 1}}
_WORD = "needle"
_cold: dict[Client, Iterator[str]] = {}


def main(words: list[str]) -> int:
    """What the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench stores", description=__doc__.partition("\n")[0])
    parser.add_argument("--postgres", required=True, metavar="CONNINFO", help="of an empty database")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(words)
    print(
        f"load of this machine before: {os.getloadavg()[0]:.1f}; {options.rounds} rounds in turn, medians", flush=True
    )
    with ExitStack() as stack:
        cores = {
            "SQLite": stack.enter_context(_core("sqlite")),
            "PostgreSQL": stack.enter_context(_core(f"postgres:{options.postgres}")),
        }
        second = stack.enter_context(_core(f"postgres:{options.postgres}"))
        clients = {name: stack.enter_context(place.client()) for name, place in cores.items()}
        for client in clients.values():
            _fill(client)
        for name, unit, measure in _rows():
            figures = interleaved({store: _bound(measure, client) for store, client in clients.items()}, options.rounds)
            _print(name, unit, figures)
        _two_cores(cores["PostgreSQL"], second, options.rounds)
        _print_turns(cores)
    for count in range(1, 5):
        with ExitStack() as stack:
            several = [stack.enter_context(_core(f"postgres:{options.postgres}")) for _ in range(count)]
            print(
                f"{'commits, cores: ' + str(count):22} {_together(several, _creates):12,.0f} CREATEs a second",
                flush=True,
            )
    return 0


@contextmanager
def _core(store: str) -> Iterator[Site]:
    with site() as place:
        place.environ["REED_STORE"] = store
        with running(place):
            yield place


def _fill(client: Client) -> None:
    if "page" not in {found.name for found in client.registry_list()}:
        client.registry_define("page", TYPE)
        client.registry_define("note", {})
    body = "lorem ipsum dolor " * 800
    titles = (f"{_WORD if number % 10 == 0 else 'page'} {number}" for number in range(2000))
    _create(client, "page", [json.dumps({"title": title, "body": body}).encode() for title in titles])
    client.snippet_create("page", "hot", {"title": "hot"})


def _rows() -> Iterator[tuple[str, str, Callable[[Client], float]]]:
    yield "GET hot", "us", _get_hot
    yield "GET cold", "us", _get_cold
    yield "CREATE", "1/s", _creates
    pages = Path(os.environ.get("REED_PAGES", ""))
    if pages.is_file():
        contents = pages.read_bytes().splitlines()
        yield "CREATE of a page", "1/s", lambda client: _create(client, "page", contents[:320])
    yield "LIST", "us", lambda client: _timed(lambda: client.snippet_list("page", limit=100), 20)
    yield "SEARCH", "us", lambda client: _timed(lambda: client.search(_WORD), 20)


def _bound(measure: Callable[[Client], float], client: Client) -> Callable[[], float]:
    return lambda: measure(client)


def _timed(operation: Callable[[], Any], times: int) -> float:
    """Microseconds, the median."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        operation()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1e6


def _get_hot(client: Client) -> float:
    return _timed(lambda: client.snippet_get("hot"), 1000)


def _get_cold(client: Client) -> float:
    """Pages in turn: all of them are more than the cache holds."""
    ids = _cold.setdefault(client, cycle([record.id for record in client.snippets("page")]))
    return _timed(lambda: client.snippet_get(next(ids)), 500)


def _creates(client: Client) -> float:
    return _create(client, "note", [b'{"title": "note %d"}' % number for number in range(1280)])


def _create(client: Client, kind: str, contents: list[bytes]) -> float:
    """Creates a second, IN_FLIGHT under way."""
    requests = [Request(Command.SNIPPET_CREATE, SnippetCreate(kind, "", content).pack()) for content in contents]
    began = time.perf_counter()
    for _, answer in client.pipelined(requests, IN_FLIGHT):
        if isinstance(answer, CallError):
            raise answer
    return len(contents) / (time.perf_counter() - began)


def _gets(client: Client) -> float:
    """Gets a second, one at a time."""
    began = time.perf_counter()
    for _ in range(2000):
        client.snippet_get("hot")
    return 2000 / (time.perf_counter() - began)


def _together(places: list[Site], measure: Callable[[Client], float]) -> float:
    """The sum over clients of all these cores at the same time, each in a process of its own."""
    found: list[float] = [0.0] * len(places)

    def run(number: int, place: Site) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            with place.client() as client:
                os.write(write, str(measure(client)).encode())
            os._exit(0)
        os.close(write)
        with open(read, "rb") as pipe:
            found[number] = float(pipe.read() or 0)
        os.waitpid(pid, 0)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)


def _two_cores(first: Site, second: Site, rounds: int) -> None:
    figures = interleaved(
        {"one core": lambda: _together([first], _gets), "two cores": lambda: _together([first, second], _gets)}, rounds
    )
    _print("GETs, two cores", "1/s", figures)


def _print(name: str, unit: str, figures: dict[str, float]) -> None:
    (before, base), (after, other) = figures.items()
    print(f"{name:22} {before} {base:12,.1f}   {after} {other:12,.1f} {unit:4}   ratio {other / base:.2f}", flush=True)


def _print_turns(cores: dict[str, Site]) -> None:
    for name, place in cores.items():
        with place.client() as client:
            times = client.stats()["loop"]["turn_ms"]
        print(f"{'turns, ' + name:22} p99 {times['p99']:.2f} ms   p99.9 {times['p99.9']:.2f} ms", flush=True)
