"""PLUGIN_HEALTH, SIGNAL, LIST, START, STOP, RELOAD and SYSTEM_STATS (protocol.md); PLUGIN_SEND is in `sending`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reed.core.calls import Call
from reed.core.commands.plugin_send import Links, link_of, sending
from reed.core.events import Events
from reed.core.plugin_endpoint import PluginEndpoint
from reed.core.router import Route
from reed.core.signals import signal_plugins
from reed.errors import Invalid, PermissionDenied, ReedError
from reed.store.base import Store
from reed.supervision.reload_report import ReloadReport, Reported
from reed.supervision.supervisor import Supervisor
from reed.wire import common, strict_json, structs
from reed.wire.codes import Command, Flag
from reed.wire.common import JsonResponse, SignalMessage
from reed.wire.plugins import PluginReload

ReloadRegistry = Callable[[Reported, Callable[[ReedError], None], bool], None]
_OK = structs.STATUS.pack(200)


def routes(
    store: Store,
    supervisor: Supervisor,
    links: Links,
    events: Events,
    stats: Callable[[], dict[str, Any]],
    reload_registry: ReloadRegistry,
) -> dict[Command, Route]:
    def register(_call: Call, _payload: memoryview) -> None:
        raise PermissionDenied("only a plugin registers, on its own socket")

    def signal(call: Call, payload: memoryview) -> None:
        broadcast = bool(call.flags & Flag.BROADCAST)
        signal_plugins(supervisor, links, SignalMessage.unpack(payload), broadcast=broadcast)
        call.reply(structs.STATUS.pack(202))

    def system_stats(call: Call, payload: memoryview) -> None:
        common.unpack_nothing(payload, "SYSTEM_STATS")
        call.reply(JsonResponse(200, strict_json.dumps(stats())).pack())

    return {
        Command.PLUGIN_REGISTER: Route(register),
        Command.PLUGIN_SIGNAL: Route(signal),
        Command.PLUGIN_SEND: Route(sending(store, links), reads_store=True),
        Command.SYSTEM_STATS: Route(system_stats),
        **_telling(supervisor, links, events),
        **_running(supervisor, links, reload_registry),
    }


def _telling(supervisor: Supervisor, links: Links, events: Events) -> dict[Command, Route]:
    """What there is, and how it does."""

    def health(call: Call, payload: memoryview) -> None:
        name = common.unpack_name(payload)
        figures = supervisor.describe(link_of(links, name).name if name else None)
        for entry in figures:
            entry.update(links[entry["name"]].queue.figures())
            entry.update(events.figures(entry["name"]))
        call.reply(JsonResponse(200, strict_json.dumps(figures)).pack())

    def list_all(call: Call, payload: memoryview) -> None:
        common.unpack_nothing(payload, "PLUGIN_LIST")
        rows = [{**_row(links[name]), "grounds": supervisor.permission_report(name)} for name in supervisor.plugins]
        call.reply(JsonResponse(200, strict_json.dumps(rows)).pack())

    return {Command.PLUGIN_HEALTH: Route(health), Command.PLUGIN_LIST: Route(list_all)}


def _running(supervisor: Supervisor, links: Links, reload_registry: ReloadRegistry) -> dict[Command, Route]:
    """Whether they run, and as what; answered when it is so."""

    def start(call: Call, payload: memoryview) -> None:
        name = link_of(links, common.unpack_name(payload)).name
        supervisor.start(name, lambda: call.reply(_OK), call.fail)

    def stop(call: Call, payload: memoryview) -> None:
        name = link_of(links, common.unpack_name(payload)).name
        supervisor.stop(name, lambda: call.reply(_OK), call.fail)

    def reload(call: Call, payload: memoryview) -> None:
        """Of everything that changed; with a name, of that plugin, changed or not. The answer is a report if asked."""
        request = PluginReload.unpack(payload)

        def done(report: ReloadReport) -> None:
            if request.report:
                changes = [change._asdict() for change in report.changes]
                call.reply(JsonResponse(200, strict_json.dumps(changes)).pack())
            else:
                call.reply(_OK)

        if request.plugin_name:
            name = link_of(links, request.plugin_name).name
            supervisor.replace(name, done, call.fail, report=request.report)
        else:
            reload_registry(done, lambda error: call.fail(Invalid(str(error))), request.report)

    return {
        Command.PLUGIN_START: Route(start),
        Command.PLUGIN_STOP: Route(stop),
        Command.PLUGIN_RELOAD: Route(reload),
    }


def _row(link: PluginEndpoint) -> dict[str, Any]:
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
        "reason": plugin.reason or plugin.replacement.refused,
    }
