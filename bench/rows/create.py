"""SNIPPET_CREATE, durable, from 64 connections, beside SQLite with an fsync'd commit for each row, one by one.

Both write the same bytes with synchronous=FULL and a WAL on the same disk. The core also validates the content, writes
its name and its event, and marks it for the index; all requests of a turn share one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from bench.content import SMALL, SMALL_TYPE
from bench.lines import Line, missing
from bench.measure import Measure, interleaved, receive, timed
from bench.processes import connect, core
from bench.rows import Run
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command
from reed.wire.snippets import SnippetCreate
from reed.wire.structs import HEADER, SNIPPET_WRITTEN

WORK = "SNIPPET_CREATE durable, 64 connections"
CONNECTIONS = 64


def measure(run: Run) -> list[Line]:
    measures: dict[str, Measure] = {"reed": creates(run), "SQLite, a commit each": commits(run.folder, run.times(500))}
    peer = "redis SET, fsync always"
    redis = run.peers.take(peer, lambda: sets(run))
    if redis is not None:
        measures[peer] = redis
    figures = interleaved(measures, run.rounds)
    ours = figures.pop("reed")
    goal = {"SQLite, a commit each": 20_000 / 5_800}
    lines = [Line(WORK, ours, "/s", name, theirs, goal.get(name), at_least=True) for name, theirs in figures.items()]
    return lines + ([] if redis is not None else [missing(WORK, peer, run.peers.absent[peer])])


def creates(run: Run) -> Measure:
    """Creates a second: every connection sends one, then every answer is read, and so on."""
    site = run.stack.enter_context(core())
    with Client(site.socket) as client:
        client.registry_define("small", SMALL_TYPE)
    request = frames.encode(Command.SNIPPET_CREATE, SnippetCreate("small", "", SMALL).pack())
    socks = [run.stack.enter_context(connect(site.socket)) for _ in range(CONNECTIONS)]
    rate = rate_of(socks, request, HEADER.size + SNIPPET_WRITTEN.size, run.times(20))

    def measured() -> float:
        found = rate()
        with Client(site.socket) as client:
            client.search("small")  # answered once all is indexed: no peer shares its processor with that
        return found

    return measured


def sets(run: Run) -> Measure:
    """The same from redis, which puts each of its own turns on the disk too (appendfsync always)."""
    first = run.peers.redis("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
    path = Path(first.getpeername())
    socks = [first, *(run.stack.enter_context(connect(path)) for _ in range(CONNECTIONS - 1))]
    request = b"*3\r\n$3\r\nSET\r\n$36\r\n%036d\r\n$%d\r\n%b\r\n" % (1, len(SMALL), SMALL)
    return rate_of(socks, request, len(b"+OK\r\n"), run.times(20))


def rate_of(socks, request: bytes, reply_size: int, times: int) -> Measure:  # type: ignore[no-untyped-def]
    buffer = memoryview(bytearray(reply_size))

    def once() -> None:
        for _ in range(times):
            for sock in socks:
                sock.sendall(request)
            for sock in socks:
                receive(sock, buffer)

    return lambda: times * len(socks) / timed(once)


def commits(folder: Path, times: int) -> Callable[[], float]:
    """Rows a second, each in a transaction of its own that is on the disk before the next begins."""
    database = sqlite3.connect(folder / "commits.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE snippets (id INTEGER PRIMARY KEY, type TEXT, content BLOB)")

    def once() -> None:
        for _ in range(times):
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO snippets (type, content) VALUES (?, ?)", ("small", SMALL))
            database.execute("COMMIT")

    return lambda: times / timed(once)
