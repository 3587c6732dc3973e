"""1 to 10,000 idle clients beside one that works, and 1 to 1,000 that all work."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

from bench.content import KILOBYTE
from bench.measure import exchange, receive, timed
from bench.processes import Site, connect, core, raise_descriptors
from bench.series import Curve, Scale
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command

IDLE = (1, 10, 100, 1000, 10_000)
BUSY = (1, 3, 10, 30, 100, 300, 1000)
REQUEST = frames.encode(Command.SNIPPET_GET, b"bench".ljust(36, b"\0"))


def curves(scale: Scale) -> Iterator[Curve]:
    descriptors = raise_descriptors()
    with core(environ={"REED_LIMITS_CONNECTIONS": "20000", "REED_LIMITS_USER_CONNECTIONS": "20000"}) as site:
        size = _fill(site)
        yield from _idle(site, size, scale.most, descriptors)
        yield _busy(site, size, scale.most)


def _fill(site: Site) -> int:
    with Client(site.socket) as client:
        client.registry_define("page", b"{}")
        client.snippet_create("page", "bench", KILOBYTE)
    with connect(site.socket) as sock:
        sock.sendall(REQUEST)
        return len(sock.recv(1 << 16))


def _idle(site: Site, size: int, most: int, descriptors: int) -> Iterator[Curve]:
    one = Curve("clients", "GET, beside idle clients", "clients", "us", 0)
    memory = Curve("memory of clients", "memory of the core", "clients", "MB", 0.5)
    with ExitStack() as stack:
        idle: list[socket.socket] = []
        for count in IDLE:
            if count > min(most, descriptors - 100):
                break
            while len(idle) < count:
                idle.append(stack.enter_context(connect(site.socket)))
            _ask(idle[-1], size)  # taken in by the core, all of them
            one.add(count, min(exchange(idle[0], REQUEST, size, 500) for _ in range(7)))
            memory.add(count, site.memory() / 1e6)
    yield one
    yield memory


def _busy(site: Site, size: int, most: int) -> Curve:
    curve = Curve("clients", "GET, all clients at once", "clients", "us", 0)
    buffer = memoryview(bytearray(size))
    with ExitStack() as stack:
        socks: list[socket.socket] = []
        for count in BUSY:
            if count > most:
                break
            while len(socks) < count:
                socks.append(stack.enter_context(connect(site.socket)))

            def once() -> None:
                for sock in socks:
                    sock.sendall(REQUEST)
                for sock in socks:
                    receive(sock, buffer)

            once()
            times = max(3, 2000 // count)
            curve.add(count, min(timed(lambda: [once() for _ in range(times)]) for _ in range(5)) / times / count * 1e6)  # noqa: B023
    return curve


def _ask(sock: socket.socket, size: int) -> None:
    sock.sendall(REQUEST)
    receive(sock, memoryview(bytearray(size)))
