"""Memory that a peer made the core allocate is freed when the peer disconnects."""

from __future__ import annotations

import socket

import pytest

from reed.wire import frames
from reed.wire.codes import Command

MB = 1024 * 1024


def half_sent(ground, count: int, size: int, piece: int) -> list[socket.socket]:
    """`count` connections, each with a request that lacks its last byte. It arrives in two pieces."""
    request = frames.header(Command.SNIPPET_CREATE, size + 1) + bytes(size)
    crowd = []
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(str(ground.site.socket_path))
        sock.sendall(request[:piece])
        crowd.append(sock)
    for sock in crowd:
        sock.sendall(request[piece:])
    return crowd


@pytest.mark.parametrize(
    ("count", "size", "piece"),
    [(20, 10 * MB, 10 * MB), (1000, 200_000, 200_000), (1000, 200_000, 150_000), (1500, 100_000, 60_000)],
    ids=["large", "many", "many in pieces", "many small ones in pieces"],
)
def test_memory_of_incomplete_requests_is_freed(ground, row, count, size, piece) -> None:
    client = ground.start()
    line = row(f"{count:,} half-sent requests, closed", "memory is freed")
    before = client.stats()["memory_bytes"]
    for _ in range(2):
        crowd = half_sent(ground, count, size, piece)
        ground.until(lambda: client.stats()["memory_bytes"] - before > count * size * 0.9)
        for sock in crowd:
            sock.close()
        ground.until(lambda: client.stats()["connections"] == 1)
        left = client.stats()["memory_bytes"] - before
        assert left < 40 * MB, f"{left / MB:.0f} MB more than before"
        line.injected(count)
    line.lost = "0"
