"""What the supervisor reports (supervision.callbacks), passed on to sockets, FIFOs and hooks.

supervisor ── state, exit, row added or removed ──▶ endpoint of the plugin, mesh of FIFOs, filters and events
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reed.core.calls import Caller
from reed.core.plugin_endpoint import CoreContext, PluginEndpoint
from reed.core.plugin_hooks import PluginHooks
from reed.core.signals import announce_fifos
from reed.peers.mesh import Mesh
from reed.supervision.callbacks import Process
from reed.supervision.lifecycle import AT_REST, State
from reed.wire.codes import Signal


class PluginCallbacks:
    """Keeps an endpoint for each row, its FIFOs and its hooks (supervision.callbacks)."""

    def __init__(self, context: CoreContext, hooks: PluginHooks, mesh: Mesh) -> None:
        self._context = context
        self._endpoints = context.endpoints
        self._hooks = hooks
        self._mesh = mesh
        self._has_new_fifos = False

    def caller_of(self, name: str) -> Caller:
        return self._endpoints[name].caller

    def on_reloaded(self) -> None:
        self._hooks.refresh()
        if self._has_new_fifos:
            self._has_new_fifos = False
            announce_fifos(self._endpoints)

    def close(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.close()

    def prepare(self, name: str) -> None:
        self._endpoints[name].listen()

    def send_signal(self, process: Process, signal: Signal, data: bytes) -> bool:
        endpoint = self._endpoints.get(process.name)
        # A plugin with a call in flight cannot answer a health check.
        if endpoint is None or (signal == Signal.HEALTH_CHECK and endpoint.queue.is_working(process)):
            return False
        return endpoint.send_signal(signal, data, process)

    def on_state(self, name: str, _old: State, new: State) -> None:
        self._mesh.set_running(name, new not in AT_REST)
        self._mesh.set_sleeping(name, new is State.SLEEPING)
        self._endpoints[name].state_changed(new)
        self._hooks.events.state_changed(name)
        self._hooks.schedules.state_changed(name)
        if new is State.STARTING:
            self._hooks.refresh_later()

    def on_gone(self, process: Process, reason: str) -> None:
        if process.name in self._endpoints:
            self._endpoints[process.name].process_ended(process, reason)

    def on_replaced(self, name: str) -> None:
        self._endpoints[name].activate_process()
        self._hooks.refresh()  # the manifest may differ

    def when_idle(self, process: Process, done: Callable[[], None]) -> None:
        if process.name in self._endpoints:
            self._endpoints[process.name].when_idle(process, done)
        else:
            done()

    def on_adding(self, name: str) -> Iterator[None]:
        return self._mesh.prepare(name)

    def on_added(self, name: str) -> None:
        self._endpoints[name] = PluginEndpoint(self._context.supervisor.plugins[name], self._context)
        self._mesh.add(name)
        self._has_new_fifos = True
        self._hooks.refresh_later()

    def on_removed(self, name: str) -> None:
        self._endpoints.pop(name).close()
        self._mesh.remove(name)
        self._hooks.refresh_later()
