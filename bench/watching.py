"""`python -m bench watch`: how long after the acknowledgement of a CREATE a watcher has the change.

    same core, 1 watcher       a process that does nothing else
    same core, 100 watchers    the last of 100 connections of one process
    --postgres CONNINFO        the same on PostgreSQL, and a watcher of another core

CREATEs and GETs take turns on one connection, one at a time, so GET is that of the same moments. A change may be there
before the acknowledgement: both leave in one turn. The clock is one for all processes of a machine (CLOCK_MONOTONIC).
The database must be empty.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

from bench.lines import Line, table
from bench.measure import quantile
from bench.processes import Site, running, site
from reed.client import Client

CHANGES = 2000
_MANY = 100
_GOAL = 5.0  # ms, of p50


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench watch", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--postgres", metavar="CONNINFO", help="of an empty database")
    parser.add_argument("--changes", type=int, default=CHANGES, help=f"{CHANGES} by default")
    options = parser.parse_args(words)
    print(f"{options.changes} changes; {os.cpu_count()} processors; load before: {os.getloadavg()[0]:.1f}", flush=True)
    with _core("sqlite") as core:
        lines = _measure("SQLite, 1 watcher", core, core, options.changes)
        lines += _measure(f"SQLite, {_MANY} watchers", core, core, options.changes // 4, _MANY)
    if options.postgres:
        store = f"postgres:{options.postgres}"
        with ExitStack() as stack:
            one, other = (stack.enter_context(_core(store)) for _ in range(2))
            lines += _measure("PostgreSQL, same core", one, one, options.changes)
            lines += _measure("PostgreSQL, another core", one, other, options.changes)
    print(table(lines))
    return 0


@contextmanager
def _core(store: str) -> Iterator[Site]:
    with site() as place:
        place.environ["REED_STORE"] = store
        with running(place):
            yield place


def _measure(what: str, writes: Site, watches: Site, count: int, watchers: int = 1) -> list[Line]:
    ours, theirs = multiprocessing.Pipe()
    with Client(writes.socket) as client:
        client.registry_define("note", {})
        page = client.snippet_create("note", "", {"title": "read"})
        watcher = multiprocessing.Process(target=_watch, args=(watches.socket, theirs, count, watchers))
        watcher.start()
        ours.recv()  # it watches
        acknowledged: dict[str, float] = {}
        gets = []
        for _ in range(count):
            snippet_id = client.snippet_create("note", "", {"title": "new"})
            acknowledged[snippet_id] = time.monotonic()
            began = time.monotonic()
            client.snippet_get(page)
            gets.append(time.monotonic() - began)
        received: dict[str, float] = ours.recv()
        watcher.join()
    late = [(received[each] - at) * 1000 for each, at in acknowledged.items()]
    get = quantile(gets, 0.5) * 1000
    return [
        Line(f"{what}: p50", quantile(late, 0.5), "ms", goal=_GOAL if watchers == 1 else None),
        Line(f"{what}: p50, beside a GET", quantile(late, 0.5), "ms", "GET, p50", get),
        Line(f"{what}: p99, beside a GET", quantile(late, 0.99), "ms", "GET, p99", quantile(gets, 0.99) * 1000),
    ]


def _watch(path: Path, pipe: Connection, count: int, watchers: int) -> None:
    """Sends back when the last of the watchers had each change."""
    received: dict[str, float] = {}
    with ExitStack() as stack:
        client = stack.enter_context(Client(path))
        watches = [stack.enter_context(client.watch(types=["note"])) for _ in range(watchers)]
        pipe.send("ready")
        for _ in range(count):
            for watch in watches:
                (change,) = islice(watch, 1)
            received[change.id] = time.monotonic()
    pipe.send(received)
