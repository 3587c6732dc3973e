"""Frames: a 12-byte header and a payload, and the buffer that finds them in a stream (protocol.md#frames).

    0       4       5         6      7         8            12
    | magic | version | command | flags | reserved | payload_len | payload … |

A ReceiveBuffer borrows the bytes that were read, returns views of their frames, and copies only an unfinished one:

    feed(view) ── next_frame() ── Frame, Frame, …, None ── keep(), which invalidates the views

A large unfinished frame is kept in mapped memory. glibc returns only the top of its heap to the kernel, so a thousand
half-sent requests would leave hundreds of MB there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reed.errors import Malformed, TooLarge, UnsupportedVersion
from reed.wire.codes import MAGIC, VERSION, Flag
from reed.wire.structs import HEADER, Bytes

if TYPE_CHECKING:
    from mmap import mmap

MAX_PAYLOAD = 16 * 1024 * 1024

_HEADER_SIZE = HEADER.size
_EMPTY = memoryview(b"")
_MIN_MAPPED = 32 * 1024  # bytes; below, mapping memory would cost more than the rest of the read
_SPARE = 256 * 1024  # room for the beginning of the next frame


class Frame(NamedTuple):
    command_id: int
    flags: int
    payload: memoryview


_tuple = tuple.__new__  # a NamedTuple's own __new__ is a function in Python


def encode(command_id: int, payload: Bytes = b"", flags: int = 0) -> bytes:
    return HEADER.pack(MAGIC, VERSION, command_id, flags, 0, len(payload)) + payload


def header(command_id: int, payload_len: int, flags: int = 0) -> bytes:
    return HEADER.pack(MAGIC, VERSION, command_id, flags, 0, payload_len)


def in_parts(command_id: int, *payload: Bytes, flags: int = 0) -> tuple[Bytes, ...]:
    """Like `encode`, without copying the payload."""
    return header(command_id, sum(map(len, payload)), flags), *payload


def is_response(flags: int) -> bool:
    return bool(flags & Flag.RESPONSE)


class ReceiveBuffer:
    __slots__ = ("_at", "_end", "_own", "_view", "command_id", "is_empty", "max_payload")

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self.max_payload = max_payload
        self.is_empty = True  # no frame is unfinished (`keep`)
        self.command_id = 0  # of the last header, for the response to a bad one
        self._own: bytearray | mmap | None = None  # never reused, since payloads may be views of it
        self._view = _EMPTY
        self._at = 0
        self._end = 0

    def feed(self, data: memoryview) -> None:
        """Lend `data` to the buffer, after `next_frame` returned None and `keep` was called."""
        if self._own is None:
            self._view = data
        else:
            filled, needed = self._end, self._end + len(data)
            if needed > len(self._own):
                frame = _size_of_frame(self._view)
                self._view = _EMPTY  # memory with a view of it cannot be resized
                self._own = _enlarged(self._own, filled, needed, frame)
            self._own[filled:needed] = data
            self._view = memoryview(self._own)[:needed]
        self._at = 0
        self._end = len(self._view)

    def single_frame(self, data: memoryview) -> Frame | None:
        """Fast path: the frame, if `data` is exactly one valid frame; it need not be fed."""
        if len(data) < _HEADER_SIZE:
            return None
        magic, version, command_id, flags, _, length = HEADER.unpack_from(data)
        valid = magic == MAGIC and version == VERSION and length <= self.max_payload
        if not valid or length != len(data) - _HEADER_SIZE:
            return None
        return _tuple(Frame, (command_id, flags, data[_HEADER_SIZE:]))

    def next_frame(self) -> Frame | None:
        """None if more bytes are needed. Malformed, UnsupportedVersion or TooLarge: the stream is useless."""
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
        return _tuple(Frame, (self.command_id, flags, self._view[start:stop]))

    @property
    def rest(self) -> memoryview:
        """The bytes after the last frame."""
        return self._view[self._at :]

    def skip(self, size: int) -> None:
        """Skip whole frames of the rest."""
        self._at += size

    def put_back(self, frame: Frame) -> None:
        """Make `next_frame` return its last frame again."""
        self._at -= _HEADER_SIZE + len(frame.payload)

    def keep(self) -> None:
        """Copy the unread bytes of the lent view."""
        if self._own is not None and self._at == 0:
            return  # no frame was returned
        rest = self._view[self._at : self._end]
        self.is_empty = not rest
        self._own = _copy(rest) if rest else None
        self._view = _EMPTY if self._own is None else memoryview(self._own)[: len(rest)]
        self._at = 0
        self._end = len(rest)

    def clear(self) -> None:
        self._own, self._view = None, _EMPTY
        self.is_empty = True
        self._at = self._end = 0

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame."""
        return self._end - self._at


def _size_of_frame(data: memoryview) -> int:
    """The size of the first frame, 0 before its header is there."""
    return _HEADER_SIZE + HEADER.unpack_from(data)[5] if len(data) >= _HEADER_SIZE else 0


def _copy(data: memoryview) -> bytearray | mmap:
    is_unfinished = len(data) >= _MIN_MAPPED and _size_of_frame(data) > len(data)  # whole frames leave next turn
    mapped = _map(len(data)) if is_unfinished else None
    if mapped is None:
        return bytearray(data)
    mapped[:] = data
    return mapped


def _enlarged(own: bytearray | mmap, filled: int, needed: int, frame: int) -> bytearray | mmap:
    """Memory of `needed` bytes or more, which begins with the first `filled` bytes of `own`."""
    if frame < _MIN_MAPPED:
        larger: bytearray | mmap = bytearray(needed)
    else:
        size = min(2 * needed, max(frame + _SPARE, needed))  # a forged length must not cost memory
        if not isinstance(own, bytearray):
            try:
                own.resize(size)
            except (BufferError, OSError):  # a frame that was put back is still held, or mremap is refused
                pass
            else:
                return own
        larger = _map(size) or bytearray(size)
    larger[:filled] = own[:filled]
    return larger


def _map(size: int) -> mmap | None:
    """Memory of its own from the kernel; None if it is refused."""
    from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

    try:
        return mmap(-1, size, MAP_PRIVATE | MAP_ANONYMOUS)
    except OSError:
        return None
