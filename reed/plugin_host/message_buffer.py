"""Splits the bytes of one FIFO into messages; skips the torn message of a writer that died (protocol.md#messages).

A valid header has magic, version and the two names of this FIFO. JSON holds no byte 0x01, so a payload that contains
magic and version is torn; everything before them is dropped.
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
_NAMES = len(_START) + 1  # offset of the two names
_CHECKED = _NAMES + 64  # bytes
_PREFIXES = tuple(_START[:size] for size in range(len(_START) - 1, 0, -1))


class MessageBuffer:
    __slots__ = ("_bytes", "_names", "_searched", "dropped")

    def __init__(self, source: str, target: str) -> None:
        self._names = pack_text(source, 32) + pack_text(target, 32)
        self._bytes = bytearray()
        self._searched = 1  # no second header begins before this
        self.dropped = 0

    @property
    def pending(self) -> int:
        return len(self._bytes)

    @property
    def missing(self) -> int:
        if not self._bytes:
            return 0
        if len(self._bytes) < _HEADER:
            return _HEADER - len(self._bytes)
        return max(_HEADER + int.from_bytes(self._bytes[_LENGTH:_HEADER], "little") - len(self._bytes), 0)

    def feed(self, data: bytes | memoryview) -> None:
        self._bytes += data

    def clear(self) -> None:
        self._drop_to(len(self._bytes))

    def next_message(self) -> PluginMessage | None:
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
        """Of a valid header, or the beginning of one at the end of the data; else the end.

        A writer may send anything: whole headers are searched by their names, in C, and only the end byte by byte.
        """
        names = self._bytes.find(self._names, start + _NAMES)
        while names >= 0:
            if self._bytes.startswith(_START, names - _NAMES):
                return names - _NAMES
            names = self._bytes.find(self._names, names + 1)
        at = self._bytes.find(_START[:1], max(start, len(self._bytes) - _CHECKED + 1))
        while at >= 0 and not self._matches(at):
            at = self._bytes.find(_START[:1], at + 1)
        return at if at >= 0 else len(self._bytes)

    def _second_header(self, end: int) -> int:
        """Before `end`, or -1. Within the payload, magic and version are enough."""
        at = self._bytes.find(_START, self._searched, end + len(_START) - 1)
        while 0 <= at < _HEADER and not self._matches(at):
            at = self._bytes.find(_START, at + 1, end + len(_START) - 1)
        if at >= 0 or len(self._bytes) < end:
            return at
        payload = memoryview(self._bytes)[max(_HEADER, end - len(_START)) : end]
        tail = bytes(payload)  # no JSON text ends with the first bytes of a magic
        payload.release()
        return next((end - len(start) for start in _PREFIXES if tail.endswith(start)), -1)

    def _matches(self, at: int) -> bool:
        """As far as the bytes go."""
        start = self._bytes[at : at + len(_START)]
        names = self._bytes[at + _NAMES : at + _NAMES + len(self._names)]
        return _START.startswith(start) and self._names.startswith(names)

    def _drop_to(self, place: int) -> None:
        if place:
            del self._bytes[:place]
            self._searched = 1
            self.dropped += place
