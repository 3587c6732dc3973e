"""A call: one request and its reply.

A handler ends each call exactly once, at once or in a later turn. The connection sends the replies in the order of the
requests, whatever the order in which calls end (protocol.md#connections).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from reed.errors import CallError
from reed.loop.stream import Stream
from reed.store.workers import Origin
from reed.wire import frames
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse
from reed.wire.structs import Bytes

_ASYNC = int(Flag.ASYNC)
_RESPONSE = int(Flag.RESPONSE)
_ERROR_RESPONSE = int(Flag.RESPONSE | Flag.ERROR)


class Caller(NamedTuple):
    name: str  # for the log: "alice", "plugin simple-seo", "www-data as anna"
    plugin: str  # "" for a person
    groups: frozenset[str]
    permissions: frozenset[str]
    commands: frozenset[int]  # that the permissions allow
    is_admin: bool
    user: str = ""  # that the connection assumed (CONNECTION_ASSUME)


class CallCounter(Protocol):
    """See core.quotas."""

    def begin_call(self) -> None: ...
    def end_call(self) -> None: ...


class Watch(Protocol):
    """See core.watchers."""

    def on_drained(self) -> None:
        """The output queue is empty again."""

    def on_restart(self) -> None: ...
    def on_closed(self) -> None: ...


class CallOrigin(Protocol):
    caller: Caller
    origin: Origin
    jobs: int  # calls in flight that may take a worker
    input_bytes: int  # of calls to plugins in flight

    @property
    def usage(self) -> CallCounter: ...

    def release(self, *, immediate: bool) -> None:
        """Send the finished replies at the head of the queue; `immediate`: before this turn's commit."""

    def become(self, caller: Caller) -> None: ...
    def end_async(self, call: Call, response: tuple[Bytes, ...]) -> None:
        """A call without a reply has ended."""

    def begin_input(self, size: int) -> None: ...
    def end_write(self, size: int) -> None: ...
    def log_async_failure(self, call: Call, error: CallError) -> None: ...

    @property
    def buffered_bytes(self) -> int:
        """Of unread responses, and of what the connection itself sends."""

    def begin_watch(self, watch: Watch) -> None:
        """From now on it takes no requests. Raises Conflict while earlier ones are in flight."""

    def send(self, *parts: Bytes) -> None: ...
    def close_when_sent(self) -> None: ...


class FastOrigin(CallOrigin, Protocol):
    """What a fast path needs of a connection."""

    stream: Stream
    calls: deque[Call]  # in flight, in the order of the requests
    routes: dict[bytes, Any]  # of core.forward


class Call:
    """The parts of its response must not change until they are sent."""

    __slots__ = (
        "_counter",
        "_input_size",
        "_is_job",
        "began",
        "command_id",
        "connection",
        "expects_reply",
        "flags",
        "response",
        "size",
        "write_size",
    )

    def __init__(self, connection: CallOrigin, command_id: int, flags: int, size: int = 0, began: float = 0.0) -> None:
        self.size = size  # bytes of the payload
        self.began = began  # by the loop's clock: the turn that read it
        self.connection = connection
        self.command_id = command_id
        self.flags = flags
        self.expects_reply = not flags & _ASYNC
        self.response: tuple[Bytes, ...] | None = None  # the parts of a frame
        self.write_size: int | None = None  # bytes; None: it is no write
        self._counter: CallCounter | None = None
        self._is_job = False
        self._input_size = 0  # bytes that a plugin is to get

    def count(self) -> None:
        """Count the call against its caller's quota. Raises PluginBusy."""
        usage = self.connection.usage
        usage.begin_call()
        self._counter = usage

    def count_job(self) -> None:
        """`count` a call that may take a worker."""
        self.count()
        self._is_job = True
        self.connection.jobs += 1

    def count_input(self, size: int) -> None:
        """`count` a call whose input of so many bytes waits for a plugin."""
        self.count()
        self._input_size = size
        self.connection.begin_input(size)

    @property
    def caller(self) -> Caller:
        return self.connection.caller

    @property
    def origin(self) -> Origin:
        return self.connection.origin

    def reply(self, *payload: Bytes) -> None:
        """`payload`: status and body; several parts are sent without joining them."""
        if len(payload) == 1:
            self.reply_with(frames.encode(self.command_id, payload[0], _RESPONSE))
        else:
            self.reply_with(*frames.in_parts(self.command_id, *payload, flags=_RESPONSE))

    def forward(self, payload: Bytes) -> None:
        """Reply with a plugin's response, before this turn's commit."""
        self.reply_with(frames.encode(self.command_id, payload, _RESPONSE), immediate=True)

    def reply_with(self, *frame: Bytes, immediate: bool = False) -> None:
        """Reply with a whole frame."""
        if self.response is not None:
            raise RuntimeError(f"call 0x{self.command_id:02X} was answered twice")
        self.response = frame
        if self._counter is not None:
            self._end_count(self._counter)
        if self.write_size is not None:
            self.connection.end_write(self.write_size)
        if self.expects_reply:
            self.connection.release(immediate=immediate)
        else:
            self.connection.end_async(self, frame)

    def _end_count(self, counter: CallCounter) -> None:
        counter.end_call()
        if self._is_job:
            self.connection.jobs -= 1
        self.connection.input_bytes -= self._input_size

    def fail(self, error: CallError) -> None:
        if not self.expects_reply:
            self.connection.log_async_failure(self, error)
        self.reply_with(frames.encode(self.command_id, ErrorResponse.of(error).pack(), _ERROR_RESPONSE))


class FrameTap(Protocol):
    watched: bool

    def on_frame(self, direction: int, connection: int, peer: str, *frame: Bytes) -> None: ...


FastPath = Callable[[FastOrigin, memoryview], int]
"""Handles the frames that the data begins with, if it can do so at once. It returns their size in bytes; 0: they go the
usual way. It is called while nobody watches and the connection has nothing in flight, buffered or unsent."""


class Dispatcher(Protocol):
    @property
    def fast_paths(self) -> Mapping[int, FastPath]:
        """By the command of the first frame."""

    def dispatch(self, call: Call, payload: memoryview) -> None: ...


class RejectingDispatcher:
    """Fails every request with `error`."""

    def __init__(self, error: CallError) -> None:
        self._error = error
        self.fast_paths: Mapping[int, FastPath] = {}

    def dispatch(self, call: Call, _payload: memoryview) -> None:
        call.fail(self._error)


Handler = Callable[[Call, memoryview], None]
