"""The bytes of one FIFO in, its messages out, whatever a writer's death left between them (protocol.md#messages).

    0       4         5      6              38             70          78            82
    | magic | version | type | source (32) | target (32) | timestamp | payload_len | JSON … |

A writer that died in the middle of a message leaves a torn one, and what follows it starts with a sound header: magic,
version and the two names of this FIFO. JSON holds no byte 0x01, so wherever magic and version show up in a payload, it
is torn, and what was before them is dropped: the torn message is lost, and no other.
"""

from __future__ import annotations

from reed.errors import Malformed
from reed.wire import structs
from reed.wire.codes import MESSAGE_MAGIC, VERSION
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.plugins import PluginMessage
from reed.wire.structs import pack_text

_HEADER = structs.PLUGIN_MESSAGE.size
_LENGTH = _HEADER - 4
_START = MESSAGE_MAGIC.to_bytes(4, "little") + bytes([VERSION])
_NAMES = len(_START) + 1  # where the two names begin
_SOUND = _NAMES + 64  # bytes that tell a sound header
_ENDS = tuple(_START[:size] for size in range(len(_START) - 1, 0, -1))


class MessageBuffer:
    """One FIFO's bytes; those that belonged to no whole message are counted in `dropped`."""

    __slots__ = ("_bytes", "_names", "_searched", "dropped")

    def __init__(self, source: str, target: str) -> None:
        self._names = pack_text(source, 32) + pack_text(target, 32)
        self._bytes = bytearray()
        self._searched = 1  # no second header begins before this
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their message."""
        return len(self._bytes)

    @property
    def missing(self) -> int:
        """Bytes that the message which was begun lacks, as far as that is known; 0 when none was."""
        if not self._bytes:
            return 0
        if len(self._bytes) < _HEADER:
            return _HEADER - len(self._bytes)
        return max(_HEADER + int.from_bytes(self._bytes[_LENGTH:_HEADER], "little") - len(self._bytes), 0)

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def clear(self) -> None:
        """The rest of what was begun will not come."""
        self._drop_to(len(self._bytes))

    def next_message(self) -> PluginMessage | None:
        """The next whole message, or None when more must be read first."""
        while True:
            self._drop_to(self._first_header(0))
            if len(self._bytes) < _HEADER:
                return None
            end = _HEADER + int.from_bytes(self._bytes[_LENGTH:_HEADER], "little")
            if end > _HEADER + MAX_PAYLOAD:
                self._drop_to(self._first_header(1))
                continue
            second = self._second_header(end)
            if second >= 0:
                self._drop_to(second)
                continue
            if len(self._bytes) < end:
                self._searched = max(len(self._bytes) - len(_START), 1)
                return None
            try:
                message = PluginMessage.unpack(bytes(self._bytes[:end]))
            except Malformed:
                self._drop_to(self._first_header(1))
                continue
            del self._bytes[:end]
            self._searched = 1
            return message

    def _first_header(self, start: int) -> int:
        """Where a sound header starts, or what may be one, cut off by the end of what was read; else the end.

        A writer may send anything: whole headers are found by their names, which is C, and only the end is looked at
        byte by byte.
        """
        names = self._bytes.find(self._names, start + _NAMES)
        while names >= 0:
            if self._bytes.startswith(_START, names - _NAMES):
                return names - _NAMES
            names = self._bytes.find(self._names, names + 1)
        at = self._bytes.find(_START[:1], max(start, len(self._bytes) - _SOUND + 1))
        while at >= 0 and not self._agrees(at):
            at = self._bytes.find(_START[:1], at + 1)
        return at if at >= 0 else len(self._bytes)

    def _second_header(self, end: int) -> int:
        """Where, before `end`, another header starts; -1 if nowhere. Where only JSON can be, magic and version tell."""
        at = self._bytes.find(_START, self._searched, end + len(_START) - 1)
        while 0 <= at < _HEADER and not self._agrees(at):
            at = self._bytes.find(_START, at + 1, end + len(_START) - 1)
        if at >= 0 or len(self._bytes) < end:
            return at
        payload = memoryview(self._bytes)[max(_HEADER, end - len(_START)) : end]
        tail = bytes(payload)  # it may end with the first bytes of a magic, as no JSON text does
        payload.release()
        return next((end - len(start) for start in _ENDS if tail.endswith(start)), -1)

    def _agrees(self, at: int) -> bool:
        """Whether the bytes from there on are those of a sound header, as far as they go."""
        start = self._bytes[at : at + len(_START)]
        names = self._bytes[at + _NAMES : at + _NAMES + len(self._names)]
        return _START.startswith(start) and self._names.startswith(names)

    def _drop_to(self, place: int) -> None:
        if place:
            del self._bytes[:place]
            self._searched = 1
            self.dropped += place
