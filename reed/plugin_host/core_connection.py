"""The plugin's connection to the core.

It has one request in flight, so the next response is its answer (protocol.md#connections). Other frames are deferred.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from reed.errors import CallError, Malformed
from reed.wire import frames
from reed.wire.codes import LAST_ACTION_ID, MAGIC, VERSION, Flag
from reed.wire.common import ErrorResponse
from reed.wire.structs import HEADER

_MAX_RESPONSE = 0xFFFFFFFF  # a page may be longer than a request
_ERROR = int(Flag.ERROR)
_HEADER_SIZE = HEADER.size

OnFrame = Callable[[frames.Frame], bool]


class CoreGone(Exception): ...


def connected_socket(connect: Callable[[int], None]) -> socket.socket:
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connect(connecting.fileno())
    except OSError:
        connecting.close()
        raise
    return connecting


class CoreConnection:
    def __init__(self, connected: socket.socket, chunk: memoryview) -> None:
        self._socket = connected
        self._fd = connected.fileno()
        self._chunk = chunk
        self._buffer = frames.ReceiveBuffer(_MAX_RESPONSE)
        self.unread = False  # whether the buffer holds bytes, or borrows the chunk
        self._single: frames.Frame | None = None  # all that was read, if exactly one frame
        self.deferred: deque[frames.Frame] = deque()

    def fileno(self) -> int:
        return self._fd

    def ready_frame(self) -> frames.Frame | None:
        """Its payload is valid until the next call. Raises CoreGone."""
        if self._fd < 0:
            raise CoreGone  # what is deferred needs no answer any more
        return self.deferred.popleft() if self.deferred else self._buffered()

    def defer_frames(self, on_other_frame: OnFrame) -> None:
        """Defers the frames that were read, except those that `on_other_frame` handles."""
        while (frame := self._buffered()) is not None:
            if not on_other_frame(frame):
                self.deferred.append(frame._replace(payload=memoryview(bytes(frame.payload))))

    def request(
        self, command: int, payload: bytes, on_other_frame: OnFrame = lambda _frame: False, *, then: bytes = b""
    ) -> memoryview:
        """`then`: a signal's frame, sent in the same write. Raises CoreGone, and CallError for an ErrorResponse."""
        self.send(frames.encode(command, payload) + then)
        while True:
            while (frame := self._buffered()) is None:
                self.fill()
            if frames.is_response(frame.flags):
                break
            if not on_other_frame(frame):
                self.deferred.append(frame._replace(payload=memoryview(bytes(frame.payload))))
        _check_command(frame, command)
        if frame.flags & _ERROR:
            raise _error_of(frame)
        return frame.payload

    def request_all(
        self, requests: Sequence[tuple[int, bytes]], on_other_frame: OnFrame = lambda _frame: False
    ) -> Iterator[bytes | CallError]:
        """The response to each, or its error. Reads while it sends, since the core stops reading from a peer that reads
        nothing. Raises CoreGone."""
        unsent = memoryview(b"".join(frames.encode(command, payload) for command, payload in requests))
        waiting = deque(command for command, _ in requests)
        poller = select.poll()
        while True:
            while waiting and (frame := self._buffered()) is not None:
                if frames.is_response(frame.flags):
                    yield _answer(frame, waiting.popleft())
                elif not on_other_frame(frame):
                    self.deferred.append(frame._replace(payload=memoryview(bytes(frame.payload))))
            if not waiting:
                return
            poller.register(self._fd, select.POLLIN | (select.POLLOUT if unsent else 0))
            for _, events in poller.poll():
                if unsent and events & select.POLLOUT:
                    unsent = unsent[self._send_some(unsent) :]
                if events & ~select.POLLOUT:
                    self.fill()

    def _send_some(self, data: memoryview) -> int:
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            raise CoreGone from None

    def send(self, data: bytes) -> None:
        if self._fd < 0:
            raise CoreGone
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise CoreGone from None

    def close(self) -> None:
        self._socket.close()
        self._fd = -1

    def fill(self) -> None:
        """Reads once, blocking. Raises CoreGone."""
        self._lend(self._receive())

    def receive_call(self) -> tuple[int, bytes] | None:
        """Reads once, as `fill`, if nothing is unread. Returns id and input if it is exactly one call of an action."""
        size, chunk = self._receive(), self._chunk
        if size >= _HEADER_SIZE:
            magic, version, command_id, flags, _, length = HEADER.unpack_from(chunk)
            is_call = magic == MAGIC and version == VERSION and not flags and command_id <= LAST_ACTION_ID
            if is_call and length == size - _HEADER_SIZE:
                return command_id, chunk[_HEADER_SIZE:size].tobytes()
        self._lend(size)
        return None

    def _receive(self) -> int:
        try:
            size = self._socket.recv_into(self._chunk)
        except ConnectionResetError:
            raise CoreGone from None
        if not size:
            raise CoreGone
        return size

    def _lend(self, size: int) -> None:
        data = self._chunk[:size]
        self._single = None if self.unread else self._buffer.single_frame(data)
        if self._single is None:
            self._buffer.feed(data)
            self.unread = True

    def _buffered(self) -> frames.Frame | None:
        if not self.unread:
            frame, self._single = self._single, None
            return frame
        frame = self._buffer.next_frame()
        if frame is None:
            self._buffer.keep()
            self.unread = self._buffer.pending > 0
        return frame


def _check_command(frame: frames.Frame, command: int) -> None:
    if frame.command_id != command:
        raise Malformed(f"the core answered command 0x{command:02X} with a response to 0x{frame.command_id:02X}")


def _error_of(frame: frames.Frame) -> CallError:
    error = ErrorResponse.unpack(frame.payload)
    return CallError(error.message, status=error.status, error_code=error.error_code)


def _answer(frame: frames.Frame, command: int) -> bytes | CallError:
    _check_command(frame, command)
    return _error_of(frame) if frame.flags & _ERROR else bytes(frame.payload)
