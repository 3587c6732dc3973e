"""PLUGIN_REGISTER, HEALTH, SIGNAL, LIST, START, STOP, RELOAD, RUN_SCHEDULE and SYSTEM_STATS (protocol.md#plugins)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from reed.core.calls import Call, Handler
from reed.core.commands.plugin_send import Endpoints, check_may_send, endpoint_of, plugin_send
from reed.core.json_checks import JsonChecks
from reed.core.plugin_endpoint import PluginEndpoint
from reed.core.plugin_hooks import PluginHooks
from reed.core.signals import SignalSender
from reed.errors import Invalid, PermissionDenied, ReedError
from reed.store.base import Store
from reed.supervision.manifest import Action
from reed.supervision.reload_report import ReloadReport, Reported
from reed.supervision.supervisor import Supervisor
from reed.wire import strict_json, structs
from reed.wire.codes import Command, Flag
from reed.wire.common import JsonResponse
from reed.wire.plugins import PluginReload, PluginRunSchedule
from reed.wire.requests import Name, SignalMessage

ReloadRegistry = Callable[[Reported, Callable[[ReedError], None], bool], None]
_OK = structs.STATUS.pack(200)


def handlers(
    store: Store,
    supervisor: Supervisor,
    endpoints: Endpoints,
    hooks: PluginHooks,
    stats: Callable[[], dict[str, Any]],
    reload_registry: ReloadRegistry,
    checks: JsonChecks,
    signals: SignalSender,
) -> dict[Command, Handler]:
    def register(_call: Call, _payload: memoryview) -> None:
        raise PermissionDenied("only a plugin can register, on its own socket")

    def signal(call: Call, payload: memoryview) -> None:
        call.count()
        broadcast = bool(call.flags & Flag.BROADCAST)
        accepted = partial(call.reply, structs.STATUS.pack(202))
        signals.send(SignalMessage.unpack(payload), accepted, call.fail, broadcast=broadcast)

    def health(call: Call, payload: memoryview) -> None:
        name = Name.unpack(payload).name
        plugins = supervisor.describe(endpoint_of(endpoints, name, store).name if name else None)
        for plugin in plugins:
            plugin.update(endpoints[plugin["name"]].queue.stats())
            plugin.update(hooks.events.stats(plugin["name"]))
            plugin["schedules"] = hooks.schedules.describe(plugin["name"])
        _reply_json(call, plugins)

    def list_all(call: Call, payload: memoryview) -> None:
        structs.nothing_left(payload, "PLUGIN_LIST")
        _reply_json(
            call,
            [
                {
                    **_describe(endpoints[name]),
                    "schedules": hooks.schedules.describe(name),
                    "grounds": supervisor.permission_report(name),
                }
                for name in supervisor.plugins
            ],
        )

    def run_schedule(call: Call, payload: memoryview) -> None:
        request = PluginRunSchedule.unpack(payload)
        endpoint = endpoint_of(endpoints, request.plugin, store)
        check_may_send(call.caller, endpoint)
        call.count()
        hooks.schedules.run_by_hand(endpoint, request.schedule, call.forward, call.fail)

    def system_stats(call: Call, payload: memoryview) -> None:
        structs.nothing_left(payload, "SYSTEM_STATS")
        _reply_json(call, stats())

    return {
        Command.PLUGIN_REGISTER: register,
        Command.PLUGIN_SIGNAL: signal,
        Command.PLUGIN_SEND: plugin_send(store, endpoints, checks),
        Command.PLUGIN_HEALTH: health,
        Command.PLUGIN_LIST: list_all,
        Command.PLUGIN_RUN_SCHEDULE: run_schedule,
        Command.SYSTEM_STATS: system_stats,
        **_lifecycle_handlers(store, supervisor, endpoints, reload_registry),
    }


def _lifecycle_handlers(
    store: Store, supervisor: Supervisor, endpoints: Endpoints, reload_registry: ReloadRegistry
) -> dict[Command, Handler]:
    """They reply when the plugins have reached their new state."""

    def start(call: Call, payload: memoryview) -> None:
        name = endpoint_of(endpoints, Name.unpack(payload).name, store).name
        supervisor.start(name, lambda: call.reply(_OK), call.fail)

    def stop(call: Call, payload: memoryview) -> None:
        name = endpoint_of(endpoints, Name.unpack(payload).name, store).name
        supervisor.stop(name, lambda: call.reply(_OK), call.fail)

    def reload(call: Call, payload: memoryview) -> None:
        name, wants_report = PluginReload.unpack(payload)

        def done(report: ReloadReport) -> None:
            if wants_report:
                _reply_json(call, [change._asdict() for change in report.changes])
            else:
                call.reply(_OK)

        if name:
            supervisor.replace(endpoint_of(endpoints, name, store).name, done, call.fail, report=wants_report)
        else:
            reload_registry(done, lambda error: call.fail(Invalid(str(error))), wants_report)

    return {Command.PLUGIN_START: start, Command.PLUGIN_STOP: stop, Command.PLUGIN_RELOAD: reload}


def _reply_json(call: Call, value: Any) -> None:
    call.reply(JsonResponse(200, strict_json.dumps(value)).pack())


def _describe(endpoint: PluginEndpoint) -> dict[str, Any]:
    plugin = endpoint.plugin
    row = plugin.row
    declared = plugin.manifest.actions if plugin.manifest else {}
    actions = {**declared, **endpoint.actions}
    return {
        "name": row.plugin_name,
        "type": row.plugin_type,
        "version": row.version,
        "state": str(plugin.state),
        "auto_start": row.auto_start,
        "permissions": sorted(row.required_permissions),
        "user_groups": sorted(row.user_groups),
        "description": row.description,
        "actions": {name: _describe_action(action) for name, action in sorted(actions.items())},
        "pid": plugin.pid,
        "reason": plugin.reason or plugin.replacement.refused,
    }


def _describe_action(action: Action) -> dict[str, Any]:
    described = {"command_id": action.command_id, "input": action.input, "description": action.description}
    return described if action.example is None else {**described, "example": action.example}
