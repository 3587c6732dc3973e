"""The core as one process: the one place where the parts are built and joined.

    Daemon(config)   builds  runtime folder ── lock ── store ── loop ── supervisor ── links ── router ── core.sock
        .run()       turns until `stop()`
        .reload()    reads the registry again
        .close()     stops the plugins (their grace, SIGTERM, SIGKILL), closes the store, removes its files

News travels upward by callbacks that are connected here: the supervisor knows neither sockets nor calls, the links know
no processes, the store knows nobody. Other programs may use Daemon as `reed.serve` does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from reed.config import Config
from reed.core.calls import Caller, Handle
from reed.core.client_listener import ClientListener
from reed.core.commands import content, plugins
from reed.core.connect_rate import ConnectRates
from reed.core.connection import Connection
from reed.core.identity import Identity
from reed.core.monitor import Monitor
from reed.core.plugin_endpoint import EndpointTools, PluginEndpoint
from reed.core.plugin_hooks import PluginHooks
from reed.core.quotas import Quotas
from reed.core.response_cache import ResponseCache
from reed.core.router import Router
from reed.core.runtime_folder import RuntimeFolder, group_id_of, take_lock
from reed.core.signals import announce_fifos, signal_plugins
from reed.core.stats import Stats
from reed.errors import PermissionDenied, ReedError, Restarting
from reed.loop.loop import Loop
from reed.peer_log import THE_CORE, PeerLog
from reed.peers.mesh import Mesh
from reed.sandbox.confine import Sandbox
from reed.store.base import Store
from reed.store.sqlite import SqliteStore
from reed.supervision.callbacks import Process
from reed.supervision.groups import People
from reed.supervision.lifecycle import State
from reed.supervision.pidfile import write_pid_file
from reed.supervision.reload_report import Reported
from reed.supervision.supervisor import Supervisor
from reed.system_calls import check_system_calls
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import SignalMessage
from reed.wire.frames import Frame
from reed.zygote.launcher import ZygoteLauncher

_SCRATCH_BYTES = 256 * 1024
_OWN_DESCRIPTORS = 2048
_DRAIN = 0.5  # seconds that calls have to end, before another core follows
_DRAIN_LOOK = 0.002


class Daemon:
    """A core. Building it takes the folder's lock and opens everything; `close()` gives it all back."""

    def __init__(
        self, config: Config, log: logging.Logger, inherited: int | None = None, *, owns_process: bool = False
    ) -> None:
        """`inherited`: the descriptor that listens on core.sock already, of the core before this one (`hand_over`).
        `owns_process`: nothing else runs in this process; the core becomes a child subreaper and reaps every orphan."""
        self.config = config
        self.restarts: dict[str, Any] = {}  # for SYSTEM_STATS, by who runs it
        self.handed_over: int | None = None
        self._inherited = inherited
        self.log = log
        self.links: dict[str, PluginEndpoint] = {}
        self._has_new_pairs = False
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        check_system_calls(log.warning)
        with contextlib.ExitStack() as exit_stack:
            self._take_folders(exit_stack)
            self._open_store(exit_stack)
            self._build_registry(exit_stack)  # layer 1
            self._build_core(exit_stack)  # layer 2
            self._build_peers(exit_stack)  # layer 3
            self.supervisor.load_registry()
            self._handlers.refresh()
            self.mesh.remove_stale()
            self._start_listening(exit_stack)
            self._undo = exit_stack.pop_all()
        if owns_process:
            self.supervisor.orphans.reap_all()
        self._launcher.start()
        self.supervisor.orphans.sweep()  # a core before this one may have left its spare process
        self.supervisor.auto_start()

    def run(self) -> None:
        """Turn until `stop()`."""
        self.loop.run()

    def stop(self) -> None:
        """Take no new connection, stop the plugins, and let `run()` end when they are gone."""
        self._core_socket.stop_listening()
        self.supervisor.shutdown(self.loop.stop)

    def hand_over(self) -> None:
        """Let `run()` end, for another core to follow in this process; `handed_over` listens on core.sock.

        Calls that were begun have a short time to end; those that were not are refused as such. Plugins go on.
        """
        self.handed_over = self._core_socket.hand_over(Restarting("the core restarts: not done", hint="ask again"))
        self._end_when_idle(self.loop.now() + _DRAIN)

    def _end_when_idle(self, until: float) -> None:
        if self._core_socket.connections and self.loop.now() < until:
            self.loop.call_later(_DRAIN_LOOK, lambda: self._end_when_idle(until))
        else:
            self.loop.stop()

    def reload(self) -> None:
        """Read the registry again; a bad file changes nothing, a bad new version of a plugin leaves the old one."""
        self._reload_registry(lambda _: None, lambda error: self._log.error("reload refused: %s", error, peer=THE_CORE))

    def close(self) -> None:
        """Close everything, in the reverse order of its opening."""
        self._undo.close()

    # Joining the parts.

    def _take_folders(self, exit_stack: contextlib.ExitStack) -> None:
        self._folder = RuntimeFolder.open(self.config.runtime_dir, group_id_of(self.config.socket_group))
        exit_stack.callback(self._folder.close)
        for warning in self._folder.warnings:
            self.log.warning("%s", warning)
        self.config = replace(self.config, runtime_dir=self._folder.path)
        self.config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        exit_stack.callback(os.close, take_lock(self.config.data_dir))

    def _open_store(self, exit_stack: contextlib.ExitStack) -> None:
        self.loop = Loop(
            commit=self._commit, on_exception=self._note_bug, fsync_seconds=lambda: self.store.fsync_seconds
        )
        exit_stack.callback(self.loop.close)
        # `self.log` is for what whoever runs this core says, `self._log` for all that peers may cause.
        self._log = PeerLog(self.log, self.loop, self.config.limits.log_lines)
        exit_stack.callback(self._log.close)
        path, max_events, loop = self.config.data_dir / "content.db", self.config.limits.queued_events, self.loop
        self.store: Store = SqliteStore(
            path, max_events=max_events, on_due=loop.request_commit, warn=self.log.error, loop=loop
        )
        exit_stack.callback(self.store.close)

    def _build_registry(self, exit_stack: contextlib.ExitStack) -> None:
        self._sandbox = Sandbox()
        self._launcher = ZygoteLauncher(self.loop, self._sandbox, self._log, self._zygote_died)
        exit_stack.callback(self._launcher.close)
        self.supervisor = Supervisor(self.loop, self.config, self._launcher, self, self._log)

    def _build_core(self, exit_stack: contextlib.ExitStack) -> None:
        log, loop, store, most_bytes = self._log, self.loop, self.store, self.config.limits.queued_bytes
        limits = self.config.limits
        self._quotas = Quotas(limits, ConnectRates(limits, time.monotonic, log, self._flooded))
        people = People(self.config.groups, os.geteuid())
        self._identity = Identity(people, self.supervisor.owner_of, lambda name: self.links[name].caller, log)
        caller_of = self._identity.caller_of
        self._monitor = Monitor(self._folder.monitor_socket, most_bytes, loop, log, self._quotas, caller_of)
        exit_stack.callback(self._monitor.close)
        self._handlers = PluginHooks(store, self.links, self.supervisor.has_row, loop, most_bytes, log)
        self._prepared = ResponseCache(store)
        self._router = Router(self._command_handlers(), self._prepared, lambda: store.dirty, self._note_bug, log)
        self._stats = Stats(self.config, loop, store, self.supervisor, self._router, self._sandbox_layers())
        exit_stack.callback(self._close_links)

    def _build_peers(self, exit_stack: contextlib.ExitStack) -> None:
        max_held = _fifos_to_hold(self.config.limits.connections)
        self.mesh = Mesh(self._folder.fifos, self._folder.peers, self.loop, self.supervisor.wake, self._log, max_held)
        exit_stack.callback(self.mesh.close)

    def _start_listening(self, exit_stack: contextlib.ExitStack) -> None:
        """From now on others may find this core."""
        most = self.config.limits.connections
        path, group_id, log = self._folder.core_socket, group_id_of(self.config.socket_group), self._log
        self._core_socket = ClientListener(
            path, group_id, most, self.loop, log, self._quotas, self._identity.caller_of, self._connect, self._inherited
        )
        exit_stack.callback(self._core_socket.close)
        write_pid_file(self._folder.core_pid_file, os.getpid())
        exit_stack.callback(self._folder.core_pid_file.unlink, missing_ok=True)

    def _close_links(self) -> None:
        for link in self.links.values():
            link.close()

    def _command_handlers(self) -> dict[Command, Handle]:
        return {
            **content.handlers(self.store, self._handlers.filters, self._prepared),
            **plugins.handlers(
                self.store,
                self.supervisor,
                self.links,
                self._handlers.events,
                self._system_stats,
                self._reload_registry,
            ),
        }

    def _connect(self, sock: socket.socket, caller: Caller, on_closed: Callable[[Connection, str], None]) -> Connection:
        return Connection(
            self.loop,
            sock,
            caller,
            self._router,
            self.config.limits,
            self._scratch,
            self._log,
            self._monitor,
            self._quotas,
            on_signal=self._signal_of_person,
            on_closed=on_closed,
        )

    def _signal_of_person(self, connection: Connection, frame: Frame) -> None:
        """PLUGIN_SIGNAL with the flag SIGNAL: as the command, but never answered."""
        if Command.PLUGIN_SIGNAL not in connection.caller.commands:
            raise PermissionDenied(f"{connection.caller.name} may not send signals")
        message = SignalMessage.unpack(frame.payload)
        signal_plugins(self.supervisor, self.links, message, broadcast=bool(frame.flags & Flag.BROADCAST))

    def _sandbox_layers(self) -> dict[str, Any]:
        return {"mode": self.config.sandbox, **self._sandbox.layers.as_json()}

    def _system_stats(self) -> dict[str, Any]:
        return self._stats(len(self._core_socket.connections), self._core_socket.accepted) | self.restarts

    def _reload_registry(self, done: Reported, failed: Callable[[ReedError], None], report: bool = False) -> None:
        def settled(tell: Callable[[Any], None], outcome: object) -> None:
            self._apply_config()  # after a failure too: other plugins may have changed
            tell(outcome)

        self.supervisor.reload(partial(settled, done), partial(settled, failed), report=report)

    def _apply_config(self) -> None:
        """After a reload: hooks follow the manifests, and who runs hears of the FIFOs that came."""
        self._handlers.refresh()
        if self._has_new_pairs:
            self._has_new_pairs = False
            announce_fifos(self.links)

    # Callbacks of the supervisor.

    def prepare(self, name: str) -> None:
        self.links[name].listen()

    def send_signal(self, process: Process, signal: Signal, data: bytes) -> bool:
        """A plugin with a call in flight cannot answer a health check, so it gets none."""
        link = self.links.get(process.name)
        if link is None or (signal == Signal.HEALTH_CHECK and link.queue.is_working(process)):
            return False
        return link.send_signal(signal, data, process)

    def on_state(self, name: str, _old: State, new: State) -> None:
        self.mesh.set_running(name, new not in {State.STOPPED, State.FAILED})
        self.mesh.set_sleeping(name, new is State.SLEEPING)
        self.links[name].state_changed(new)
        self._handlers.events.state_changed(name)
        if new is State.STARTING:
            self._handlers.refresh_later()

    def on_gone(self, process: Process, reason: str) -> None:
        if process.name in self.links:
            self.links[process.name].process_ended(process, reason)

    def on_replaced(self, name: str) -> None:
        self.links[name].activate_process()
        self._handlers.refresh()  # the manifest may differ

    def when_idle(self, process: Process, done: Callable[[], None]) -> None:
        if process.name in self.links:
            self.links[process.name].when_idle(process, done)
        else:
            done()

    def on_added(self, name: str) -> None:
        loop, config, log, monitor = self.loop, self.config, self._log, self._monitor
        tools = EndpointTools(loop, config, self.supervisor, self._router, self._scratch, monitor, self._quotas, log)
        self.links[name] = PluginEndpoint(self.supervisor.plugins[name], tools)
        self.mesh.add(name)
        self._has_new_pairs = True
        self._handlers.refresh_later()

    def on_removed(self, name: str) -> None:
        self.links.pop(name).close()
        self.mesh.remove(name)
        self._handlers.refresh_later()

    def _commit(self) -> None:
        if self.store.dirty:
            self.store.commit()
            self._handlers.events.deliver()
        if self.store.has_work:
            self.loop.add_job(self.store.work)

    def _flooded(self, plugin: str, why: str) -> None:
        self.loop.call_soon(lambda: self.supervisor.kill(plugin, why))

    def _zygote_died(self) -> None:
        self.supervisor.orphans.sweep()

    def _note_bug(self, error: BaseException) -> None:
        self._log.bug(error)


def _fifos_to_hold(connections: int) -> int:
    """What the limit of descriptors leaves beside connections, and what plugins and the store need; half of it where
    that is little."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(allowed - connections - _OWN_DESCRIPTORS, allowed // 2)
