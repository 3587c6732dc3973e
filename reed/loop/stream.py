"""A non-blocking socket with an output queue that is written in the flush of each turn.

    send(part) ── queue ── flush: sendmsg ─┬─ all written: idle (`on_drained` when it had been blocked)
                                           └─ short write: blocked; wait for writability; who reads nothing for
                                              `stall_seconds`, or lets more than `max_queued` bytes pile up, is closed
    send_now(part) ── the same without waiting for the flush: for what no commit has to come before
    receive(into) ── recv_into

A part is `bytes`, or a view of memory that nobody will change until it is written.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from reed.loop.loop import Loop
from reed.loop.timers import Callback, Timer

Part = bytes | bytearray | memoryview

_MOST_BYTES = 512 * 1024  # of one part, in a turn
_MOST_PARTS = 512  # below IOV_MAX (1,024)


class Stream:
    """One connected socket. `on_closed(reason)` is called once, in the turn in which the stream died."""

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
        self.queued = 0  # bytes that wait to be written
        self.max_queued = max_queued
        self.closing = False  # nothing more is read or accepted for sending
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
        """Stop watching for input: the other side must read first."""
        self._loop.unwatch_read(self.fd)

    def receive(self, into: memoryview) -> int:
        """Bytes read into `into`; 0 when the other side has ended or the stream died; -1 when nothing is there now."""
        if self.closing:
            return 0
        try:
            return self._recv_into(into)
        except (BlockingIOError, InterruptedError):
            return -1
        except OSError as error:
            self.close(error.strerror or str(error))
            return 0

    def send(self, *parts: Part) -> None:
        """Queue `parts` for this turn's flush."""
        if self.closing:
            return
        for part in parts:
            self._queue.append(part)
            self.queued += len(part)
        if self.queued > self.max_queued:
            self.close(f"{self.queued} bytes wait for a slow reader, the limit is {self.max_queued}")
        elif not self._scheduled and not self._blocked:
            self._scheduled = True
            self._loop.schedule_flush(self)

    def send_now(self, part: Part) -> None:
        """Write `part` at once, if nothing is queued before it; what the socket does not take is queued."""
        if self._queue or self.closing:
            self.send(part)
            return
        try:
            sent = self._send(part)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.close(error.strerror or str(error))
            return
        if sent < len(part):
            self.send(memoryview(part)[sent:])

    def flush(self) -> None:
        """Write what the socket takes."""
        self._scheduled = False
        queue = self._queue
        while queue:
            try:
                sent = self._send_one() if len(queue) == 1 else self._sock.sendmsg(queue[:_MOST_PARTS])
            except (BlockingIOError, InterruptedError):
                self._wait_for_room()
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
                self._wait_for_room()
                return
        if self._blocked:
            self._blocked = False
            self._loop.unwatch_write(self.fd)
            self._cancel_stall_timer()
            self._on_drained()

    def _send_one(self) -> int:
        """Of a long part only the beginning: a reader as quick as this writer would keep the turn until its end."""
        part = self._queue[0]
        return self._send(part if len(part) <= _MOST_BYTES else memoryview(part)[:_MOST_BYTES])

    def end_input(self) -> None:
        """The other side can send no more: what it has sent is read still, what it sends now fails over there."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def close_after_flush(self, reason: str) -> None:
        """Send what is queued, as far as the socket takes it at once, and close at the end of the turn."""
        if not self.closing:
            self.flush()
            self.close(reason)

    def close(self, reason: str) -> None:
        """Give up the stream: `on_closed(reason)` now, the descriptor at the end of the turn."""
        if self.closing:
            return
        self.closing = True
        self._queue.clear()
        self.queued = 0
        self._cancel_stall_timer()
        self._loop.unwatch(self.fd)
        self._loop.schedule_close(self._sock)
        self._on_closed(reason)

    def _drop(self, sent: int) -> bool:
        """Take the first `sent` bytes off the queue; False when the last part went out only in part."""
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

    def _wait_for_room(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._loop.watch_write(self.fd, self.flush)
        self._cancel_stall_timer()  # something was written since the last time, or nothing waited before
        self._stall_timer = self._loop.call_later(self._stall_seconds, self._stalled)

    def _stalled(self) -> None:
        self.close(f"{self.queued} bytes wait for a reader that has read nothing for {self._stall_seconds:g} s")

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
