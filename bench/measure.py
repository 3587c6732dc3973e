"""How a figure is made: rounds in which all sides take turns, so that a noisy machine is noisy to all, and medians.

The exchanges use a plain blocking socket and bytes made beforehand: the same client for every server.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Mapping

Measure = Callable[[], float]


def interleaved(measures: Mapping[str, Measure], rounds: int) -> dict[str, float]:
    """The median of each measure over rounds in which all take turns, each round beginning with the next of them."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    names = list(measures)
    for at in range(rounds):
        for name in names[at % len(names) :] + names[: at % len(names)]:
            figures[name].append(measures[name]())
    return {name: statistics.median(values) for name, values in figures.items()}


def exchange(sock: socket.socket, request: bytes, reply_size: int, times: int) -> float:
    """Microseconds for one round trip, one at a time."""
    buffer = memoryview(bytearray(reply_size))
    began = time.perf_counter()
    for _ in range(times):
        sock.sendall(request)
        receive(sock, buffer)
    return (time.perf_counter() - began) / times * 1e6


def exchange_many(sock: socket.socket, request: bytes, reply_size: int, in_flight: int, times: int) -> float:
    """Requests a second, with so many of them under way at a time."""
    batch = request * in_flight
    buffer = memoryview(bytearray(reply_size * in_flight))
    began = time.perf_counter()
    for _ in range(times):
        sock.sendall(batch)
        receive(sock, buffer)
    return times * in_flight / (time.perf_counter() - began)


def timed(operation: Callable[[], object]) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    operation()
    return time.perf_counter() - began


def quantile(values: list[float], part: float) -> float:
    """The value that this part of all is at or below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def receive(sock: socket.socket, into: memoryview) -> None:
    """Fill `into`."""
    got = 0
    while got < len(into):
        size = sock.recv_into(into[got:])
        if not size:
            raise ConnectionError("the server closed the connection")
        got += size
