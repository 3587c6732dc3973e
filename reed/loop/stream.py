"""A non-blocking socket with an output queue that is written in the flush of each turn.

    send ── queue ── flush ─┬─ all written: idle (`on_drained` if it was blocked)
                            └─ short write: blocked until the socket is writable

A peer that stalls for `stall_seconds`, or leaves more than `max_queued` bytes unread, is disconnected.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from reed.loop.loop import Loop
from reed.loop.timers import Callback, Timer

Part = bytes | bytearray | memoryview  # must not change until it is written

_MAX_WRITE = 512 * 1024
_MAX_PARTS = 512  # below IOV_MAX (1,024)


class Stream:
    """`on_closed(reason)` is called once, whatever closes the stream."""

    __slots__ = (
        "_blocked",
        "_loop",
        "_on_closed",
        "_on_drained",
        "_queue",
        "_recv_into",
        "_scheduled",
        "_send",
        "_sock",
        "_stall_seconds",
        "_stall_timer",
        "closing",
        "fd",
        "max_queued",
        "queued",
    )

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_closed: Callable[[str], None],
        *,
        on_drained: Callback = lambda: None,
        max_queued: int,
        stall_seconds: float = 60.0,
    ) -> None:
        sock.setblocking(False)
        self.fd = sock.fileno()
        self.queued = 0  # bytes
        self.max_queued = max_queued
        self.closing = False
        self._loop = loop
        self._sock = sock
        self._on_closed = on_closed
        self._on_drained = on_drained
        self._recv_into = sock.recv_into
        self._send = sock.send
        self._queue: list[Part] = []
        self._scheduled = False
        self._blocked = False
        self._stall_seconds = stall_seconds
        self._stall_timer: Timer | None = None

    def watch(self, on_readable: Callback) -> None:
        if not self.closing:
            self._loop.watch(self.fd, on_readable)

    def pause(self) -> None:
        """Stop reading (back-pressure)."""
        self._loop.unwatch_read(self.fd)

    def receive(self, into: memoryview) -> int:
        """The number of bytes; 0 at the end of the input or if the stream is closed; -1 if nothing is there now."""
        if self.closing:
            return 0
        try:
            return self._recv_into(into)
        except OSError as error:
            return self.not_received(error)

    def not_received(self, error: OSError) -> int:
        """What `receive` returns for it; an error of the socket closes the stream."""
        if isinstance(error, (BlockingIOError, InterruptedError)):
            return -1
        self.close(error.strerror or str(error))
        return 0

    def send(self, *parts: Part) -> None:
        self.send_parts(parts)

    def send_parts(self, parts: tuple[Part, ...]) -> None:
        if self.closing:
            return
        for part in parts:
            self._queue.append(part)
            self.queued += len(part)
        if self.queued > self.max_queued:
            self.close(f"slow reader: {self.queued} bytes unread, the limit is {self.max_queued}")
        elif not self._scheduled and not self._blocked:
            self._scheduled = True
            self._loop.schedule_flush(self)

    def send_now(self, part: Part) -> None:
        """Write before the commit, unless something is queued. What the socket does not take is copied and queued."""
        if self._queue or self.closing:
            self.send(bytes(part))
            return
        send = self._send  # Python calls a local variable faster than an attribute
        try:
            sent = send(part)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.close(error.strerror or str(error))
            return
        if sent < len(part):
            self.send(memoryview(bytes(part))[sent:])

    def flush(self) -> None:
        self._scheduled = False
        queue = self._queue
        while queue:
            try:
                sent = self._send_one() if len(queue) == 1 else self._sock.sendmsg(queue[:_MAX_PARTS])
            except (BlockingIOError, InterruptedError):
                self._wait_until_writable()
                return
            except OSError as error:
                self.close(error.strerror or str(error))
                return
            if sent == self.queued:
                queue.clear()
                self.queued = 0
                break
            self.queued -= sent
            if not self._drop(sent):
                self._wait_until_writable()
                return
        if self._blocked:
            self._blocked = False
            self._loop.unwatch_write(self.fd)
            self._cancel_stall_timer()
            self._on_drained()

    def _send_one(self) -> int:
        """A fast reader of a long part must not occupy this turn."""
        part = self._queue[0]
        return self._send(part if len(part) <= _MAX_WRITE else memoryview(part)[:_MAX_WRITE])

    def end_input(self) -> None:
        """Bytes that the peer has sent can still be received; its later writes fail."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def close_after_flush(self, reason: str) -> None:
        if not self.closing:
            self.flush()
            self.close(reason)

    def close(self, reason: str) -> None:
        """Drop the queue; the descriptor is closed at the end of the turn."""
        if self.closing:
            return
        self.closing = True
        self._queue.clear()
        self.queued = 0
        self._cancel_stall_timer()
        self._loop.unwatch(self.fd)
        self._loop.schedule_close(self._sock)
        on_closed = self._on_closed
        self._on_closed, self._on_drained = _ignore, _ignore  # or owner and stream would wait for the garbage collector
        on_closed(reason)

    def _drop(self, sent: int) -> bool:
        """Returns whether only whole parts were sent."""
        queue = self._queue
        done = 0
        for part in queue:
            if sent < len(part):
                break
            sent -= len(part)
            done += 1
        del queue[:done]
        if sent:
            queue[0] = memoryview(queue[0])[sent:]
        return not sent

    def _wait_until_writable(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._loop.watch_write(self.fd, self.flush)
        self._cancel_stall_timer()  # the peer has read something since
        self._stall_timer = self._loop.call_later(self._stall_seconds, self._stalled)

    def _stalled(self) -> None:
        self.close(f"stalled: {self.queued} bytes unread for {self._stall_seconds:g} s")

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _ignore(_reason: str = "") -> None:
    """The stream is closed."""
