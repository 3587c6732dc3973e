"""Signals between people, the core and plugins (protocol.md#signals).

    person ── PLUGIN_SIGNAL ── core ── SignalMessage ── plugin      wake, reload, health, shutdown; to one or all
    plugin ── SignalMessage ── its endpoint ── supervisor           READY, BUSY, SLEEPING, ERROR
    supervisor ── its endpoint ── plugin                            HEALTH_CHECK, SHUTDOWN_GRACEFUL, …

A person's SHUTDOWN_GRACEFUL is a stop through the supervisor, which would restart the plugin otherwise. WAKE_UP starts
a stopped plugin that it names (reedcms-10.md#command-line stops analytics and wakes it some lines below).
RELOAD_CONFIG without data carries the settings in the plugin's folder; a plugin in deep sleep reads them when it wakes.
"""

from __future__ import annotations

from collections.abc import Mapping

from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import Invalid, Malformed, ManifestError, PluginNotFound, nearest
from reed.supervision.lifecycle import PRESENT, State
from reed.supervision.supervisor import Supervisor
from reed.wire import strict_json
from reed.wire.codes import Signal
from reed.wire.requests import SignalMessage

_MAX_DATA = 65535  # data_len is a u16


def signal_plugins(
    supervisor: Supervisor, endpoints: Mapping[str, PluginEndpoint], message: SignalMessage, *, broadcast: bool
) -> None:
    """Forward a person's signal to the plugin that it names, or to every running plugin."""
    if message.signal_type < Signal.SHUTDOWN_GRACEFUL or message.signal_type not in set(Signal):
        raise Malformed(f"signal 0x{message.signal_type:02X} cannot be sent to a plugin")
    kind = Signal(message.signal_type)
    if broadcast:
        targets = [endpoint for endpoint in endpoints.values() if endpoint.plugin.state in PRESENT]
    elif message.plugin_name in endpoints:
        targets = [endpoints[message.plugin_name]]
    else:
        hint = nearest(message.plugin_name, endpoints) or "`reed plugin list` shows them"
        raise PluginNotFound(f"no plugin {message.plugin_name}", hint=hint)
    reads_settings = kind == Signal.RELOAD_CONFIG and not message.data
    payloads = [_read_settings(target) if reads_settings else bytes(message.data) for target in targets]
    for endpoint, data in zip(targets, payloads, strict=True):
        state = endpoint.plugin.state
        if kind == Signal.SHUTDOWN_GRACEFUL:
            supervisor.stop(endpoint.name, lambda: None, lambda _: None)
        elif kind == Signal.WAKE_UP and state is State.SLEEPING:
            supervisor.wake(endpoint.name)
        elif kind == Signal.WAKE_UP and state is State.STOPPED:
            supervisor.start(endpoint.name, lambda: None, lambda _: None)
        elif not endpoint.send_signal(kind, data) and not broadcast:
            if kind == Signal.RELOAD_CONFIG and state is State.SLEEPING:
                continue  # a plugin in deep sleep has no process
            raise endpoint.offline_error()


def announce_fifos(endpoints: Mapping[str, PluginEndpoint]) -> None:
    """Send HEALTH_CHECK to every plugin that is awake: its SDK then opens the FIFOs of plugins that a reload added."""
    for endpoint in endpoints.values():
        if endpoint.plugin.state in (State.READY, State.BUSY):
            endpoint.send_signal(Signal.HEALTH_CHECK)


def _read_settings(endpoint: PluginEndpoint) -> bytes:
    """The settings in the plugin's folder as JSON; empty if too large for a signal, then the SDK registers again."""
    try:
        found = endpoint.plugin.read_settings()
    except ManifestError as error:
        raise Invalid(str(error)) from None
    endpoint.plugin.use_settings(found)
    settings = strict_json.dumps(dict(found))
    return settings if len(settings) <= _MAX_DATA else b""
