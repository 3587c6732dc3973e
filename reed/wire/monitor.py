"""The stream of monitor.sock and of `reed monitor --record`: frames, each after a head (protocol.md#monitor-stream)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from reed.errors import Malformed
from reed.wire.codes import MAGIC
from reed.wire.structs import HEADER, MONITORED, Bytes, fill, unpack_text

IN, OUT = 0, 1  # received by the core, sent by the core

_PEER_SIZE = 32  # with a NUL
_HEAD_SIZE = MONITORED.size
_MIN_SIZE = _HEAD_SIZE + HEADER.size


class Monitored(NamedTuple):
    timestamp: int  # Unix microseconds
    direction: int  # IN or OUT
    connection: int  # reused after a connection is closed
    peer: str
    command_id: int
    flags: int
    payload: Bytes

    @classmethod
    def unpack_from(cls, data: memoryview) -> tuple[Monitored | None, memoryview]:
        """The first frame and the bytes after it; None if it is not whole yet."""
        if len(data) < _MIN_SIZE:
            return None, data
        timestamp, direction, connection, peer = MONITORED.unpack_from(data)
        magic, _, command_id, flags, _, length = HEADER.unpack_from(data, _HEAD_SIZE)
        if magic != MAGIC or direction > OUT:
            raise Malformed("not a recording of `reed monitor`")
        end = _MIN_SIZE + length
        if len(data) < end:
            return None, data
        found = cls(timestamp, direction, connection, unpack_text(peer), command_id, flags, data[_MIN_SIZE:end])
        return found, data[end:]


class MonitorStream:
    """Splits the bytes of the stream into records."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[Monitored, bytes]]:
        """The records that are now complete, unpacked and raw. Raises Malformed."""
        view = memoryview(self._rest + data)
        while True:
            frame, after = Monitored.unpack_from(view)
            if frame is None:
                break
            yield frame, bytes(view[: len(view) - len(after)])
            view = after
        self._rest = bytes(view)


def head(timestamp: int, direction: int, connection: int, peer: str) -> bytes:
    """`peer` is clipped to its field."""
    clipped = peer.encode()[: _PEER_SIZE - 1].decode("utf-8", "ignore")
    return fill(MONITORED, timestamp, direction, connection, clipped.encode())
