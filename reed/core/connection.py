"""A connection: frames in, calls, and their replies out in the order of the requests.

    socket ── receive ─┬─ answered before: the same bytes again, at once
                       ├─ one frame, and nothing waits: the same without the buffer
                       └─ ReceiveBuffer ─┬─ request  ── Call ── dispatch ── … reply ──┐
                                         ├─ signal   ── on_signal                     │ in order
                                         └─ response ── on_response                   ▼
    socket ◀─ flush ──────────────────────────────────────────────────────────────  release

A connection takes a bounded number of frames a turn. It takes none while a reply of it is stuck in the socket, while
too many of its calls wait, or while the next frame is a read and the store holds writes that are not on the disk yet.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from reed.config import Limits
from reed.core.calls import Call, Caller, Dispatcher, FrameTap
from reed.core.draining import Refusing
from reed.core.quotas import Quotas, Share
from reed.errors import CallError, Malformed
from reed.loop.loop import Loop
from reed.loop.stream import Stream
from reed.peer_log import PeerLog
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame, ReceiveBuffer
from reed.wire.monitor import IN, OUT
from reed.wire.structs import Bytes

_RESPONSE = int(Flag.RESPONSE)
_NO_REQUEST = int(Flag.SIGNAL | Flag.RESPONSE)
_FEW = 4  # frames between two looks at the clock
_HIGH_WATER = 256 * 1024  # bytes of replies in the queue: above it no further frame is taken
_MOST_READS = 100  # of a peer that is gone


class Connection:
    """One peer on core.sock or on a plugin's socket."""

    __slots__ = (
        "_buffer",
        "_calls",
        "_dispatcher",
        "_ended",
        "_goes_on",
        "_limits",
        "_log",
        "_loop",
        "_monitor",
        "_on_closed",
        "_on_response",
        "_on_signal",
        "_paused",
        "_quotas",
        "_scratch",
        "caller",
        "share",
        "stream",
    )

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        caller: Caller,
        dispatcher: Dispatcher,
        limits: Limits,
        scratch: memoryview,
        log: PeerLog,
        monitor: FrameTap,
        quotas: Quotas,
        *,
        on_signal: Callable[[Connection, Frame], None],
        on_response: Callable[[Frame], None] | None = None,
        on_closed: Callable[[Connection, str], None],
    ) -> None:
        """`scratch` is the buffer that all connections receive into: nothing of it is kept beyond a turn."""
        self.caller = caller
        self._loop = loop
        self._dispatcher = dispatcher
        self._limits = limits
        self._scratch = scratch
        self._log = log
        self._monitor = monitor
        self._quotas = quotas
        self._on_signal = on_signal
        self._on_response = on_response
        self._on_closed = on_closed
        self._buffer = ReceiveBuffer(limits.payload)
        self._calls: deque[Call] = deque()  # in the order of the requests
        self._goes_on = False  # frames wait in the buffer: `_take_frames` is due in the next turn
        self._paused = False  # frames wait, and a reply must leave or a call must end first
        self._ended = False  # the peer sends no more
        self.stream = Stream(loop, sock, self._closed, on_drained=self._resume, max_queued=limits.queued_bytes)
        self.share: Share = quotas.enter(self, caller)
        self.stream.watch(self._on_readable)

    # In.

    def _on_readable(self) -> None:
        if self._goes_on or self._paused:
            return
        size = self.stream.receive(self._scratch)
        if size > 0:
            data = self._scratch[:size]
            taken = 0 if self._buffer.pending else self._answer_at_once(data) or self._take_alone(data)
            if taken < size:
                self._buffer.feed(data[taken:])
                self._take_frames()
        elif size == 0:
            self._end_of_input()

    def _end_of_input(self) -> None:
        """The peer sends no more; it still gets what it asked for."""
        self._ended = True
        if self._buffer.pending:
            self._log.info("%s: the connection ended in the middle of a frame", self.caller.name, peer=self.caller.name)
        if self.stream.closing:
            return
        if not self._calls and not self.stream.queued:
            self.stream.close("the peer closed the connection")
            return
        self.stream.pause()
        if not self._calls:
            self._loop.schedule_flush(self)  # after its replies of this turn

    def _take_alone(self, data: memoryview) -> int:
        """Take the frame that `data` is, where it is one and waits for nothing: it need not be fed. Its size, or 0."""
        frame = self._buffer.alone(data)
        if frame is None or self._monitor.watched:
            return 0
        if frame.flags & _NO_REQUEST:
            self._take_special(frame)
        elif self._calls or self.stream.queued or self._dispatcher.must_defer(frame.command_id):
            return 0
        else:
            call = Call(self, frame.command_id, frame.flags)
            if call.expects_reply:
                self._calls.append(call)
            self._dispatcher.dispatch(call, frame.payload)
        return len(data)

    def _answer_at_once(self, data: memoryview) -> int:
        """Answer the requests that `data` begins with as they were answered before; gives their size in bytes.
        Nothing is written for them, so no commit has to come first.
        """
        taken = 0
        while taken < len(data) and not (self._calls or self.stream.queued or self._monitor.watched):
            answers, size = self._dispatcher.answers(self.caller, data[taken:], _HIGH_WATER)
            if not answers:
                break
            self.stream.send_now(answers[0] if len(answers) == 1 else b"".join(answers))
            taken += size
            if self._loop.over_budget():
                break
        return taken

    def _take_more(self) -> None:
        """Go on with what the buffer holds."""
        self._buffer.skip(self._answer_at_once(self._buffer.rest))
        self._take_frames()

    def _take_frames(self) -> None:
        self._goes_on = False
        buffer = self._buffer
        stream = self.stream
        calls = self._calls
        monitor = self._monitor
        must_defer, dispatch = self._dispatcher.must_defer, self._dispatcher.dispatch
        most_calls = self._limits.queued_calls
        left = self._limits.frames_per_turn
        try:
            while not stream.closing:
                frame = buffer.next_frame()
                if frame is None:
                    if buffer.pending > _HIGH_WATER and (error := self.share.too_many_bytes()):
                        raise error
                    break
                if not left or must_defer(frame.command_id):
                    buffer.put_back(frame)
                    self._goes_on = True
                    self._loop.call_soon(self._take_more)
                    break
                if stream.queued > _HIGH_WATER or len(calls) >= most_calls:
                    buffer.put_back(frame)
                    self._paused = True
                    stream.pause()
                    break
                left -= 1
                if not left % _FEW and self._loop.over_budget():
                    left = 0  # the rest goes on in the next turn
                command_id, flags, payload = frame
                if monitor.watched:
                    self._saw(IN, *frames.in_parts(command_id, payload, flags=flags))
                if flags & _NO_REQUEST:
                    self._take_special(frame)
                    continue
                call = Call(self, command_id, flags)
                if call.expects_reply:
                    calls.append(call)
                dispatch(call, payload)
        except CallError as error:  # the frame boundaries are lost
            self._refuse(error)
            return
        finally:
            buffer.keep()

    def _take_special(self, frame: Frame) -> None:
        """A signal is never answered; a response belongs to a call that the core made."""
        try:
            if frame.flags & _RESPONSE:
                if self._on_response is None:
                    raise Malformed("a response came where only requests may")
                self._on_response(frame)
            elif frame.command_id == Command.PLUGIN_SIGNAL:
                self._on_signal(self, frame)
            else:
                raise Malformed(f"flag SIGNAL with command 0x{frame.command_id:02X}", hint="signals have command 0xF3")
        except CallError as error:
            self._note_failure(str(error))

    def _refuse(self, error: CallError) -> None:
        """Answer what cannot be read, after the replies that are owed for earlier requests, and close."""
        self._log.info("%s: %s", self.caller.name, error, peer=self.caller.name)
        call = Call(self, self._buffer.command_id, 0)
        self._calls.append(call)
        self._ended = True
        self.stream.pause()
        call.fail(error)

    # Out.

    def release(self, *, at_once: bool) -> None:
        """Send the replies at the head of the line that are there; `at_once`: no commit has to come before them."""
        calls = self._calls
        stream = self.stream
        while calls and (answer := calls[0].answer) is not None:
            calls.popleft()
            send = self.send_now if at_once and len(answer) == 1 else self.send
            send(*answer)
        if self._ended and not calls and not stream.closing:
            self._loop.schedule_flush(self)
        elif self._paused:
            self._resume()

    def send(self, *parts: Bytes) -> None:
        """Queue a frame of the core's own: a call, a signal."""
        if self._monitor.watched:
            self._saw(OUT, *parts)
        self.stream.send(*parts)
        self._look_at_bytes()

    def send_now(self, frame: Bytes) -> None:
        """As `send`, for what no commit has to come before: it is written at once, unless something waits before it."""
        if self._monitor.watched:
            self._saw(OUT, frame)
        self.stream.send_now(frame)
        self._look_at_bytes()

    def _look_at_bytes(self) -> None:
        if self.stream.queued > _HIGH_WATER and (error := self.share.too_many_bytes()):
            self._log.warning("%s: a connection is closed: %s", self.caller.name, error, peer=self.caller.name)
            self.stream.close(str(error))

    @property
    def held_bytes(self) -> int:
        """Of requests that are not whole yet, and of answers that were not read yet."""
        return self._buffer.pending + self.stream.queued

    def flush(self) -> None:
        """It has ended, and its last replies were flushed: it closes. A blocked one goes on with `on_drained`."""
        if not self.stream.closing and not self.stream.queued:
            self.stream.close("the peer closed the connection")

    def _saw(self, direction: int, *frame: Bytes) -> None:
        self._monitor.saw(direction, self.stream.fd, self.caller.name, *frame)

    def end(self, error: CallError) -> None:
        """Begin no call any more: what has come is refused with `error`, what is begun is answered; then it closes."""
        self._dispatcher = Refusing(error)
        self.stream.end_input()
        self.drain()
        self._resume()

    def drain(self) -> None:
        """The peer is gone: take the frames that it had sent, as many as one turn may."""
        for _ in range(_MOST_READS):
            if not self.stream.closing:
                self._on_readable()

    def close(self, reason: str) -> None:
        self.stream.close(reason)

    def close_with(self, error: CallError) -> None:
        """Tell the peer why (best effort), and close."""
        if not self.stream.closing:
            self.stream.send(frames.encode(0, ErrorResponse.of(error).pack(), Flag.RESPONSE | Flag.ERROR))
            self.stream.close_after_flush(str(error))

    def note_async_failure(self, call: Call, error: CallError) -> None:
        self._note_failure(f"ASYNC command 0x{call.command_id:02X} failed: {error}")

    def _note_failure(self, what: str) -> None:
        """Of what is never answered: calls with ASYNC, signals, responses to nothing."""
        self._log.warning("%s: %s", self.caller.name, what, peer=self.caller.name)

    def _resume(self) -> None:
        """A reply left or a call ended: frames may be taken again."""
        if self._ended and not self._calls and not self.stream.queued:
            self.stream.close("the peer closed the connection")
        elif self._paused and self.stream.queued <= _HIGH_WATER and len(self._calls) < self._limits.queued_calls:
            self._paused = False
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self.stream.closing:
            self.stream.watch(self._on_readable)
            self._take_more()

    def _closed(self, reason: str) -> None:
        self._quotas.leave(self, self.caller)
        self._buffer.clear()  # now: the connection itself waits for the garbage collector
        self._calls.clear()  # replies that come later are sent to a closing stream, which drops them
        self._on_closed(self, reason)
