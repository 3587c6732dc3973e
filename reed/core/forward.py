"""The fast path of PLUGIN_SEND: the caller's bytes go to the plugin, and the plugin's to the caller, as they were read.

    | header 12 | plugin 32 | action 32 | input_len 4 | input … |     as the caller sent it
                                  | header 12         | input … |     as the plugin gets it: the header over the names
    | header 12 | status, answer … |       as the plugin sent it; the caller gets it with F7 as its command

Every condition below that does not hold sends the frame the usual way (Connection, Router, plugin_send, CallQueue),
where errors, order, broadcasts, snippets and calls that must wait are dealt with. What the 64 bytes of names mean is
learned once for each connection, as a Route.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from reed.core.call_queue import MAX_STATUS, MIN_STATUS, Channel
from reed.core.calls import Call, Caller, FastOrigin
from reed.core.plugin_endpoint import CoreContext, PluginEndpoint
from reed.errors import CallError, Internal
from reed.store.workers import OrderedJobs
from reed.supervision.launch_spec import Specification
from reed.wire import strict_json
from reed.wire.codes import MAGIC, VERSION, Command, Flag
from reed.wire.structs import COMMAND_AT, HEADER, unpack_text

_SEND = int(Command.PLUGIN_SEND)
_REQUEST = Struct("<QI64sI")  # header, payload_len, names, input_len
_ANSWER = Struct("<QIH")  # header, payload_len, status
_HEAD = Struct("<QI")  # header, payload_len
_HEADER_SIZE = HEADER.size
_INPUT_AT = _REQUEST.size
_HEAD_AT = _INPUT_AT - _HEADER_SIZE  # where the plugin's frame begins
_MAX_FRAME = 16 * 1024  # bytes; longer inputs are sent in parts, and checked by a worker
_MAX_ROUTES = 256
_EMPTY = b"{}"  # the input of actions without arguments; to check it would take 10 % of the core's time for a call


def _head_of(command_id: int, flags: int = 0) -> int:
    """The header before payload_len, as a number."""
    return int.from_bytes(HEADER.pack(MAGIC, VERSION, command_id, flags, 0, 0)[:8], "little")


_SEND_HEAD = _head_of(_SEND)


@dataclass(frozen=True, slots=True, eq=False)  # read several times for each call, for less than a NamedTuple
class Route:
    """What the names in a request mean, as long as `caller` is that of the connection, `spec` (with the row) that of
    the plugin, and `changes` that of the endpoint."""

    caller: Caller
    spec: Specification
    changes: int
    endpoint: PluginEndpoint
    action: str
    action_id: int
    timeout: float
    input: str  # json or bytes; snippet: goes the usual way
    request_head: int
    answer_head: int


class ForwardedCall(Call):
    """The caller's call, and the queue's CallInFlight."""

    __slots__ = ("deadline", "ended", "route", "started_at", "timeout")
    deadline: float
    ended: bool
    route: Route
    started_at: float
    timeout: float

    @property
    def action(self) -> str:
        return self.route.action

    @property
    def action_id(self) -> int:
        return self.route.action_id

    @property
    def caller_plugin(self) -> str:
        return self.route.caller.plugin

    answered = Call.forward
    failed = Call.fail


class Forwarder:
    def __init__(
        self, context: CoreContext, inputs: OrderedJobs, on_exception: Callable[[BaseException], None]
    ) -> None:
        """`inputs`: the JSON inputs that workers check."""
        self._loop = context.loop
        self._endpoints = context.endpoints
        self._call_timeout = context.config.timing.call_timeout
        self._max_frame = min(_MAX_FRAME, _HEADER_SIZE + context.config.limits.payload)
        self._inputs = inputs
        self._on_exception = on_exception

    def take(self, origin: FastOrigin, data: memoryview) -> int:
        """Send `data` to the plugin if it is one PLUGIN_SEND that can be sent at once (FastPath)."""
        size = len(data)
        if not _INPUT_AT < size <= self._max_frame:
            return 0
        head, payload_len, names, input_len = _REQUEST.unpack_from(data)
        if head != _SEND_HEAD or payload_len != size - _HEADER_SIZE or input_len != size - _INPUT_AT:
            return 0  # another command, flags, more than a frame or less
        call: ForwardedCall | None = None
        try:
            route: Route | None = origin.routes.get(names)
            if route is None or not (
                route.caller is origin.caller
                and route.spec is route.endpoint.plugin.spec
                and route.changes == route.endpoint.changes
            ):
                route = self._learn(origin, names)
            if route is None or route.input == "snippet" or self._inputs.away:
                return 0
            queue = route.endpoint.queue
            channel = queue.free_channel()
            if channel is None:
                return 0
            if route.input == "json" and (input_len > len(_EMPTY) or data[_INPUT_AT:] != _EMPTY):
                strict_json.loads(data[_INPUT_AT:])
            began = self._loop.began
            call = ForwardedCall(origin, _SEND, 0, payload_len, began)
            call.route, call.timeout, call.started_at, call.ended = route, route.timeout, began, False
            origin.in_flight.begin(call)
            call.count(input_size=input_len)
            queue.begin(call)
            _HEAD.pack_into(data, _HEAD_AT, route.request_head, input_len)
            channel.in_flight = call
            channel.write(data[_HEAD_AT:])
        except CallError as error:
            if call is None:
                return 0  # no JSON: the usual way says so
            call.fail(error)
        except Exception as bug:  # noqa: BLE001
            self._on_exception(bug)
            if call is None:
                return 0
            self._fail(call, bug)
        return size

    def take_answer(self, channel: Channel, data: memoryview) -> int:
        """Send `data` to the caller if it is the answer to a forwarded call in flight; returns its size, or 0."""
        call, size = channel.in_flight, len(data)
        if type(call) is not ForwardedCall or call.ended or size < _ANSWER.size:
            return 0
        head, payload_len, status = _ANSWER.unpack_from(data)
        if head != call.route.answer_head or payload_len != size - _HEADER_SIZE:
            return 0  # an error, a request or a signal; more than a frame or less
        if not MIN_STATUS <= status <= MAX_STATUS:
            return 0
        queue, channel.in_flight = call.route.endpoint.queue, None
        try:
            queue.end(call, status)
            data[COMMAND_AT] = _SEND
            call.reply_with(data, immediate=True)
        except Exception as bug:  # noqa: BLE001
            self._on_exception(bug)
            self._fail(call, bug)
        if queue.waiting:
            queue.dispatch()
        return size

    def _fail(self, call: ForwardedCall, bug: Exception) -> None:
        """As the router does. An answer that still comes is dropped."""
        if not call.ended:
            call.route.endpoint.queue.end(call)
        if not call.response:
            call.fail(Internal.of(bug))

    def _learn(self, origin: FastOrigin, names: bytes) -> Route | None:
        """None if there is no such plugin or action, or the caller may not call it."""
        caller = origin.caller
        try:
            endpoint = self._endpoints.get(unpack_text(names[:32]))
            spec = endpoint.plugin.spec if endpoint is not None else None
            if endpoint is None or spec is None or _SEND not in caller.commands or not endpoint.lets_in(caller):
                return None
            action = endpoint.action(unpack_text(names[32:]))
        except CallError:
            return None
        if len(origin.routes) >= _MAX_ROUTES:
            origin.routes.clear()
        route = origin.routes[names] = Route(
            caller,
            spec,
            endpoint.changes,
            endpoint,
            action.name,
            action.command_id,
            action.timeout or self._call_timeout,
            action.input,
            _head_of(action.command_id),
            _head_of(action.command_id, Flag.RESPONSE),
        )
        return route
