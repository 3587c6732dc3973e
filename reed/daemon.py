"""The core as one process: the only place where its parts are built and connected.

    runtime folder ── lock ── loop ── store ── supervisor ── endpoints ── router ── core.sock

Supervision knows neither sockets nor calls: it reports changes to PluginCallbacks. Which thread runs the loop, and how
other threads reach it: `core_thread`.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reed.config import Config
from reed.core import json_checks
from reed.core.calls import FastPath, Handler
from reed.core.client_listener import ClientListener
from reed.core.commands import connections, content, plugins
from reed.core.connect_rate import ConnectRates
from reed.core.connection import Connection
from reed.core.creates import Creates
from reed.core.forward import Forwarder
from reed.core.identity import Identity
from reed.core.json_checks import JsonChecks
from reed.core.monitor import Monitor
from reed.core.plugin_endpoint import CoreContext
from reed.core.plugin_hooks import PluginHooks
from reed.core.quotas import Quotas
from reed.core.response_cache import ResponseCache
from reed.core.router import Router
from reed.core.runtime_folder import RuntimeFolder, group_id_of, release_lock, take_lock
from reed.core.signals import SignalSender
from reed.core.stats import Stats
from reed.core.watchers import Watchers
from reed.core_thread import ThreadCalls, ThreadedCore
from reed.counters import CommandCounters
from reed.errors import PermissionDenied, ReedError, Restarting
from reed.loop.loop import Loop
from reed.peer_log import THE_CORE, PeerLog
from reed.peers.mesh import Mesh
from reed.plugin_callbacks import PluginCallbacks
from reed.sandbox.confine import Sandbox
from reed.store.base import Store
from reed.store.context import StoreContext
from reed.store.factory import open_store
from reed.store.workers import Deadline, Deadlines
from reed.supervision.adoption import write_pid_file
from reed.supervision.permissions import People
from reed.supervision.reload_report import Reported
from reed.supervision.supervisor import Supervisor
from reed.system_calls import check_system_calls
from reed.wire.codes import Command, Flag
from reed.wire.frames import Frame
from reed.wire.requests import SignalMessage
from reed.workers.pool import WorkerPool
from reed.zygote.launcher import ZygoteLauncher

_SCRATCH_BYTES = 256 * 1024
_RESERVED_DESCRIPTORS = 2048  # for plugins and the store
_DRAIN_TIMEOUT = 0.5  # seconds for calls in flight before a restart
_DRAIN_INTERVAL = 0.002
_STOP_MARGIN = 5.0  # seconds, for plugins that were killed to disappear


class Daemon(ThreadedCore):
    """A core. Construction takes the locks and opens everything; `close` releases it.

    It may be built in one thread and run in another, and a process may have several in folders of their own
    (embedding.md#a-core-in-your-program).
    """

    def __init__(
        self,
        config: Config,
        log: logging.Logger | None = None,
        inherited: int | None = None,
        *,
        owns_process: bool = False,
    ) -> None:
        """`log`: by default the logger "reed". Raises ReedError, OSError.

        `inherited`: the listening descriptor that the core before this one handed over. `owns_process`: for
        `reed serve`. The core becomes a child subreaper and reaps all orphans, and plugins outlive a core that crashes.
        Otherwise plugins die with the program, however it ends.
        """
        super().__init__()
        self.restarts: dict[str, Any] = {}  # for SYSTEM_STATS, set by `reed.serve`
        self.handed_over: int | None = None
        self.log = log or logging.getLogger("reed")  # for messages that no peer causes
        self._owns_process = owns_process
        self._is_stopping = False
        check_system_calls(self.log.warning)
        with contextlib.ExitStack() as stack:
            self._folder = self._open_folders(config, stack)
            self.config = replace(config, runtime_dir=self._folder.path)
            self._context = self._open_loop(stack)
            self.loop = self._context.loop
            self._calls = ThreadCalls(self.loop)
            stack.callback(self._calls.close)
            self._sandbox = Sandbox()
            self._launcher = ZygoteLauncher(
                self.loop, self._sandbox, self._context.log, self._on_zygote_death, die_with_core=not owns_process
            )
            stack.callback(self._launcher.close)
            self.store = self._open_store(stack)
            self._build(stack)
            self.supervisor.load_registry()
            self._hooks.refresh()
            self._mesh.remove_stale()
            self._listener = self._listen(inherited, stack)
            self._exit_stack = stack.pop_all()
        if owns_process:
            self.supervisor.orphans.reap_all()

    @property
    def socket(self) -> Path:
        """The path of core.sock, for clients."""
        return self._folder.core_socket

    def hand_over(self) -> None:
        """Let `run` return for a restart; `handed_over` is then the listening descriptor of core.sock.

        Calls in flight have a short time to finish. Plugins keep running.
        """
        self._hooks.schedules.close()
        error = Restarting("the core is restarting and did not process this request", hint="retry")
        self.handed_over = self._listener.hand_over(error)
        self._is_store_idle = False
        self.store.when_idle(self._on_store_idle)
        self._stop_when_drained(self.loop.now() + _DRAIN_TIMEOUT, self.loop.now() + self.config.timing.job_timeout + 1)

    def reload(self) -> None:
        """Read the registry again, soon; any thread may call it. The log says why a reload was refused."""
        refused = partial(self._context.log.error, "reload refused: %s", peer=THE_CORE)
        self._call(partial(self._reload_registry, lambda _: None, refused))

    def _on_store_idle(self) -> None:
        self._is_store_idle = True

    def _stop_when_drained(self, calls_until: float, writes_until: float) -> None:
        """A write in a worker has as long as its job may take."""
        until = calls_until if self._is_store_idle else writes_until
        if self._listener.connections and self.loop.now() < until:
            self.loop.call_later(_DRAIN_INTERVAL, partial(self._stop_when_drained, calls_until, writes_until))
        else:
            self.loop.stop()

    # The life of a core, for ThreadedCore.

    def _start(self) -> None:
        """The kernel takes the thread that starts the zygote for the parent of every plugin and worker."""
        self._launcher.start()
        self.supervisor.orphans.sweep()  # an earlier core may have left its spare process
        self.supervisor.auto_start()

    def _begin_stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._hooks.schedules.close()
            self._listener.stop_listening()
            self.supervisor.shutdown(lambda: self.store.when_idle(self._stopped))

    def _release(self) -> None:
        self._exit_stack.close()

    def _call(self, callback: Callable[[], None]) -> None:
        self._calls.add(callback)

    @property
    def _stop_timeout(self) -> float:
        timing = self.config.timing
        return timing.stop_grace + timing.term_grace + _STOP_MARGIN

    @property
    def _leaves_plugins(self) -> bool:
        return self._owns_process

    # Construction.

    def _open_folders(self, config: Config, stack: contextlib.ExitStack) -> RuntimeFolder:
        folder = RuntimeFolder.open(config.runtime_dir, group_id_of(config.socket_group))
        stack.callback(folder.close)
        for warning in folder.warnings:
            self.log.warning("%s", warning)
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.callback(release_lock, take_lock(config.data_dir))
        return folder

    def _open_loop(self, stack: contextlib.ExitStack) -> CoreContext:
        limits = self.config.limits
        loop = Loop(
            commit=self._commit, on_exception=self._on_exception, fsync_seconds=lambda: self.store.fsync_seconds
        )
        stack.callback(loop.close)
        log = PeerLog(self.log, loop, limits.log_lines)
        stack.callback(log.close)
        quotas = Quotas(limits, ConnectRates(limits, time.monotonic, log, self._kill_flooding_plugin))
        names = [(int(command), command.name) for command in Command]
        counters = CommandCounters(loop.now, names, cached=int(Command.SNIPPET_GET))
        scratch = mmap.mmap(-1, _SCRATCH_BYTES, mmap.MAP_PRIVATE)  # pages that were never written take no memory
        return CoreContext(loop, self.config, log, quotas, memoryview(scratch), counters)

    def _open_store(self, stack: contextlib.ExitStack) -> Store:
        self._pools: dict[str, WorkerPool] = {}
        timing, runtime_dir = self.config.timing, self.config.runtime_dir
        context = StoreContext(
            loop=self.loop,
            data_dir=self.config.data_dir,
            runtime_dir=runtime_dir,
            core_name=f"{os.uname().nodename}:{runtime_dir}",
            open_workers=partial(self._open_workers, stack),
            max_workers=self.config.max_workers,
            deadlines=Deadlines(
                Deadline(timing.search_timeout, "timing.search_timeout"),
                Deadline(timing.job_timeout, "timing.job_timeout"),
            ),
            max_events=self.config.limits.queued_events,
            max_changes=self.config.limits.kept_changes,
            on_news=self._on_news,
            warn=self.log.error,
            registry=self._registry_digests,
        )
        store = open_store(self.config.store, context)
        stack.callback(store.close)
        return store

    def _open_workers(
        self, stack: contextlib.ExitStack, handlers: Mapping[str, str], count: int, name: str = "workers"
    ) -> WorkerPool:
        memory = self.config.limits.worker_memory
        launch = partial(self._launcher.launch_worker, memory, {**handlers, **json_checks.HANDLERS})
        pool = WorkerPool(self.loop, launch, count, memory, self._context.log)
        stack.callback(pool.close)
        self._pools[name] = pool
        return pool

    def _build(self, stack: contextlib.ExitStack) -> None:
        context, log = self._context, self._context.log
        job_timeout = Deadline(self.config.timing.job_timeout, "timing.job_timeout")
        workers = self._pools.get("workers") or self._open_workers(stack, {}, self.config.max_workers)
        self._checks = JsonChecks(workers, job_timeout)
        self._hooks = PluginHooks(context, self.store, self._checks)
        self._mesh = Mesh(
            self._folder.fifos,
            self._folder.peers,
            self.loop,
            self._wake,
            log,
            _max_fifos(self.config.limits.connections),
        )
        stack.callback(self._mesh.close)
        self._callbacks = PluginCallbacks(context, self._hooks, self._mesh)
        self.supervisor = context.supervisor = Supervisor(self.loop, self.config, self._launcher, self._callbacks, log)
        self._signals = SignalSender(self.loop, self.supervisor, context.endpoints)
        self.supervisor.orphans.register()
        stack.callback(self.supervisor.orphans.close)
        people = People(self.config.groups, os.geteuid())
        self._identity = Identity(people, self.supervisor.owner_of, self._callbacks.caller_of, log)
        monitor = context.monitor = Monitor(context, self._folder.monitor_socket, self._identity.caller_of)
        stack.callback(monitor.close)
        stack.callback(self._callbacks.close)
        self._watchers = Watchers(self.store, self.loop, log, self._commands_of)
        cache = ResponseCache(self.store, self.loop, context.counters)
        forwarder = context.forwarder = Forwarder(context, self._checks.inputs, self._on_exception)
        fast_paths: dict[Command, FastPath] = {
            Command.SNIPPET_GET: cache.take,
            Command.SNIPPET_CREATE: Creates(context, self.store, self._hooks.filters, self._on_exception).take,
            Command.PLUGIN_SEND: forwarder.take,
        }
        router = context.dispatcher = Router(self._command_handlers(cache), fast_paths, self._on_exception, log)
        layers = {"mode": self.config.sandbox, **self._sandbox.layers.as_json()}
        pools = {name: pool.stats for name, pool in self._pools.items()}
        self._stats = Stats(context, self.store, router, pools, layers)

    def _command_handlers(self, cache: ResponseCache) -> dict[Command, Handler]:
        return {
            **connections.handlers(self._identity, self._context.log),
            **content.handlers(self.store, self._hooks.filters, cache, self._watchers),
            **plugins.handlers(
                self.store,
                self.supervisor,
                self._context.endpoints,
                self._hooks,
                self._system_stats,
                self._reload_registry,
                self._checks,
                self._signals,
            ),
        }

    def _listen(self, inherited: int | None, stack: contextlib.ExitStack) -> ClientListener:
        path, group_id = self._folder.core_socket, group_id_of(self.config.socket_group)
        caller_of = self._identity.caller_of
        listener = ClientListener(self._context, path, group_id, caller_of, self._on_client_signal, inherited)
        stack.callback(listener.close)
        write_pid_file(self._folder.core_pid_file, os.getpid())
        stack.callback(self._folder.core_pid_file.unlink, missing_ok=True)
        return listener

    # Callbacks of the parts.

    def _on_client_signal(self, connection: Connection, frame: Frame) -> None:
        """Handle PLUGIN_SIGNAL, which gets no response."""
        if Command.PLUGIN_SIGNAL not in connection.caller.commands:
            raise PermissionDenied(f"{connection.caller.name} may not send signals")
        broadcast = bool(frame.flags & Flag.BROADCAST)
        self._signals.send(
            SignalMessage.unpack(frame.payload), lambda: None, connection.log_failure, broadcast=broadcast
        )

    def _registry_digests(self) -> dict[str, str]:
        """What is the same on every machine of a row, to compare cores that share a store."""
        return {name: plugin.newest_row.shared for name, plugin in self.supervisor.plugins.items()}

    def _system_stats(self) -> dict[str, Any]:
        stats = self._stats(len(self._listener.connections), self._listener.accepted)
        return stats | {"schedules": self._hooks.schedules.stats()} | self.restarts

    def _reload_registry(self, done: Reported, failed: Callable[[ReedError], None], report: bool = False) -> None:
        def ended(callback: Callable[[Any], None], outcome: object) -> None:
            self._watchers.refresh()
            self._callbacks.on_reloaded()  # also after a failure, because other plugins may have changed
            callback(outcome)

        self.supervisor.reload(partial(ended, done), partial(ended, failed), report=report)

    def _commands_of(self, plugin: str) -> frozenset[int] | None:
        endpoint = self._context.endpoints.get(plugin)
        return None if endpoint is None else endpoint.caller.commands

    def _commit(self) -> None:
        self.store.commit()
        if self.store.has_work:
            self.loop.add_job(self.store.work)

    # Methods, because the parts they call are built after those that call them.

    def _on_news(self) -> None:
        self._hooks.events.deliver()

    def _wake(self, name: str) -> None:
        self.supervisor.wake(name)

    def _on_zygote_death(self) -> None:
        self.supervisor.orphans.sweep()

    def _kill_flooding_plugin(self, name: str, reason: str) -> None:
        self.loop.call_soon(partial(self.supervisor.kill, name, reason))

    def _on_exception(self, error: BaseException) -> None:
        self._context.log.bug(error)


def _max_fifos(connections: int) -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(limit - connections - _RESERVED_DESCRIPTORS, limit // 2)
