"""A connection: reads frames, dispatches calls, and sends the replies in the order of the requests.

socket ── receive ─┬─ response cache: answered at once
                   └─ ReceiveBuffer ─┬─ request  ── Call ── dispatch ── … reply ──┐
                                     ├─ signal   ── on_signal                     │ in order
                                     └─ response ── on_response                   ▼
socket ◀─ flush ──────────────────────────────────────────────────────────────  release
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from reed.config import Config
from reed.core.calls import Call, Caller, Dispatcher, FrameTap, RejectingDispatcher, Watch
from reed.core.connection_state import TRANSITIONS, ConnectionState
from reed.core.in_flight import HIGH_WATER, InFlight
from reed.core.quotas import Quotas, Usage
from reed.counters import CommandCounters
from reed.errors import CallError, Conflict, Malformed
from reed.loop.loop import Loop
from reed.loop.stream import Stream
from reed.peer_log import PeerLog
from reed.store.workers import Origin
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.commands import STORE_READS
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame, ReceiveBuffer
from reed.wire.monitor import IN, OUT
from reed.wire.structs import COMMAND_AT, Bytes

_OPEN, _BACKLOG, _WAITING, _PAUSED, _DRAINING, _CLOSING = ConnectionState
_RESPONSE = int(Flag.RESPONSE)
_CONTROL = int(Flag.SIGNAL | Flag.RESPONSE)
_FRAMES_PER_CLOCK_READ = 4  # of short requests; a signal may go to every plugin
_LONG_FRAME = 4096  # bytes; a CREATE of 32 KB takes 1 ms
_MAX_DRAIN_READS = 100
_PEER_CLOSED = "the peer closed the connection"


class ConnectionContext(Protocol):
    """What all connections of a core share (plugin_endpoint.CoreContext)."""

    loop: Loop
    config: Config
    log: PeerLog
    quotas: Quotas
    monitor: FrameTap
    scratch: memoryview  # the receive buffer, valid during one callback
    counters: CommandCounters


class Connection:
    __slots__ = (
        "_buffer",
        "_counters",
        "_dispatcher",
        "_limits",
        "_log",
        "_loop",
        "_monitor",
        "_on_closed",
        "_on_response",
        "_on_signal",
        "_quotas",
        "_recv_into",
        "_scratch",
        "_state",
        "_watch",
        "caller",
        "in_flight",
        "origin",
        "routes",
        "stream",
        "usage",
    )

    def __init__(
        self,
        context: ConnectionContext,
        sock: socket.socket,
        caller: Caller,
        dispatcher: Dispatcher,
        *,
        on_signal: Callable[[Connection, Frame], None],
        on_response: Callable[[Frame], None] | None = None,
        on_closed: Callable[[Connection, str], None],
    ) -> None:
        limits = context.config.limits
        self.caller = caller
        self.origin = Origin(caller.name, id(self), caller.plugin)
        self._counters = context.counters
        self._loop = context.loop
        self._dispatcher = dispatcher
        self._limits = limits
        self._scratch = context.scratch
        self._log = context.log
        self._monitor = context.monitor
        self._quotas = context.quotas
        self._on_signal = on_signal
        self._on_response = on_response
        self._on_closed = on_closed
        self._buffer = ReceiveBuffer(limits.payload)
        self.routes: dict[bytes, Any] = {}  # of core.forward
        self._state = _OPEN
        self._watch: Watch | None = None
        self.stream = Stream(context.loop, sock, self._closed, on_drained=self._resume, max_queued=limits.queued_bytes)
        self._recv_into = sock.recv_into
        self.in_flight = InFlight(limits)
        self.usage: Usage = context.quotas.enter(self, caller)
        self.stream.watch(self._on_readable)

    @property
    def state(self) -> ConnectionState:
        return self._state

    @property
    def buffered_bytes(self) -> int:
        """Bytes of incomplete requests, of unread responses, and of writes and inputs of plugins in flight."""
        return self._buffer.pending + self.stream.queued + self.in_flight.bytes

    def _enter(self, state: ConnectionState) -> None:
        if (self._state, state) not in TRANSITIONS:
            raise RuntimeError(f"a connection cannot go from {self._state.value} to {state.value}")
        self._state = state

    # In.

    def _on_readable(self) -> None:
        if self._state is not _OPEN:
            if self._state is _WAITING:
                self.stream.pause()
            return
        receive = self._recv_into  # Python calls a local variable faster than an attribute
        try:
            size = receive(self._scratch)
        except OSError as error:
            size = self.stream.not_received(error)
        if size > 0:
            data, buffer = self._scratch[:size], self._buffer
            if buffer.is_empty:
                if taken := self._take(data):
                    if taken == size:
                        return
                    data = data[taken:]
                elif (frame := buffer.single_frame(data)) is not None and self._handle(frame) is None:
                    return  # most reads: one frame, not worth buffering
            if data:
                buffer.feed(data)
                self._read_frames()
        elif size == 0 and not self.stream.closing:
            self._end_of_input()

    def _take(self, data: memoryview) -> int:  # see FastPath
        in_flight = self.in_flight
        is_busy = in_flight.calls or in_flight.writes or self.stream.queued
        if is_busy or self._monitor.watched or len(data) <= COMMAND_AT:
            return 0
        path = self._dispatcher.fast_paths.get(data[COMMAND_AT])
        return 0 if path is None else path(self, data)

    def _read_backlog(self) -> None:
        self._buffer.skip(self._take(self._buffer.rest))
        self._read_frames()

    def _read_frames(self) -> None:
        buffer, stream = self._buffer, self.stream
        left = self._limits.frames_per_turn
        try:
            while not stream.closing:
                frame = buffer.next_frame()
                if frame is None:
                    if buffer.pending > HIGH_WATER and (error := self.usage.too_many_bytes()):
                        raise error
                    if self._state is _BACKLOG:
                        self._enter(_OPEN)
                    break
                wait = self._handle(frame) if left else _BACKLOG
                if wait is not None:
                    buffer.put_back(frame)
                    self._enter(wait)
                    if wait is _BACKLOG:
                        self._loop.call_soon(self._read_backlog, hold_commit=self.in_flight.writes > 0)
                    elif wait is _PAUSED:
                        stream.pause()
                    break
                left -= 1
                is_due = not left % _FRAMES_PER_CLOCK_READ or len(frame.payload) > _LONG_FRAME or frame.flags & _CONTROL
                if is_due and self._loop.over_budget():
                    left = 0
        except CallError as error:  # the frame boundaries are lost
            self._reject_input(error)
        finally:
            buffer.keep()

    def _handle(self, frame: Frame) -> ConnectionState | None:
        """Returns the state to wait in, if the frame cannot be handled yet."""
        command_id, flags, payload = frame
        if flags & _CONTROL:
            self._read_control(frame)
            return None
        in_flight = self.in_flight
        if in_flight.writes and command_id in STORE_READS:
            return _WAITING
        if in_flight.is_full or self.stream.queued > HIGH_WATER:
            return _PAUSED
        if self._monitor.watched:
            self._tap(IN, *frames.in_parts(command_id, payload, flags=flags))
        call = Call(self, command_id, flags, len(payload), self._loop.began)
        in_flight.begin(call)
        self._dispatcher.dispatch(call, payload)
        return None

    def _read_control(self, frame: Frame) -> None:
        """Handle a signal or a plugin's response; neither is answered."""
        if self._monitor.watched:
            self._tap(IN, *frames.in_parts(frame.command_id, frame.payload, flags=frame.flags))
        try:
            if frame.flags & _RESPONSE:
                if self._on_response is None:
                    raise Malformed("unexpected response frame: this socket takes requests only")
                self._on_response(frame)
            elif frame.command_id == Command.PLUGIN_SIGNAL:
                self._on_signal(self, frame)
            else:
                raise Malformed(f"flag SIGNAL with command 0x{frame.command_id:02X}", hint="signals have command 0xF3")
        except CallError as error:
            self.log_failure(error)

    def _end_of_input(self) -> None:
        """The peer still gets its replies."""
        if self._buffer.pending:
            self._log.info("%s: the connection ended in the middle of a frame", self.caller.name, peer=self.caller.name)
        if not self.in_flight.calls and not self.stream.queued:
            self.stream.close(_PEER_CLOSED)
            return
        self.close_when_sent()

    def _reject_input(self, error: CallError) -> None:
        """Send `error` after the replies to earlier requests, and close."""
        self._log.info("%s: %s", self.caller.name, error, peer=self.caller.name)
        call = Call(self, self._buffer.command_id, 0, 0, self._loop.began)
        self.in_flight.begin(call)
        self.close_when_sent()
        call.fail(error)

    # Out.

    def call_ended(self, call: Call, *, immediate: bool) -> None:
        """Send the replies at the head of the queue that are ready."""
        in_flight, calls = self.in_flight, self.in_flight.calls
        in_flight.end(call)
        if self._state is _WAITING and not in_flight.writes:
            self._continue()
        if not call.expects_reply:
            self._counters.ended(call)
            return
        while calls and (response := calls[0].response):
            self._counters.ended(calls.popleft())
            if immediate and len(response) == 1:
                self.send_now(response[0])
            else:
                self._send(response)
        if self._state is _PAUSED:
            self._resume()
        elif self._state is _DRAINING and not calls:
            self._loop.schedule_flush(self)

    def become(self, caller: Caller) -> None:
        """Requests from now on are those of `caller`. Raises Conflict and PluginBusy."""
        if len(self.in_flight.calls) > 1 or self.in_flight.writes:  # they would lose their permissions, and their order
            raise Conflict("earlier requests of this connection are in flight", hint="wait for their responses")
        self.usage = self._quotas.move(self, self.caller, caller)
        self.caller = caller
        self.origin = Origin(caller.name, id(self), caller.plugin)

    def begin_watch(self, watch: Watch) -> None:
        if len(self.in_flight.calls) > 1 or self.stream.closing:
            raise Conflict("earlier requests of this connection are in flight", hint="wait for their responses")
        self._watch = watch
        error = Conflict("this connection watches, and takes no other requests", hint="open another connection")
        self._dispatcher = RejectingDispatcher(error)

    def close_when_sent(self) -> None:
        """Nothing more is read; after the last reply the connection is closed."""
        if self._state is not _DRAINING and not self.stream.closing:
            self._enter(_DRAINING)
            self.stream.pause()
            if not self.in_flight.calls:
                self._loop.schedule_flush(self)

    def send(self, *parts: Bytes) -> None:
        """Queue a frame for this turn's flush."""
        self._send(parts)

    def _send(self, parts: tuple[Bytes, ...]) -> None:
        if self._monitor.watched:
            self._tap(OUT, *parts)
        self.stream.send_parts(parts)
        if self.stream.queued > HIGH_WATER:
            self._check_quota()

    def send_now(self, frame: Bytes) -> None:
        """Write a frame before this turn's commit."""
        if self._monitor.watched:
            self._tap(OUT, frame)
        self.stream.send_now(frame)
        if self.stream.queued > HIGH_WATER:
            self._check_quota()

    def _check_quota(self) -> None:
        if error := self.usage.too_many_bytes():
            self._log.warning("%s: disconnected: %s", self.caller.name, error, peer=self.caller.name)
            self.stream.close(str(error))

    def _tap(self, direction: int, *frame: Bytes) -> None:
        self._monitor.on_frame(direction, self.stream.fd, self.caller.name, *frame)

    def _resume(self) -> None:
        if self._watch is not None:
            self._watch.on_drained()
        if self._state is _DRAINING:
            self.flush()
        elif self._state is _PAUSED and not (self.in_flight.is_full or self.stream.queued > HIGH_WATER):
            self._continue()

    def _continue(self) -> None:
        self._enter(_BACKLOG)
        self.stream.watch(self._on_readable)
        self._loop.call_soon(self._read_backlog)

    def log_async_failure(self, call: Call, error: CallError) -> None:
        self.log_failure(f"ASYNC command 0x{call.command_id:02X} failed: {error}")

    def log_failure(self, what: CallError | str) -> None:
        """Of a frame that gets no response."""
        self._log.warning("%s: %s", self.caller.name, what, peer=self.caller.name)

    def stop_accepting(self, error: CallError) -> None:
        """Fail further requests with `error`, finish those in flight, and close."""
        self._dispatcher = RejectingDispatcher(error)
        if self._watch is not None:
            self._watch.on_restart()
        self.stream.end_input()
        self.drain()
        self._resume()

    def drain(self) -> None:
        for _ in range(_MAX_DRAIN_READS):
            self._on_readable()

    def flush(self) -> None:
        """Close a draining connection once its replies have left (`schedule_flush`, `on_drained`)."""
        if self._state is _DRAINING and not self.in_flight.calls and not self.stream.queued:
            self.stream.close(_PEER_CLOSED)

    def close(self, reason: str) -> None:
        self.stream.close(reason)

    def reject(self, error: CallError) -> None:
        """Send `error` and close."""
        self.stream.send(frames.encode(0, ErrorResponse.of(error).pack(), Flag.RESPONSE | Flag.ERROR))
        self.stream.close_after_flush(str(error))

    def _closed(self, reason: str) -> None:
        self._enter(_CLOSING)
        self._quotas.leave(self, self.caller)
        if self._watch is not None:
            self._watch.on_closed()
        self._buffer.clear()  # free the memory before the garbage collector runs
        self.in_flight.calls.clear()
        self._on_closed(self, reason)
