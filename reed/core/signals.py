"""Forwards signals of users to plugins (protocol.md#signals).

SHUTDOWN_GRACEFUL is a stop through the supervisor, which would restart the plugin otherwise. WAKE_UP also starts a
stopped plugin (reedcms-10.md#command-line). RELOAD_CONFIG without data carries the settings in the plugin's folder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import CallError, Invalid, Malformed, ManifestError, PluginNotFound
from reed.loop.loop import Loop
from reed.supervision.lifecycle import PRESENT, State
from reed.supervision.supervisor import Supervisor
from reed.wire import strict_json
from reed.wire.codes import SIGNALS, Signal
from reed.wire.requests import SignalMessage

_MAX_DATA = 65535  # data_len is a u16


class SignalSender:
    def __init__(self, loop: Loop, supervisor: Supervisor, endpoints: Mapping[str, PluginEndpoint]) -> None:
        self._loop = loop
        self._supervisor = supervisor
        self._endpoints = endpoints

    def send(
        self, message: SignalMessage, done: Callable[[], None], failed: Callable[[CallError], None], *, broadcast: bool
    ) -> None:
        """Forward a signal to the plugin that it names, or to every running plugin. Raises CallError."""
        if message.signal_type < Signal.SHUTDOWN_GRACEFUL or message.signal_type not in SIGNALS:
            raise Malformed(f"signal 0x{message.signal_type:02X} cannot be sent to a plugin")
        kind, data = Signal(message.signal_type), bytes(message.data)
        targets = self._targets(message.plugin_name, broadcast=broadcast)
        reads_settings = kind == Signal.RELOAD_CONFIG and not data
        if reads_settings and broadcast:
            self._loop.add_job(partial(self._broadcast_settings, deque(targets), [], done, failed))
            return
        if reads_settings:
            data = _settings(targets[0])
        self._send(kind, [(target, data) for target in targets], broadcast=broadcast)
        done()

    def _targets(self, name: str, *, broadcast: bool) -> list[PluginEndpoint]:
        if broadcast:
            return [endpoint for endpoint in self._endpoints.values() if endpoint.plugin.state in PRESENT]
        if name in self._endpoints:
            return [self._endpoints[name]]
        raise PluginNotFound.named(name, self._endpoints)

    def _broadcast_settings(
        self,
        unread: deque[PluginEndpoint],
        read: list[tuple[PluginEndpoint, bytes]],
        done: Callable[[], None],
        failed: Callable[[CallError], None],
        until: float,
    ) -> bool:
        """A job of the loop, since the files of each plugin take up to a millisecond. If those of one plugin are wrong,
        no plugin gets its settings."""
        try:
            while unread:
                endpoint = unread.popleft()
                read.append((endpoint, _settings(endpoint)))
                if unread and self._loop.now() >= until:
                    return True
        except CallError as error:
            failed(error)
        else:
            self._send(Signal.RELOAD_CONFIG, read, broadcast=True)
            done()
        return False

    def _send(self, kind: Signal, targets: list[tuple[PluginEndpoint, bytes]], *, broadcast: bool) -> None:
        for endpoint, data in targets:
            state = endpoint.plugin.state
            if kind == Signal.SHUTDOWN_GRACEFUL:
                self._supervisor.stop(endpoint.name, lambda: None, lambda _: None)
            elif kind == Signal.WAKE_UP and state is State.SLEEPING:
                self._supervisor.wake(endpoint.name)
            elif kind == Signal.WAKE_UP and state is State.STOPPED:
                self._supervisor.start(endpoint.name, lambda: None, lambda _: None)
            elif not endpoint.send_signal(kind, data) and not broadcast:
                if kind == Signal.RELOAD_CONFIG and state is State.SLEEPING:
                    continue  # it reads them when it wakes
                raise endpoint.offline_error()


def announce_fifos(endpoints: Mapping[str, PluginEndpoint]) -> None:
    """On HEALTH_CHECK an SDK opens the FIFOs of new plugins."""
    for endpoint in endpoints.values():
        if endpoint.plugin.state in (State.READY, State.BUSY):
            endpoint.send_signal(Signal.HEALTH_CHECK)


def _settings(endpoint: PluginEndpoint) -> bytes:
    """Empty if too large for a signal; the SDK then registers again."""
    try:
        found = endpoint.plugin.read_settings()
    except ManifestError as error:
        raise Invalid(str(error)) from None
    endpoint.plugin.use_settings(found)
    settings = strict_json.dumps(dict(found))
    return settings if len(settings) <= _MAX_DATA else b""
