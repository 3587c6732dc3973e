"""Frames: the 12-byte header with its payload, and the buffer that cuts them out of a stream.

    0       4       5         6      7         8            12
    | magic | version | command | flags | reserved | payload_len | payload … |

A ReceiveBuffer borrows what was read, gives its frames, and copies only what is left over:

    feed(view) ── next_frame() ── Frame, Frame, …, None ── keep()

A frame's payload is a view. It is valid until `keep()`; who needs it longer takes `bytes(payload)`.
Every error that `next_frame` raises is final for the stream: its frame boundaries are lost.
"""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import Malformed, TooLarge, UnsupportedVersion
from reed.wire.codes import MAGIC, VERSION, Flag
from reed.wire.structs import HEADER, Bytes

MAX_PAYLOAD = 16 * 1024 * 1024

_HEADER_SIZE = HEADER.size
_EMPTY = memoryview(b"")


class Frame(NamedTuple):
    command_id: int
    flags: int
    payload: memoryview


def encode(command_id: int, payload: Bytes = b"", flags: int = 0) -> bytes:
    """One whole frame. Of payloads worth not copying: `in_parts`."""
    return HEADER.pack(MAGIC, VERSION, command_id, flags, 0, len(payload)) + payload


def header(command_id: int, payload_len: int, flags: int = 0) -> bytes:
    return HEADER.pack(MAGIC, VERSION, command_id, flags, 0, payload_len)


def in_parts(command_id: int, *payload: Bytes, flags: int = 0) -> tuple[Bytes, ...]:
    """One whole frame, not joined: its header, and the parts of its payload as they are."""
    return header(command_id, sum(map(len, payload)), flags), *payload


def is_response(flags: int) -> bool:
    return bool(flags & Flag.RESPONSE)


class ReceiveBuffer:
    """Bytes in, frames out; holds at most one unfinished frame between two turns."""

    __slots__ = ("_at", "_end", "_own", "_view", "command_id", "max_payload")

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self.max_payload = max_payload
        self.command_id = 0  # of the newest header read, so that an error can echo it
        self._own: bytearray | None = None  # what `keep` copied; its views outlive it, it is never reused
        self._view = _EMPTY
        self._at = 0
        self._end = 0

    def feed(self, data: memoryview) -> None:
        """Lend `data` to the buffer; call it only after `next_frame` gave None and `keep` was called."""
        if self._own is None:
            self._view = data
        else:
            self._view = _EMPTY  # a bytearray with a view of it cannot grow
            try:
                self._own += data
            except BufferError:  # of a frame that was put back, its holder still has the view: leave it that memory
                self._own = self._own + data
            self._view = memoryview(self._own)
        self._at = 0
        self._end = len(self._view)

    def alone(self, data: memoryview) -> Frame | None:
        """The frame that `data` is, where it is one sound frame and nothing else: then it need not be fed."""
        if len(data) < _HEADER_SIZE:
            return None
        magic, version, command_id, flags, _, length = HEADER.unpack_from(data)
        sound = magic == MAGIC and version == VERSION and length <= self.max_payload
        return Frame(command_id, flags, data[_HEADER_SIZE:]) if sound and length == len(data) - _HEADER_SIZE else None

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None when more must be read first."""
        start = self._at + _HEADER_SIZE
        if start > self._end:
            return None
        magic, version, self.command_id, flags, _, length = HEADER.unpack_from(self._view, self._at)
        if magic != MAGIC:
            self.command_id = 0
            raise Malformed(f"bad magic 0x{magic:08X}", hint="the connection is closed")
        if version != VERSION:
            raise UnsupportedVersion(f"protocol version {version}", hint=f"this core speaks version {VERSION}")
        if length > self.max_payload:
            raise TooLarge(f"payload of {length} bytes", hint=f"the limit is {self.max_payload}")
        stop = start + length
        if stop > self._end:
            return None
        self._at = stop
        return Frame(self.command_id, flags, self._view[start:stop])

    @property
    def rest(self) -> memoryview:
        """What was not taken yet; valid until `keep()`."""
        return self._view[self._at :]

    def skip(self, size: int) -> None:
        """These bytes of the rest were taken without `next_frame`: whole frames."""
        self._at += size

    def put_back(self, frame: Frame) -> None:
        """The newest frame is not handled yet: `next_frame` gives it again."""
        self._at -= _HEADER_SIZE + len(frame.payload)

    def keep(self) -> None:
        """Give the lent view back: whatever is left of it is copied."""
        if self._own is not None and self._at == 0:
            return  # nothing was taken: the copy stands
        self._own = bytearray(self._view[self._at : self._end]) if self._at < self._end else None
        self._view = _EMPTY if self._own is None else memoryview(self._own)
        self._at = 0
        self._end = len(self._view)

    def clear(self) -> None:
        """Let go of what is left: no more comes."""
        self._own, self._view = None, _EMPTY
        self._at = self._end = 0

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return self._end - self._at
