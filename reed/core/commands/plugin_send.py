"""PLUGIN_SEND: a person or a plugin calls an action of a plugin, or of all that have it (protocol.md#plugins).

one plugin   may the caller? ── the snippet, where the action takes one ── the plugin's queue ── its answer
BROADCAST    the same for each that runs, has the action and may be sent to ── one JSON object of the answers
"""

from __future__ import annotations

from collections.abc import Callable

from reed.core.call_queue import Answered
from reed.core.calls import Call, Caller, Handle
from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import CallError, Malformed, PermissionDenied, PluginNotFound, nearest
from reed.store.base import Store
from reed.supervision.lifecycle import State
from reed.wire import strict_json
from reed.wire.codes import Flag
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.snippets import Record
from reed.wire.structs import Bytes

Links = dict[str, PluginEndpoint]
_RUNNING = frozenset({State.READY, State.BUSY, State.SLEEPING})
_BROADCAST = int(Flag.BROADCAST)


def link_of(links: Links, name: str) -> PluginEndpoint:
    link = links.get(name)
    if link is None:
        raise PluginNotFound(f"no plugin {name}", hint=nearest(name, links) or "`reed plugin list` shows them")
    return link


def sending(store: Store, links: Links) -> Handle:
    """Who may send is looked at first. It counts as one of its caller's calls of plugins (core.quotas)."""

    def send(call: Call, payload: memoryview) -> None:
        request = PluginSend.unpack(payload)
        call.count()
        if call.flags & _BROADCAST:
            _Broadcast(store, call.forward, request, call.caller.plugin, _may_get(links, call.caller, request.action))
        else:
            link = link_of(links, request.plugin)
            _check_groups(call.caller, link)
            _ask(store, link, request, call.caller.plugin, call.forward, call.fail)

    return send


def _ask(
    store: Store,
    link: PluginEndpoint,
    request: PluginSend,
    origin: str,
    answered: Answered,
    failed: Callable[[CallError], None],
) -> None:
    """Call one action, with the snippet looked up for it where it declares `input: snippet`."""
    if link.plugin.state is State.FAILED:
        raise link.offline()  # why it failed says more than which actions it lacks for it
    action = link.action(request.action)
    if action.input == "bytes":
        link.ask(action, bytes(request.input), answered, failed, origin)
        return
    value = strict_json.loads(request.input or b"null")
    if action.input != "snippet":
        link.ask(action, bytes(request.input) or b"null", answered, failed, origin)
        return
    if not isinstance(value, str):
        raise Malformed(
            f"action {request.action} takes a snippet: its ref as a JSON string, not {strict_json.describe(value)}"
        )
    if "snippet_read" not in link.caller.permissions:
        raise PermissionDenied(f"plugin {link.name} lacks snippet_read", hint="its action takes a snippet")

    def found(record: Record) -> None:
        try:
            link.ask(action, snippet_input(record), answered, failed, origin)
        except CallError as error:
            failed(error)

    store.get(value, found, failed)


def snippet_input(record: Record) -> bytes:
    """What an action with `input: snippet` gets; the content is not parsed on its way (protocol.md)."""
    return record.as_json(with_times=False)


class _Broadcast:
    """PLUGIN_SEND to every running plugin with that action: one answer when the last of them has answered.

    {NAME: {"status", "answer"}}, or {"status", "error_code", "error"} for one that failed.
    """

    def __init__(
        self, store: Store, answered_all: Answered, request: PluginSend, origin: str, links: list[PluginEndpoint]
    ) -> None:
        self._answered_all = answered_all
        self._answers: dict[str, bytes] = {}
        self._left = len(links)
        for link in links:
            try:
                _ask(store, link, request, origin, self._answered(link.name), self._failed(link.name))
            except CallError as error:
                self._failed(link.name)(error)
        if not links:
            answered_all(PluginAnswer(200, b"{}").pack())

    def _answered(self, name: str) -> Answered:
        def answered(payload: Bytes) -> None:
            status, body = PluginAnswer.unpack(payload)
            text = bytes(body) or b"null"
            try:
                strict_json.loads(text)
            except Malformed as error:
                self._failed(name)(error)
                return
            self._note(name, b'{"status":%d,"answer":%b}' % (status, text))  # its numbers as they are

        return answered

    def _failed(self, name: str) -> Callable[[CallError], None]:
        def failed(error: CallError) -> None:
            told = {"status": error.status, "error_code": int(error.error_code), "error": str(error)}
            self._note(name, strict_json.dumps(told))

        return failed

    def _note(self, name: str, answer: bytes) -> None:
        self._answers[name] = answer
        self._left -= 1
        if not self._left:
            parts = [strict_json.dumps(name) + b":" + answer for name, answer in self._answers.items()]
            self._answered_all(PluginAnswer(200, b"{%b}" % b",".join(parts)).pack())


def _may_get(links: Links, caller: Caller, action: str) -> list[PluginEndpoint]:
    return [
        link
        for link in links.values()
        if link.plugin.state in _RUNNING and action in link.actions and _in_groups(caller, link)
    ]


def _in_groups(caller: Caller, link: PluginEndpoint) -> bool:
    """user_groups of a row says which people may send to the plugin; another plugin needs plugin_send alone."""
    return bool(caller.is_admin or caller.plugin or caller.groups & link.plugin.row.user_groups)


def _check_groups(caller: Caller, link: PluginEndpoint) -> None:
    if not _in_groups(caller, link):
        groups = ", ".join(sorted(link.plugin.row.user_groups))
        raise PermissionDenied(f"{caller.name} may not send to {link.name}", hint=f"its row lets in: {groups}")
