"""PLUGIN_HEALTH, SIGNAL, LIST, START, STOP, SEND, RELOAD and SYSTEM_STATS (WIRE.md, F2-F9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reed.core.calls import Call, Caller, Handle
from reed.core.events import Events
from reed.core.links import Link
from reed.core.plugin_calls import Answered
from reed.core.router import Route
from reed.core.signals import signal_plugins
from reed.errors import CallError, Invalid, Malformed, PermissionDenied, PluginNotFound, ReedError, nearest
from reed.registry.lifecycle import State
from reed.registry.supervisor import Supervisor
from reed.store.base import Store
from reed.wire import common, layouts, strict_json
from reed.wire.codes import Command, Flag
from reed.wire.common import JsonResponse, SignalMessage
from reed.wire.layouts import Bytes
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.snippets import Record

Links = dict[str, Link]
_RUNNING = frozenset({State.READY, State.BUSY, State.SLEEPING})
_BROADCAST = int(Flag.BROADCAST)


def routes(
    store: Store,
    supervisor: Supervisor,
    links: Links,
    events: Events,
    stats: Callable[[], dict[str, Any]],
    reload_registry: Callable[[Callable[[], None], Callable[[ReedError], None]], None],
) -> dict[Command, Route]:
    def link_of(name: str) -> Link:
        link = links.get(name)
        if link is None:
            raise PluginNotFound(f"no plugin {name}", hint=nearest(name, links) or "`reed plugin list` shows them")
        return link

    def health(call: Call, payload: memoryview) -> None:
        name = common.unpack_name(payload)
        figures = supervisor.describe(link_of(name).name if name else None)
        for entry in figures:
            entry.update(links[entry["name"]].queue.figures())
            entry.update(events.figures(entry["name"]))
        call.reply(JsonResponse(200, strict_json.dumps(figures)).pack())

    def list_all(call: Call, payload: memoryview) -> None:
        common.unpack_nothing(payload, "PLUGIN_LIST")
        rows = [{**_row(links[name]), "grounds": supervisor.grounds_of(name)} for name in supervisor.plugins]
        call.reply(JsonResponse(200, strict_json.dumps(rows)).pack())

    def start(call: Call, payload: memoryview) -> None:
        name = link_of(common.unpack_name(payload)).name
        supervisor.start(name, lambda: call.reply(_OK), call.fail)

    def stop(call: Call, payload: memoryview) -> None:
        name = link_of(common.unpack_name(payload)).name
        supervisor.stop(name, lambda: call.reply(_OK), call.fail)

    def reload(call: Call, payload: memoryview) -> None:
        """Of everything that changed; with a name, of that plugin, changed or not."""
        if payload:
            name = link_of(common.unpack_name(payload)).name
            supervisor.renew(name, lambda: call.reply(_OK), call.fail)
        else:
            reload_registry(lambda: call.reply(_OK), lambda error: call.fail(Invalid(str(error))))

    def signal(call: Call, payload: memoryview) -> None:
        broadcast = bool(call.flags & _BROADCAST)
        signal_plugins(supervisor, links, SignalMessage.unpack(payload), broadcast=broadcast)
        call.reply(layouts.STATUS.pack(202))

    def system_stats(call: Call, payload: memoryview) -> None:
        common.unpack_nothing(payload, "SYSTEM_STATS")
        call.reply(JsonResponse(200, strict_json.dumps(stats())).pack())

    def register(_call: Call, _payload: memoryview) -> None:
        raise PermissionDenied("only a plugin registers, on its own socket")

    return {
        Command.PLUGIN_REGISTER: Route(register),
        Command.PLUGIN_HEALTH: Route(health),
        Command.PLUGIN_SIGNAL: Route(signal),
        Command.PLUGIN_LIST: Route(list_all),
        Command.PLUGIN_START: Route(start),
        Command.PLUGIN_STOP: Route(stop),
        Command.PLUGIN_SEND: Route(_sending(store, links, link_of), reads_store=True),
        Command.PLUGIN_RELOAD: Route(reload),
        Command.SYSTEM_STATS: Route(system_stats),
    }


_OK = layouts.STATUS.pack(200)


def _sending(store: Store, links: Links, link_of: Callable[[str], Link]) -> Handle:
    """PLUGIN_SEND: who may send. It counts as one of its caller's calls of plugins (core.quotas)."""

    def send(call: Call, payload: memoryview) -> None:
        request = PluginSend.unpack(payload)
        call.count()
        if call.flags & _BROADCAST:
            _Broadcast(store, call.hand_on, request, _may_get(links, call.caller, request.action))
        else:
            link = link_of(request.plugin)
            _check_groups(call.caller, link)
            _ask(store, link, request, call.hand_on, call.fail)

    return send


def _ask(
    store: Store,
    link: Link,
    request: PluginSend,
    answered: Answered,
    failed: Callable[[CallError], None],
) -> None:
    """Call one action, with the snippet looked up for it where it declares `input: snippet`."""
    action = link.action(request.action)
    if action.input == "bytes":
        link.ask(action, bytes(request.input), answered, failed)
        return
    value = strict_json.loads(request.input or b"null")
    if action.input != "snippet":
        link.ask(action, bytes(request.input) or b"null", answered, failed)
        return
    if not isinstance(value, str):
        raise Malformed(
            f"action {request.action} takes a snippet: its ref as a JSON string, not {strict_json.describe(value)}"
        )
    if "snippet_read" not in link.caller.permissions:
        raise PermissionDenied(f"plugin {link.name} lacks snippet_read", hint="its action takes a snippet")

    def found(record: Record) -> None:
        try:
            link.ask(action, snippet_input(record), answered, failed)
        except CallError as error:
            failed(error)

    store.get(value, found, failed)


def snippet_input(record: Record) -> bytes:
    """What an action with `input: snippet` gets; the content is not parsed on its way (WIRE.md, From the core)."""
    about = {
        "id": record.id,
        "type": record.snippet_type,
        "name": record.semantic_name,
        "version": record.version,
    }
    return strict_json.dumps(about)[:-1] + b',"content":' + bytes(record.content) + b"}"


class _Broadcast:
    """PLUGIN_SEND to every running plugin with that action: one answer when the last of them has answered.

    {NAME: {"status", "answer"}}, or {"status", "error_code", "error"} for one that failed.
    """

    def __init__(self, store: Store, answered_all: Answered, request: PluginSend, links: list[Link]) -> None:
        self._answered_all = answered_all
        self._answers: dict[str, Any] = {}
        self._left = len(links)
        for link in links:
            try:
                _ask(store, link, request, self._answered(link.name), self._failed(link.name))
            except CallError as error:
                self._failed(link.name)(error)
        if not links:
            answered_all(PluginAnswer(200, b"{}").pack())

    def _answered(self, name: str) -> Answered:
        def answered(payload: Bytes) -> None:
            status, body = PluginAnswer.unpack(payload)
            try:
                self._note(name, {"status": status, "answer": strict_json.loads(body) if body else None})
            except Malformed as error:
                self._failed(name)(error)

        return answered

    def _failed(self, name: str) -> Callable[[CallError], None]:
        def failed(error: CallError) -> None:
            self._note(name, {"status": error.status, "error_code": int(error.error_code), "error": str(error)})

        return failed

    def _note(self, name: str, answer: dict[str, Any]) -> None:
        self._answers[name] = answer
        self._left -= 1
        if not self._left:
            self._answered_all(PluginAnswer(200, strict_json.dumps(self._answers)).pack())


def _may_get(links: Links, caller: Caller, action: str) -> list[Link]:
    return [
        link
        for link in links.values()
        if link.plugin.state in _RUNNING and action in link.actions and _in_groups(caller, link)
    ]


def _in_groups(caller: Caller, link: Link) -> bool:
    """user_groups of a row says which people may send to the plugin; another plugin needs plugin_send alone."""
    return bool(caller.is_admin or caller.plugin or caller.groups & link.plugin.row.user_groups)


def _check_groups(caller: Caller, link: Link) -> None:
    if not _in_groups(caller, link):
        groups = ", ".join(sorted(link.plugin.row.user_groups))
        raise PermissionDenied(f"{caller.name} may not send to {link.name}", hint=f"its row lets in: {groups}")


def _row(link: Link) -> dict[str, Any]:
    plugin = link.plugin
    row = plugin.row
    declared = plugin.manifest.actions if plugin.manifest else {}
    actions = {**declared, **link.actions}
    return {
        "name": row.plugin_name,
        "type": row.plugin_type,
        "version": row.version,
        "state": str(plugin.state),
        "auto_start": row.auto_start,
        "permissions": sorted(row.required_permissions),
        "user_groups": sorted(row.user_groups),
        "description": row.description,
        "actions": {
            name: {"command_id": action.command_id, "input": action.input, "description": action.description}
            for name, action in sorted(actions.items())
        },
        "pid": plugin.pid,
        "reason": plugin.reason or plugin.renewal.refused,
    }
