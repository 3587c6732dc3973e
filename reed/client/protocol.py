"""A client's side of one connection, without I/O: requests become bytes, bytes become answers. No sockets, no clocks.

    start(command, payload) ──▶ queue ──▶ outgoing() ──▶ bytes to send, then sent(number of bytes)
            │ an Exchange                                        │
            ▼                                                  core
        in_flight, oldest first ──▶ receive(bytes) ◀─────────────┘
            │                          └▶ [(exchange, answer), …]
            └▶ end(): the exchanges without an answer, each with its error

An answer is the payload of the response (bytes), or the error that it reports. Answers come in the order of the
requests and carry no id (protocol.md#connections), so an exchange stays in flight until its answer has come:

    event            | queued               | sent in part         | sent                  | answered
    sent()           | sent in part, sent   | sent                 |                       |
    receive()        |                      | answered             | answered              |
    abandon()        | removed, never sent  | its answer is dropped when it comes          | nothing
    end()            | ConnectionEnded with `unsent`               | ConnectionEnded       | nothing

`may_repeat` tells which of these may be sent again. The blocking and the asyncio client differ only in how they wait.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from reed.errors import CallError, Malformed, ReedError, Restarting, TooLarge
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.commands import WRITE_ERRORS
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame, ReceiveBuffer
from reed.wire.structs import SNIPPET_WRITTEN

_MAX_RESPONSE = 0xFFFFFFFF  # the buffer grows only with received bytes
_MAX_OUTGOING = 256 * 1024  # bytes of several frames in one write
NO_ANSWER = int(Flag.ASYNC | Flag.SIGNAL)
_ERROR = int(Flag.ERROR)
_RESPONSE = int(Flag.RESPONSE)
_REPORTS_WRITE_ERRORS = frozenset(int(command) for command in Command if command.reports_write_errors)
_IDEMPOTENT = frozenset(int(command) for command in Command if command.is_idempotent)

MAX_RESTARTS = 3  # of the core, during one call


class NoAnswer(ReedError):
    """The connection ended or timed out before the response; the request may have been carried out."""


class TimedOut(NoAnswer):
    """No response within the timeout. A request that was sent may still be carried out; its response is dropped."""


class ConnectionEnded(NoAnswer):
    """`unsent`: the core had not received the whole request, or had said that it begins no more requests."""

    unsent = False


Answer = bytes | ReedError


class Exchange:
    """A request and the answer to come. `owner` is the caller's own."""

    __slots__ = ("command", "frame", "is_abandoned", "is_stream", "owner")

    def __init__(self, command: int, frame: bytes, owner: Any, is_stream: bool) -> None:
        self.command = command
        self.frame: bytes | None = frame  # None once all of it was sent
        self.owner = owner
        self.is_stream = is_stream  # many responses, until an error
        self.is_abandoned = False


class Protocol:
    """Lives as long as its connection."""

    __slots__ = (
        "_buffer",
        "_is_partial",
        "_part",
        "in_flight",
        "is_core_reading",
        "is_over",
        "queue",
        "refusal",
        "unsent",
    )

    def __init__(self) -> None:
        self.in_flight: deque[Exchange] = deque()  # oldest first
        self.queue: deque[Exchange] = deque()  # those with bytes to send
        self.unsent = 0  # bytes of the queue
        self.is_over = False  # the connection must be closed: no more answers come
        self.is_core_reading = True  # False after a request that was too large: the core closes, or answers another
        self._part = 0  # bytes of queue[0] that were sent
        self._buffer = ReceiveBuffer(_MAX_RESPONSE)
        self._is_partial = False  # the buffer has the beginning of a frame
        self.refusal: CallError | None = None  # of the connection

    def start(
        self, command: int, payload: bytes = b"", flags: int = 0, owner: Any = None, *, is_stream: bool = False
    ) -> Exchange:
        """Queue a request. With the flag ASYNC or SIGNAL it has no answer."""
        frame = frames.encode(command, payload, flags)
        exchange = Exchange(command, frame, owner, is_stream)
        self.queue.append(exchange)
        self.unsent += len(frame)
        if not flags & NO_ANSWER:
            self.in_flight.append(exchange)
        return exchange

    def outgoing(self) -> bytes | memoryview:
        """The next bytes to send; empty if there are none."""
        queue = self.queue
        if not queue or self.is_over:
            return b""
        first = queue[0].frame or b""
        if self._part:
            return memoryview(first)[self._part :]
        if len(first) == self.unsent or len(first) >= _MAX_OUTGOING:
            return first
        chosen, size = [], 0
        for exchange in queue:
            chosen.append(exchange.frame or b"")
            size += len(chosen[-1])
            if size >= _MAX_OUTGOING:
                break
        return b"".join(chosen)

    def outgoing_of_oldest(self) -> memoryview:
        """Like `outgoing`, but only of the first request in the queue."""
        return memoryview(self.queue[0].frame or b"")[self._part :]

    def sent(self, size: int) -> None:
        """The first `size` bytes of `outgoing()` were sent."""
        queue = self.queue
        if size == self.unsent:
            for exchange in queue:
                exchange.frame = None
            queue.clear()
            self.unsent = self._part = 0
            return
        self.unsent -= size
        size += self._part
        while queue and size >= len(queue[0].frame or b""):
            exchange = queue.popleft()
            size -= len(exchange.frame or b"")
            exchange.frame = None
        self._part = size

    def receive(self, data: memoryview) -> list[tuple[Exchange, Answer]]:
        """The answers that `data` completes, oldest first, without those that were abandoned. Copies what it keeps."""
        buffer = self._buffer
        answers: list[tuple[Exchange, Answer]] = []
        if not self._is_partial and (frame := buffer.single_frame(data)) is not None:
            self._take(frame, answers)
            return answers
        buffer.feed(data)
        while not self.is_over:
            try:
                found = buffer.next_frame()
            except CallError as error:
                self._break_off(NoAnswer(f"the peer is not a core: {error.message}"), answers)
                break
            if found is None:
                break
            self._take(found, answers)
        buffer.keep()
        self._is_partial = buffer.pending > 0
        return answers

    def abandon(self, exchange: Exchange) -> None:
        """Nobody waits for the answer any more. A request of which nothing was sent is not sent."""
        exchange.is_abandoned = True
        if exchange.frame is None or (self._part and self.queue[0] is exchange) or exchange not in self.queue:
            return
        self.queue.remove(exchange)
        self.unsent -= len(exchange.frame)
        if exchange in self.in_flight:
            self.in_flight.remove(exchange)

    def end(self) -> list[tuple[Exchange, ReedError]]:
        """The connection has ended: each exchange that has no answer, oldest first, with its error."""
        self.is_over = True
        unsent = [exchange for exchange in self.queue if exchange not in self.in_flight]  # also those without an answer
        unanswered = [exchange for exchange in (*self.in_flight, *unsent) if not exchange.is_abandoned]
        self.in_flight.clear()
        self.queue.clear()
        self.unsent = self._part = 0
        return [(exchange, self.refusal or self._ended(exchange)) for exchange in unanswered]

    def _take(self, frame: Frame, answers: list[tuple[Exchange, Answer]]) -> None:
        if self.in_flight:
            exchange = self.in_flight.popleft()
            answer = self._answer(exchange.command, frame)
            if exchange.is_stream and isinstance(answer, bytes):
                self.in_flight.appendleft(exchange)
            if not exchange.is_abandoned:
                answers.append((exchange, answer))
            if exchange.frame is not None:  # refused before all of it was sent: it stays in the queue
                exchange.is_abandoned = True
        elif frame.flags & _ERROR:  # the core refuses the connection before any request
            self._error(frame, 0)
        else:
            self._break_off(NoAnswer("the core sent a response without a request"), answers)

    def _answer(self, command: int, frame: Frame) -> Answer:
        self.is_core_reading = True
        command_id, flags, payload = frame
        if flags & _ERROR:
            return self._error(frame, command)
        if command_id != command or not flags & _RESPONSE:
            self.is_over = True
            return NoAnswer(f"the core answered 0x{command_id:02X} instead of {name_of(command)}")
        return _written(bytes(payload)) if command in _REPORTS_WRITE_ERRORS else bytes(payload)

    def _error(self, frame: Frame, command: int) -> ReedError:
        error = _error_of(frame)
        if isinstance(error, (NoAnswer, Restarting)) or not frame.command_id:
            self.is_over = True
        if isinstance(error, Restarting) or (isinstance(error, TooLarge) and command != Command.SCHEMA_TREE):
            self.is_core_reading = False  # it has begun no later request; a tree is too large for a response
        if isinstance(error, CallError) and not frame.command_id:  # about the connection, not about one request
            self.refusal = error
        return error

    def _break_off(self, error: NoAnswer, answers: list[tuple[Exchange, Answer]]) -> None:
        """What the peer sends is useless: the oldest exchange gets this error, the others get ConnectionEnded."""
        self.is_over = True
        if self.in_flight:
            exchange = self.in_flight.popleft()
            if not exchange.is_abandoned:
                answers.append((exchange, error))

    def _ended(self, exchange: Exchange) -> ConnectionEnded:
        error = ConnectionEnded(
            f"the core closed the connection before it answered {name_of(exchange.command)}",
            hint="the request may have been carried out; see the core's log",
        )
        error.unsent = exchange.frame is not None or not self.is_core_reading
        return error


def may_repeat(command: int, error: ReedError) -> bool:
    """Whether a request that failed so can be sent again without being carried out twice (protocol.md#responses)."""
    if isinstance(error, Restarting):
        return True
    return isinstance(error, ConnectionEnded) and (error.unsent or command in _IDEMPOTENT)


def name_of(command: int) -> str:
    try:
        return Command(command).name
    except ValueError:
        return f"command 0x{command:02X}"


def _written(payload: bytes) -> Answer:
    """The snippet writes report some errors in their own response struct."""
    if len(payload) < SNIPPET_WRITTEN.size:
        return payload  # the record reports it
    status, _, _ = SNIPPET_WRITTEN.unpack_from(payload)
    if status < 400:
        return payload
    text = payload[SNIPPET_WRITTEN.size :].decode("utf-8", "replace")
    return WRITE_ERRORS.get(status, CallError)(text, status=status)


def _error_of(frame: Frame) -> CallError | NoAnswer:
    """A plain CallError for a plugin's own code."""
    try:
        response = ErrorResponse.unpack(bytes(frame.payload))
    except Malformed as error:
        return NoAnswer(f"the peer is not a core: {error.message}")
    known = {int(each.error_code): each for each in CallError.__subclasses__()}
    found = known.get(response.error_code, CallError)
    return found(response.message, status=response.status, error_code=response.error_code)
