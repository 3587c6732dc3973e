"""PLUGIN_SEND: calls an action of a plugin, or of all running plugins that have it (protocol.md#plugins)."""

from __future__ import annotations

from collections.abc import Callable

from reed.core.call_queue import Answered
from reed.core.calls import Call, Caller, Handler
from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import CallError, Malformed, PermissionDenied, PluginNotFound, nearest
from reed.store.base import Failed, Store
from reed.supervision.lifecycle import PRESENT, State
from reed.wire import strict_json
from reed.wire.codes import Flag, Permission
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.snippets import Record
from reed.wire.structs import Bytes

Endpoints = dict[str, PluginEndpoint]
_BROADCAST = int(Flag.BROADCAST)


def endpoint_of(endpoints: Endpoints, name: str) -> PluginEndpoint:
    """Raises PluginNotFound, with the nearest name."""
    endpoint = endpoints.get(name)
    if endpoint is None:
        raise PluginNotFound(f"no plugin {name}", hint=nearest(name, endpoints) or "`reed plugin list` shows them")
    return endpoint


def plugin_send(store: Store, endpoints: Endpoints) -> Handler:
    def send(call: Call, payload: memoryview) -> None:
        request = PluginSend.unpack(payload)
        call.count()
        if call.flags & _BROADCAST:
            receivers = [
                each
                for each in endpoints.values()
                if each.plugin.state in PRESENT and request.action in each.actions and _may_send(call.caller, each)
            ]
            _Broadcast(store, call.forward, request, call.caller.plugin, receivers)
            return
        endpoint = endpoint_of(endpoints, request.plugin)
        if not _may_send(call.caller, endpoint):
            groups = ", ".join(sorted(endpoint.plugin.row.user_groups))
            raise PermissionDenied(
                f"{call.caller.name} may not send to {endpoint.name}", hint=f"its row lets in: {groups}"
            )
        _call_action(store, endpoint, request, call.caller.plugin, call.forward, call.fail)

    return send


def _may_send(caller: Caller, endpoint: PluginEndpoint) -> bool:
    """`user_groups` restricts people, not plugins."""
    return bool(caller.is_admin or caller.plugin or caller.groups & endpoint.plugin.row.user_groups)


def _call_action(
    store: Store, endpoint: PluginEndpoint, request: PluginSend, origin: str, answered: Answered, failed: Failed
) -> None:
    if endpoint.plugin.state is State.FAILED:
        raise endpoint.offline_error()  # tells more than a missing action
    action = endpoint.action(request.action)
    if action.input == "bytes":
        endpoint.call(action, bytes(request.input), answered, failed, origin)
        return
    value = strict_json.loads(request.input or b"null")
    if action.input != "snippet":
        endpoint.call(action, bytes(request.input) or b"null", answered, failed, origin)
        return
    if not isinstance(value, str):
        raise Malformed(
            f"action {request.action} takes a snippet: its ref as a JSON string, not {strict_json.describe(value)}"
        )
    if Permission.SNIPPET_READ not in endpoint.caller.permissions:
        raise PermissionDenied(f"plugin {endpoint.name} lacks snippet_read", hint="its action takes a snippet")

    def found(record: Record) -> None:
        try:
            endpoint.call(action, snippet_input(record), answered, failed, origin)
        except CallError as error:
            failed(error)

    store.get(value, found, failed)


def snippet_input(record: Record) -> bytes:
    """The input of an action with `input: snippet`."""
    return record.as_json(with_times=False)


class _Broadcast:
    """Replies when all receivers have answered or failed."""

    def __init__(
        self, store: Store, reply: Answered, request: PluginSend, origin: str, receivers: list[PluginEndpoint]
    ) -> None:
        self._reply = reply
        self._answers: dict[str, bytes] = {}
        self._pending = len(receivers)
        for endpoint in receivers:
            try:
                _call_action(
                    store, endpoint, request, origin, self._answered(endpoint.name), self._failed(endpoint.name)
                )
            except CallError as error:
                self._failed(endpoint.name)(error)
        if not receivers:
            reply(PluginAnswer(200, b"{}").pack())

    def _answered(self, name: str) -> Answered:
        def answered(payload: Bytes) -> None:
            status, body = PluginAnswer.unpack(payload)
            text = bytes(body) or b"null"
            try:
                strict_json.loads(text)
            except Malformed as error:
                self._failed(name)(error)
                return
            self._add(name, b'{"status":%d,"answer":%b}' % (status, text))  # numbers keep their digits

        return answered

    def _failed(self, name: str) -> Callable[[CallError], None]:
        def failed(error: CallError) -> None:
            fields = {"status": error.status, "error_code": int(error.error_code), "error": str(error)}
            self._add(name, strict_json.dumps(fields))

        return failed

    def _add(self, name: str, answer: bytes) -> None:
        self._answers[name] = answer
        self._pending -= 1
        if not self._pending:
            parts = [strict_json.dumps(name) + b":" + answer for name, answer in self._answers.items()]
            self._reply(PluginAnswer(200, b"{%b}" % b",".join(parts)).pack())
