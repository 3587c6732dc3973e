"""A call: one request and its reply.

A handler ends each call exactly once, at once or in a later turn. The connection sends the replies in the order of the
requests, whatever the order in which calls end (protocol.md#connections).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from reed.core.in_flight import InFlight, Usage
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


class Watch(Protocol):
    """See core.watchers."""

    def on_drained(self) -> None:
        """The output queue is empty again."""

    def on_restart(self) -> None: ...
    def on_closed(self) -> None: ...


class CallOrigin(Protocol):
    caller: Caller
    origin: Origin
    in_flight: InFlight

    @property
    def usage(self) -> Usage: ...

    def call_ended(self, call: Call, *, immediate: bool) -> None:
        """It has its response, which is sent before this turn's commit if it is `immediate`."""

    def become(self, caller: Caller) -> None: ...
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
    routes: dict[bytes, Any]  # of core.forward


class Call:
    """The parts of its response must not change until they are sent."""

    __slots__ = (
        "began",
        "command_id",
        "connection",
        "expects_reply",
        "flags",
        "input_size",
        "is_job",
        "is_write",
        "response",
        "size",
        "usage",
    )

    def __init__(self, connection: CallOrigin, command_id: int, flags: int, size: int = 0, began: float = 0.0) -> None:
        self.size = size  # bytes of the payload
        self.began = began  # by the loop's clock: the turn that read it
        self.connection = connection
        self.command_id = command_id
        self.flags = flags
        self.expects_reply = not flags & _ASYNC
        self.response: tuple[Bytes, ...] = ()  # the parts of a frame, once it has ended
        self.is_write = False
        self.usage: Usage | None = None
        self.is_job: bool  # set with `usage` …
        self.input_size: int  # bytes that a plugin is to get

    def count(self, *, is_job: bool = False, input_size: int = 0) -> None:
        """Count the call against its caller's quota. `is_job`: it may take a worker. `input_size`: so many bytes wait
        for a plugin. Raises PluginBusy."""
        connection = self.connection
        connection.in_flight.count(self, connection.usage, is_job=is_job, input_size=input_size)

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
        if self.response:
            raise RuntimeError(f"call 0x{self.command_id:02X} was answered twice")
        self.response = frame
        self.connection.call_ended(self, immediate=immediate)

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
