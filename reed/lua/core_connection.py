"""The plugin's connection to the core: frames in and out, and requests of its own in between.

    ready_frame()        the next request or signal that is here already: what had to wait, then what was read
    fill()               reads once, when the socket is readable and no frame is ready
    request(...)         a request to the core; whatever else comes before its answer waits in `queue`

Both directions share the connection: RESPONSE tells them apart (protocol.md#connections). One request of ours is under
way at a time, so the next response is its answer. A link whose core is gone is closed, and has nothing to give.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from reed.errors import CallError, Malformed
from reed.wire import frames
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse

_READ = 32768
_LARGEST = 0xFFFFFFFF  # a page with one content of the largest size is longer than a request may be
_ERROR = int(Flag.ERROR)


class CoreGone(Exception):
    """The core has closed the connection, or was killed."""


class CoreConnection:
    """One registered connection."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._fd = connected.fileno()
        self._room = memoryview(bytearray(_READ))
        self._buffer = frames.ReceiveBuffer(_LARGEST)
        self._fed = False
        self._alone: frames.Frame | None = None  # all that was read
        self.queue: deque[frames.Frame] = deque()

    @classmethod
    def by(cls, connect: Callable[[int], None]) -> CoreConnection:
        """A connection to where `connect` leads a descriptor. Raises OSError."""
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connect(connecting.fileno())
        except OSError:
            connecting.close()
            raise
        return cls(connecting)

    def fileno(self) -> int:
        """-1 once it is closed."""
        return self._fd

    def ready_frame(self) -> frames.Frame | None:
        """The next frame that was read; its payload is valid until the next call. Raises CoreGone."""
        if self._fd < 0:
            raise CoreGone  # and nobody waits for what it had asked
        return self.queue.popleft() if self.queue else self._buffered()

    def defer_frames(self, meanwhile: Callable[[frames.Frame], bool]) -> None:
        """Has what was read wait in `queue`, but for what `meanwhile` deals with (True)."""
        while (frame := self._buffered()) is not None:
            if not meanwhile(frame):
                self.queue.append(frame._replace(payload=memoryview(bytes(frame.payload))))

    def request(
        self, command: int, payload: bytes, meanwhile: Callable[[frames.Frame], bool] = lambda _frame: False
    ) -> memoryview:
        """The payload of the core's answer; an ErrorResponse is raised as CallError.

        `meanwhile` may deal with a frame that comes before it (True), else the frame waits.
        """
        self.send(frames.encode(command, payload))
        while True:
            frame = self._read()
            if frames.is_response(frame.flags):
                break
            if not meanwhile(frame):
                self.queue.append(frame._replace(payload=memoryview(bytes(frame.payload))))
        if frame.command_id != command:
            raise Malformed(f"the core answered 0x{frame.command_id:02X} to 0x{command:02X}")
        if frame.flags & _ERROR:
            error = ErrorResponse.unpack(frame.payload)
            raise CallError(error.message, status=error.status, error_code=error.error_code)
        return frame.payload

    def send(self, data: bytes) -> None:
        """Raises CoreGone."""
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
        """Reads what is there. Raises CoreGone."""
        try:
            size = self._socket.recv_into(self._room)
        except ConnectionResetError:
            raise CoreGone from None
        if not size:
            raise CoreGone
        data = self._room[:size]
        self._alone = None if self._buffer.pending else self._buffer.alone(data)
        if self._alone is None:
            self._buffer.feed(data)
            self._fed = True

    def _read(self) -> frames.Frame:
        while (frame := self._buffered()) is None:
            self.fill()
        return frame

    def _buffered(self) -> frames.Frame | None:
        if not self._fed:
            frame, self._alone = self._alone, None
            return frame
        frame = self._buffer.next_frame()
        if frame is None:
            self._buffer.keep()
            self._fed = False
        return frame
