"""`python -m bench searches`: GETs beside long searches and a reindex, and the searches of one and two workers.

    alone        GETs, one at a time, with nothing beside                 p99 of each, and how many searches a second
    searches     beside one client, and beside two, that search for a word which every snippet has
    reindex      beside a reindex of everything

Core and reader share a processor, the workers have the others, so there is one to spare. The rates of searches are
measured without a reader, on all processors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

from bench.lines import Line, table
from bench.measure import quantile
from bench.processes import Site, pin, running, settle, site
from bench.stalls.requests import store_many
from reed.client import Client

SECONDS = 6.0
_READ = "read/this"
_LIMIT_OF_SEARCH = 30  # seconds; the default would end a search of a million hits


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench searches", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--snippets", type=int, default=100_000, help="all with one word in common; 100,000 by default")
    options = parser.parse_args(words)
    everywhere = os.sched_getaffinity(0)
    pin()
    lines: list[Line] = []
    with site(in_memory=True) as place:
        for workers in (1, 2):
            place.config.write_text(f"workers: {workers}\ntiming: {{search_timeout: {_LIMIT_OF_SEARCH}}}\n")
            with running(place), Client(place.socket, timeout=600) as client:
                if workers == 1:
                    fill(client, options.snippets)
                settle(client)
                lines += _lines(place, client, workers, everywhere)
    rates = [line.ours for line in lines if line.work.startswith("searches of two clients")]
    lines.append(Line("two workers, beside one", rates[1], "/s", "one worker", rates[0], goal=1.5, at_least=True))
    print(f"{options.snippets:,} snippets; core and reader on one of {len(everywhere)} processors")
    print(table(lines))
    return 0


def fill(client: Client, count: int) -> None:
    client.registry_define("text", {"searchable": {"title": 5, "body": 1}})
    client.snippet_create("text", _READ, {"title": "read", "body": "x" * 500})
    for first in range(0, count, 10_000):
        number = min(10_000, count - first)
        store_many(
            client, "text", number, lambda at, first=first: {"title": f"page {first + at}", "body": "common a b"}
        )


def _lines(place: Site, client: Client, workers: int, everywhere: set[int]) -> list[Line]:
    with_workers = f"{workers} worker{'s' * (workers > 1)}"
    lines = [Line(f"GET, p99, alone, {with_workers}", _reads(client, SECONDS), "ms")]
    _move_others(place, (everywhere - os.sched_getaffinity(0)) or everywhere)
    for count in (1, 2):
        with searching(place, count) as stop:
            waited = _reads(client, SECONDS)
            stop()
        lines.append(Line(f"GET, p99, beside {count} searching, {with_workers}", waited, "ms", goal=2.0))
    with _reindexing(place) as is_running:
        waited = _reads(client, 600.0, is_running)
    lines.append(Line(f"GET, p99, beside a reindex, {with_workers}", waited, "ms", goal=2.0))
    _move_others(place, everywhere)
    for count, named in ((1, "one client"), (2, "two clients")):
        began = time.monotonic()
        with searching(place, count) as stop:
            time.sleep(SECONDS)
            found = stop()
        lines.append(Line(f"searches of {named}, {with_workers}", found / (time.monotonic() - began), "/s"))
    return lines


def _reads(client: Client, seconds: float, goes_on: Callable[[], bool] = lambda: True) -> float:
    """Milliseconds at p99."""
    waits: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until and goes_on():
        for _ in range(20):
            began = time.perf_counter()
            client.snippet_get(_READ)
            waits.append(time.perf_counter() - began)
    return quantile(waits, 0.99) * 1e3


@contextmanager
def searching(place: Site, count: int) -> Iterator[Callable[[], int]]:
    """So many clients search. The function ends that and returns how many searches were answered."""
    context = multiprocessing.get_context("fork")
    over, found = context.Event(), context.Value("i", 0)

    def search(number: int) -> None:
        with Client(place.socket, timeout=120) as client:
            limit = 100 * (number + 1)
            while not over.is_set():
                limit += 1  # another request each time, which no cache has
                client.search("common", limit=limit % 1000 + 1)
                with found.get_lock():
                    found.value += 1

    def stop() -> int:
        over.set()
        for each in clients:
            each.join()
        return int(found.value)

    clients = [context.Process(target=search, args=(number,), daemon=True) for number in range(count)]
    for each in clients:
        each.start()
    try:
        yield stop
    finally:
        stop()


@contextmanager
def _reindexing(place: Site) -> Iterator[Callable[[], bool]]:
    """The function says whether it still goes on."""
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=_reindex, args=(place.socket, begun), daemon=True)
    process.start()
    begun.wait()
    try:
        yield process.is_alive
    finally:
        process.join()


def _reindex(socket: Path, begun: Event) -> None:
    with Client(socket, timeout=600) as client:
        begun.set()
        client.search_index()


def _move_others(place: Site, processors: set[int]) -> None:
    """All processes of the core but itself: workers, and the zygote, whose processors the next ones inherit."""
    for pid in _descendants(place):
        os.sched_setaffinity(pid, processors)


def _descendants(place: Site) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            parents[int(entry.name)] = int(fields[1])

    def is_below(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == place.pid:
                return True
        return False

    return [pid for pid in parents if is_below(pid)]
