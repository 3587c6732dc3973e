"""PLUGIN_SEND: calls an action of a plugin, or of all running plugins that have it (protocol.md#plugins)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from reed.core.call_queue import Answered
from reed.core.calls import Call, Caller, Handler
from reed.core.json_checks import JsonChecks
from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import CallError, Malformed, PermissionDenied, PluginNotFound, TooLarge
from reed.store.base import Failed, Store
from reed.supervision.lifecycle import PRESENT, State
from reed.supervision.manifest import Action
from reed.wire import strict_json
from reed.wire.codes import Flag, Permission
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.snippets import Record
from reed.wire.structs import Bytes

Endpoints = dict[str, PluginEndpoint]
_BROADCAST = int(Flag.BROADCAST)
_MAX_REF_TEXT = 1024  # bytes of a ref as a JSON string
_MAX_ERROR = 4096  # bytes of an entry that says what failed; always part of a broadcast's response
_ROOM_FOR_ERRORS = 256 * 1024


def endpoint_of(endpoints: Endpoints, name: str, store: Store) -> PluginEndpoint:
    """Raises PluginNotFound, with the other cores that have it, or the nearest name."""
    endpoint = endpoints.get(name)
    if endpoint is None:
        elsewhere = [core["name"] for core in store.stats().get("cores", ()) if name in core["plugins"]]
        hint = f"it is on {', '.join(elsewhere)}: a call goes to the core it is sent to" if elsewhere else ""
        raise PluginNotFound.named(name, endpoints, hint)
    return endpoint


def plugin_send(store: Store, endpoints: Endpoints, checks: JsonChecks) -> Handler:
    def send(call: Call, payload: memoryview) -> None:
        request = PluginSend.unpack(payload)
        call.count(input_size=len(request.input))
        if checks.inputs.has_away(call.origin):  # the payload is valid in this turn only
            request = request._replace(input=bytes(request.input))
        begin = broadcast if call.flags & _BROADCAST else send_to_one
        checks.inputs.in_order(call.origin, partial(begin, call, request), call.fail)

    def send_to_one(call: Call, request: PluginSend) -> None:
        endpoint = endpoint_of(endpoints, request.plugin, store)
        check_may_send(call.caller, endpoint)
        if endpoint.plugin.state is State.FAILED:
            raise endpoint.offline_error()  # tells more than a missing action
        action = endpoint.action(request.action)
        call_action = partial(_call_action, store, endpoint, action)
        if action.input == "bytes":
            call_action(bytes(request.input), call.caller.plugin, call.forward, call.fail)
            return
        text = bytes(request.input) or b"null"
        then = partial(call_action, text, call.caller.plugin, call.forward, call.fail)
        checks.check_input(text, then, call.fail, call.origin)

    def broadcast(call: Call, request: PluginSend) -> None:
        receivers = [
            each
            for each in endpoints.values()
            if each.plugin.state in PRESENT and request.action in each.actions and each.lets_in(call.caller)
        ]
        text = bytes(request.input)

        def begin(problem: CallError | None = None) -> None:
            _Broadcast(store, checks, call, request.action, text, receivers, problem)

        if all(each.actions[request.action].input == "bytes" for each in receivers):
            begin()
            return
        try:
            checks.check_input(text or b"null", begin, begin, call.origin)
        except Malformed as problem:
            begin(problem)

    return send


def check_may_send(caller: Caller, endpoint: PluginEndpoint) -> None:
    """Raises PermissionDenied."""
    if not endpoint.lets_in(caller):
        groups = ", ".join(sorted(endpoint.plugin.row.user_groups))
        raise PermissionDenied(f"{caller.name} may not send to {endpoint.name}", hint=f"its row lets in: {groups}")


def _call_action(
    store: Store, endpoint: PluginEndpoint, action: Action, text: bytes, origin: str, answered: Answered, failed: Failed
) -> None:
    """`text` was checked to be JSON, unless the action takes bytes."""
    if action.input != "snippet":
        endpoint.call(action, text, answered, failed, origin)
        return
    value = strict_json.loads(text) if len(text) <= _MAX_REF_TEXT else None
    if not isinstance(value, str):
        found = strict_json.describe(value) if len(text) <= _MAX_REF_TEXT else f"{len(text)} bytes"
        raise Malformed(f"action {action.name} takes a snippet: its ref as a JSON string, not {found}")
    if Permission.SNIPPET_READ not in endpoint.caller.permissions:
        raise PermissionDenied(f"plugin {endpoint.name} lacks snippet_read", hint="its action takes a snippet")

    def found_snippet(record: Record) -> None:
        try:
            endpoint.call(action, snippet_input(record), answered, failed, origin)
        except CallError as error:
            failed(error)

    store.get(value, found_snippet, failed)


def snippet_input(record: Record) -> bytes:
    """The input of an action with `input: snippet`."""
    return record.as_json(with_times=False)


class _Broadcast:
    """Replies when all receivers have answered or failed."""

    def __init__(
        self,
        store: Store,
        checks: JsonChecks,
        call: Call,
        action: str,
        text: bytes,
        receivers: list[PluginEndpoint],
        problem: CallError | None,
    ) -> None:
        """`problem`: why the text is no JSON."""
        self._checks = checks
        self._reply = call.forward
        self._answers: dict[str, bytes] = {}
        self._room = MAX_PAYLOAD - _ROOM_FOR_ERRORS  # bytes of answers that fit the response
        self._pending = len(receivers)
        for endpoint in receivers:
            answered, failed = self._answered(endpoint.name), self._failed(endpoint.name)
            try:
                found = endpoint.action(action)
                if problem is not None and found.input != "bytes":
                    raise problem
                given = text if found.input == "bytes" else text or b"null"
                _call_action(store, endpoint, found, given, call.caller.plugin, answered, failed)
            except CallError as error:
                failed(error)
        if not receivers:
            self._reply(PluginAnswer(200, b"{}").pack())

    def _answered(self, name: str) -> Answered:
        failed = self._failed(name)

        def answered(payload: Bytes) -> None:
            status, body = PluginAnswer.unpack(payload)
            text = bytes(body) or b"null"
            # Copied into the response, so numbers keep their digits.
            add = partial(self._add, name, b'{"status":%d,"answer":%b}' % (status, text))
            try:
                self._checks.check_answer(text, add, failed, name)
            except Malformed as error:
                failed(error)

        return answered

    def _failed(self, name: str) -> Callable[[CallError], None]:
        def failed(error: CallError) -> None:
            fields = {"status": error.status, "error_code": int(error.error_code), "error": str(error)}
            self._add(name, strict_json.dumps(fields))

        return failed

    def _add(self, name: str, answer: bytes) -> None:
        part = strict_json.dumps(name) + b":" + answer
        if len(part) >= self._room:
            self._failed(name)(
                TooLarge(f"its answer of {len(answer)} bytes does not fit the response beside the others")
            )
            return
        self._room -= len(part) + 1
        self._answers[name] = part
        self._pending -= 1
        if not self._pending:
            self._reply(PluginAnswer(200, b"{%b}" % b",".join(self._answers.values())).pack())
