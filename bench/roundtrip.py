"""Round trips over a Unix socket: the same client code for every server, so that its own cost is on both sides."""

from __future__ import annotations

import socket
import statistics
import time


def exchange(sock: socket.socket, request: bytes, reply_size: int, times: int) -> float:
    """Microseconds for one round trip, one at a time."""
    buffer = memoryview(bytearray(reply_size))
    began = time.perf_counter()
    for _ in range(times):
        sock.sendall(request)
        _receive(sock, buffer)
    return (time.perf_counter() - began) / times * 1e6


def exchange_many(sock: socket.socket, request: bytes, reply_size: int, in_flight: int, times: int) -> float:
    """Microseconds for one round trip, with so many of them under way at a time."""
    batch = request * in_flight
    buffer = memoryview(bytearray(reply_size * in_flight))
    began = time.perf_counter()
    for _ in range(times):
        sock.sendall(batch)
        _receive(sock, buffer)
    return (time.perf_counter() - began) / (times * in_flight) * 1e6


def interleaved(measures: dict[str, object], rounds: int) -> dict[str, float]:
    """The median of each measure over rounds in which all take turns."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            figures[name].append(measure())  # type: ignore[operator]
    return {name: statistics.median(values) for name, values in figures.items()}


def _receive(sock: socket.socket, into: memoryview) -> None:
    got = 0
    while got < len(into):
        size = sock.recv_into(into[got:])
        if not size:
            raise ConnectionError("the server closed the connection")
        got += size
