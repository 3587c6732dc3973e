"""GET of 1 KB by clients as programs use them: AsyncClient, beside Client and the clients of redis.

All keep the value as bytes, with the same length. "100 in flight" is 100 tasks that each await one GET, as a web server
has; beside them pipelines, which are one request of the program for all 100.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.content import KILOBYTE
from bench.lines import Line, missing
from bench.measure import Measure, interleaved
from bench.peers import Missing, Peers
from bench.processes import core
from bench.rows import Run
from reed.client import Client, Request
from reed.client.aio import AsyncClient
from reed.wire.codes import Command
from reed.wire.requests import Ref

ONE = "AsyncClient: GET of 1 KB, one at a time"
MANY = "AsyncClient: GET of 1 KB, 100 tasks"
IN_FLIGHT = 100


def measure(run: Run) -> list[Line]:
    site = run.stack.enter_context(core())
    client = run.stack.enter_context(Client(site.socket))
    client.registry_define("page", b"{}")
    ref = client.snippet_create("page", "bench", KILOBYTE)
    runner = run.stack.enter_context(asyncio.Runner())
    aio = AsyncClient(site.socket)
    run.stack.callback(lambda: runner.run(aio.close()))
    requests = [Request(Command.SNIPPET_GET, Ref(ref).pack())] * IN_FLIGHT
    one: dict[str, Measure] = {
        "reed": lambda: runner.run(_awaited(lambda: aio.snippet_get(ref), run.times(300))),
        "Client": lambda: _called(lambda: client.snippet_get(ref), run.times(300)),
    }
    many: dict[str, Measure] = {
        "reed": lambda: runner.run(_gathered(lambda: aio.snippet_get(ref), run.times(10))),
        "Client.pipelined": lambda: _piped(lambda: list(client.pipelined(requests)), run.times(10)),
    }
    peer = run.peers.take("redis.asyncio", lambda: _redis(run.peers, runner))
    if peer is not None:
        blocking, waiting, piped = peer
        one["redis.asyncio"] = lambda: runner.run(_awaited(waiting, run.times(300)))
        one["redis-py"] = lambda: _called(blocking, run.times(300))
        many["redis.asyncio"] = lambda: runner.run(_gathered(waiting, run.times(10)))
        many["redis.asyncio, a pipeline"] = lambda: runner.run(_batches(piped, run.times(10)))
    return [*_lines(run, ONE, one, "us"), *_lines(run, MANY, many, "/s")]


def _lines(run: Run, work: str, measures: dict[str, Measure], unit: str) -> list[Line]:
    for each in measures.values():
        each()  # connected, and warm
    figures = interleaved(measures, run.rounds)
    ours = figures.pop("reed")
    lines = [Line(work, ours, unit, peer, theirs) for peer, theirs in figures.items()]
    return lines + [missing(work, peer, why) for peer, why in run.peers.absent.items()]


def _redis(peers: Peers, runner: asyncio.Runner) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]:
    """A GET by redis-py, one by redis.asyncio, and a pipeline of many, of a redis that keeps nothing on the disk."""
    if find_spec("redis") is None:
        raise Missing("not installed: pip install redis")
    import redis
    from redis import asyncio as redis_asyncio

    path = Path(_path_of(peers.redis()))
    blocking = redis.Redis(unix_socket_path=str(path))
    waiting = redis_asyncio.Redis(unix_socket_path=str(path))
    peers.stack.callback(blocking.close)
    peers.stack.callback(lambda: runner.run(waiting.aclose()))
    blocking.set("bench", KILOBYTE)

    async def pipeline() -> None:
        async with waiting.pipeline(transaction=False) as piped:
            for _ in range(IN_FLIGHT):
                piped.get("bench")
            await piped.execute()

    return lambda: blocking.get("bench"), lambda: waiting.get("bench"), pipeline


def _path_of(sock: socket.socket) -> str:
    return str(sock.getpeername())


def _called(call: Callable[[], object], times: int) -> float:
    """Microseconds for one."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times * 1e6


async def _awaited(call: Callable[[], Awaitable[object]], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        await call()
    return (time.perf_counter() - began) / times * 1e6


async def _gathered(call: Callable[[], Awaitable[object]], times: int) -> float:
    """Requests a second."""
    began = time.perf_counter()
    for _ in range(times):
        await asyncio.gather(*[call() for _ in range(IN_FLIGHT)])
    return times * IN_FLIGHT / (time.perf_counter() - began)


def _piped(batch: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        batch()
    return times * IN_FLIGHT / (time.perf_counter() - began)


async def _batches(batch: Callable[[], Awaitable[object]], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        await batch()
    return times * IN_FLIGHT / (time.perf_counter() - began)
