"""Forwards signals of users to plugins (protocol.md#signals).

SHUTDOWN_GRACEFUL is a stop through the supervisor, which would restart the plugin otherwise. WAKE_UP also starts a
stopped plugin (reedcms-10.md#command-line). RELOAD_CONFIG without data carries the settings in the plugin's folder.
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
    """Forward a signal to the plugin that it names, or to every running plugin."""
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
                continue  # it reads them when it wakes
            raise endpoint.offline_error()


def announce_fifos(endpoints: Mapping[str, PluginEndpoint]) -> None:
    """On HEALTH_CHECK an SDK opens the FIFOs of new plugins."""
    for endpoint in endpoints.values():
        if endpoint.plugin.state in (State.READY, State.BUSY):
            endpoint.send_signal(Signal.HEALTH_CHECK)


def _read_settings(endpoint: PluginEndpoint) -> bytes:
    """Empty if too large for a signal; the SDK then registers again."""
    try:
        found = endpoint.plugin.read_settings()
    except ManifestError as error:
        raise Invalid(str(error)) from None
    endpoint.plugin.use_settings(found)
    settings = strict_json.dumps(dict(found))
    return settings if len(settings) <= _MAX_DATA else b""
