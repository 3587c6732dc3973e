"""SNIPPET_GET of 1 KB through core.sock, beside servers that do nothing but send the same bytes back, and redis GET.

The limit is a ping-pong of two C programs over a socket pair. The C echo shows what the Python client alone costs. The
goal beside redis stands at the best Python, in the group pythons.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from bench.content import KILOBYTE
from bench.lines import Line, missing
from bench.measure import Measure, exchange, exchange_many, interleaved, receive
from bench.processes import connect, core
from bench.rows import Run
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command

ONE = "SNIPPET_GET 1 KB, one at a time"
MANY = "SNIPPET_GET 1 KB, 100 in flight"
IN_FLIGHT = 100


def measure(run: Run, only: Container[str] = ()) -> list[Line]:
    """Beside these peers `only`, or all."""
    site = run.stack.enter_context(core())
    with Client(site.socket) as client:
        client.registry_define("page", b"{}")
        snippet_id = client.snippet_create("page", "bench", KILOBYTE)
    request = frames.encode(Command.SNIPPET_GET, snippet_id.encode())
    ours = run.stack.enter_context(connect(site.socket))
    ours.sendall(request)
    size = len(ours.recv(1 << 16))
    raw = {"reed": (ours, request, size)}
    for name in ("uvloop", "asyncio", "C"):
        if only and f"{name} echo" not in only:
            continue
        sock = run.peers.take(f"{name} echo", lambda name=name: run.peers.raw(name))  # type: ignore[misc]
        if sock is not None:
            raw[f"{name} echo"] = (sock, bytes(size), size)
    if not only:
        redis = run.peers.take("redis GET", run.peers.redis)
        if redis is not None:
            raw["redis GET"] = (redis, *redis_get(redis, size))
    own = {} if only else _with_clients_of_their_own(run, len(request), size)
    return [*_one_at_a_time(run, raw, own), *_in_flight(run, raw)]


def redis_get(sock, size: int) -> tuple[bytes, int]:  # type: ignore[no-untyped-def]
    """Put a value there whose answer has as many bytes as ours; the request, and the size of the answer."""
    value = bytes(size - len(b"$1234\r\n\r\n"))
    sock.sendall(b"*3\r\n$3\r\nSET\r\n$36\r\n%036d\r\n$%d\r\n%b\r\n" % (1, len(value), value))
    receive(sock, memoryview(bytearray(len(b"+OK\r\n"))))
    return b"*2\r\n$3\r\nGET\r\n$36\r\n%036d\r\n" % 1, len(value) + 9


def _with_clients_of_their_own(run: Run, request_size: int, size: int) -> dict[str, Callable[[int], float]]:
    own: dict[str, Callable[[], Callable[[int], float]]] = {
        "C ping-pong": lambda: run.peers.pair(request_size, size),
        "pyzmq": lambda: run.peers.pyzmq(bytes(size)),
        "multiprocessing.connection": lambda: run.peers.pipe(bytes(size)),
        "grpcio": lambda: run.peers.grpcio(bytes(size)),
    }
    taken = {name: run.peers.take(name, make) for name, make in own.items()}
    return {name: trips for name, trips in taken.items() if trips is not None}


def _one_at_a_time(run: Run, raw, own: dict[str, Callable[[int], float]]) -> list[Line]:  # type: ignore[no-untyped-def]
    times = run.times(500)
    measures: dict[str, Measure] = {
        name: (lambda sock=sock, data=data, reply=reply: exchange(sock, data, reply, times))  # type: ignore[misc]
        for name, (sock, data, reply) in raw.items()
    }
    for name, trips in own.items():
        measures[name] = lambda trips=trips: trips(times)  # type: ignore[misc]
    figures = interleaved(measures, run.rounds)
    ours = figures.pop("reed")
    lines = [Line(ONE, ours, "us", peer, theirs) for peer, theirs in figures.items()]
    absent = [missing(ONE, peer, why) for peer, why in run.peers.absent.items()]
    return sorted(lines, key=lambda line: line.theirs or 0) + absent


def _in_flight(run: Run, raw) -> list[Line]:  # type: ignore[no-untyped-def]
    times = run.times(40)
    figures = interleaved(
        {
            name: (lambda sock=sock, data=data, reply=reply: exchange_many(sock, data, reply, IN_FLIGHT, times))  # type: ignore[misc]
            for name, (sock, data, reply) in raw.items()
        },
        run.rounds,
    )
    ours = figures.pop("reed")
    lines = [Line(MANY, ours, "/s", peer, theirs, at_least=True) for peer, theirs in figures.items()]
    absent = [
        missing(MANY, peer, why) for peer, why in run.peers.absent.items() if peer in {"uvloop echo", "redis GET"}
    ]
    return sorted(lines, key=lambda line: -(line.theirs or 0)) + absent
