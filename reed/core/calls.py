"""A call: a request with its reply to come.

    request ── Call ──┬─ reply(*payload)    at once, or in a later turn
                      └─ fail(error)        an ErrorResponse
    The connection sends the replies in the order of the requests, whenever they come (protocol.md#connections).

Exactly one of them is called, once; a second one is a bug and raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from reed.errors import CallError
from reed.wire import frames
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse
from reed.wire.structs import Bytes

_ASYNC = int(Flag.ASYNC)
_RESPONSE = int(Flag.RESPONSE)
_ERROR_RESPONSE = int(Flag.RESPONSE | Flag.ERROR)


class Caller(NamedTuple):
    """Who is on the other side of a connection, and what they may do."""

    name: str  # for the log: "alice (uid 1000)", "plugin simple-seo"
    plugin: str  # the plugin's name, or "" for a person
    groups: frozenset[str]
    permissions: frozenset[str]
    commands: frozenset[int]  # the command ids that follow from the permissions
    is_admin: bool


class CallCounter(Protocol):
    """Whoever counts the calls of a caller that are under way (core.quotas)."""

    def begin_call(self) -> None: ...
    def end_call(self) -> None: ...


class CallOrigin(Protocol):
    """The connection that a call came on, as far as the call knows it."""

    caller: Caller

    @property
    def share(self) -> CallCounter: ...

    def release(self, *, at_once: bool) -> None:
        """Send what is answered, in the order of the requests; `at_once`: no commit has to come before it."""

    def note_async_failure(self, call: Call, error: CallError) -> None:
        """Nobody waits for this error: log and count it."""


class Call:
    """One request. The parts of a reply are bytes that stay unchanged until they are sent."""

    __slots__ = ("_counted", "answer", "command_id", "connection", "expects_reply", "flags")

    def __init__(self, connection: CallOrigin, command_id: int, flags: int) -> None:
        self.connection = connection
        self.command_id = command_id
        self.flags = flags
        self.expects_reply = not flags & _ASYNC
        self.answer: tuple[Bytes, ...] | None = None  # the parts of a frame
        self._counted: CallCounter | None = None

    def count(self) -> None:
        """Count it against its caller until it ends, whatever ends it. Raises PluginBusy where that is one too many."""
        share = self.connection.share
        share.begin_call()
        self._counted = share

    @property
    def caller(self) -> Caller:
        return self.connection.caller

    def reply(self, *payload: Bytes) -> None:
        """End the call with a response payload: a status and what the command gives. Large parts are not joined."""
        if len(payload) == 1:
            self.reply_with(frames.encode(self.command_id, payload[0], _RESPONSE))
        else:
            self.reply_with(*frames.in_parts(self.command_id, *payload, flags=_RESPONSE))

    def forward(self, payload: Bytes) -> None:
        """End the call with a plugin's response payload, as it came: it does not wait for the turn's commit."""
        self.reply_with(frames.encode(self.command_id, payload, _RESPONSE), at_once=True)

    def reply_with(self, *frame: Bytes, at_once: bool = False) -> None:
        """End the call with a whole response frame that was made before."""
        if self.answer is not None:
            raise RuntimeError(f"call 0x{self.command_id:02X} was answered twice")
        self.answer = frame
        if self._counted is not None:
            self._counted.end_call()
        if self.expects_reply:
            self.connection.release(at_once=at_once)

    def fail(self, error: CallError) -> None:
        """End the call with an ErrorResponse. An ASYNC call has nobody to tell: it is logged and counted."""
        if not self.expects_reply:
            self.connection.note_async_failure(self, error)
        self.reply_with(frames.encode(self.command_id, ErrorResponse.of(error).pack(), _ERROR_RESPONSE))


class FrameTap(Protocol):
    """Who looks at the frames that pass (core.monitor)."""

    watched: bool

    def saw(self, direction: int, connection: int, peer: str, *frame: Bytes) -> None: ...


class Dispatcher(Protocol):
    """Where a connection's frames go."""

    def dispatch(self, call: Call, payload: memoryview) -> None: ...
    def must_defer(self, command_id: int) -> bool: ...
    def answers(self, caller: Caller, data: memoryview, room: int) -> tuple[list[bytes], int]:
        """The response frames to the requests that `data` begins with, about `room` bytes of them, where they were made
        before; and the size of these requests in bytes."""


Handle = Callable[[Call, memoryview], None]
