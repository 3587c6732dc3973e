"""What monitor.sock carries, and a file of `reed monitor --record`: each frame as it passed, behind a head of 45 bytes.

    | timestamp (Q, Unix microseconds) | direction (B) | connection (I) | peer (32s) | frame: 12 bytes, payload |

Directions are the core's: IN came from the peer, OUT left for it (protocol.md#monitor-stream). For people who look, and
for `reed plugin test NAME --replay F`.
"""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import Malformed
from reed.wire.codes import MAGIC
from reed.wire.structs import HEADER, MONITORED, Bytes, fill, unpack_text

IN, OUT = 0, 1

_PEER = 32  # bytes of its field, with a NUL
_HEAD = MONITORED.size
_SHORTEST = _HEAD + HEADER.size


class Monitored(NamedTuple):
    timestamp: int
    direction: int  # IN or OUT
    connection: int  # which of the peer's; a number is used again when its connection is closed
    peer: str
    command_id: int
    flags: int
    payload: Bytes

    @classmethod
    def unpack_from(cls, data: memoryview) -> tuple[Monitored | None, memoryview]:
        """The first one in `data` and what follows it; None while it is not whole."""
        if len(data) < _SHORTEST:
            return None, data
        timestamp, direction, connection, peer = MONITORED.unpack_from(data)
        magic, _, command_id, flags, _, length = HEADER.unpack_from(data, _HEAD)
        if magic != MAGIC or direction > OUT:
            raise Malformed("this is no record of `reed monitor`")
        end = _SHORTEST + length
        if len(data) < end:
            return None, data
        found = cls(timestamp, direction, connection, unpack_text(peer), command_id, flags, data[_SHORTEST:end])
        return found, data[end:]


def head(timestamp: int, direction: int, connection: int, peer: str) -> bytes:
    """What precedes a frame; `peer` is clipped to its field."""
    clipped = peer.encode()[: _PEER - 1].decode("utf-8", "ignore")
    return fill(MONITORED, timestamp, direction, connection, clipped.encode())
