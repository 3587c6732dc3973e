"""All plugins of the registry, and their processes by pid.

A plugin without a folder or with an invalid manifest is `failed`; the core starts all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from reed.config import Config
from reed.errors import PluginNotFound, PluginOffline, ReedError
from reed.loop.loop import Loop
from reed.peer_log import THE_CORE, PeerLog
from reed.supervision import installation, registry_csv, status
from reed.supervision.adoption import Adoption
from reed.supervision.callbacks import Callbacks, Done, Failed, Process, SupervisionContext, nothing
from reed.supervision.launch_spec import Launcher
from reed.supervision.lifecycle import State, Trigger
from reed.supervision.orphans import Orphans
from reed.supervision.plugin import Plugin
from reed.supervision.reload_report import ReloadReport, Reported
from reed.supervision.row_changes import RegistryReload, RowChanges
from reed.text import safe
from reed.wire.codes import Signal

__all__ = ["Plugin", "Supervisor"]

_MAX_MEASURED = 16  # plugins whose memory is measured in one turn

_TRIGGER_OF = {
    Signal.PLUGIN_READY: Trigger.READY,
    Signal.PLUGIN_BUSY: Trigger.BUSY,
    Signal.PLUGIN_SLEEPING: Trigger.SLEEPING,
}


def _random() -> float:
    return int.from_bytes(os.urandom(4)) / 2**32  # the module `random` loads much that nothing else needs


class Supervisor:
    """`plugins` has every plugin by name, in file order."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        launcher: Launcher,
        callbacks: Callbacks,
        log: PeerLog,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _random,
    ) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._context = SupervisionContext(loop, config, launcher, callbacks, log, clock, random, self._exited)
        self.orphans = Orphans(
            loop, log, self._context.processes.keys(), launcher.zygotes, launcher.is_launching, self._check_closed
        )
        self._changes = RowChanges(self.plugins, self._context)
        self._changes.on_left = self._check_closed
        self._reload = RegistryReload(loop, self._changes.steps)
        self._leaving = self._changes.leaving
        self._to_start: set[str] = set()  # not adopted
        self._on_closed: Done | None = None

    def load_registry(self) -> None:
        """Also adopts or kills the processes of an earlier core. Raises RegistryError."""
        config = self._context.config
        for line in installation.recover(config.plugin_dirs, config.registry):
            self._context.log.warning("%s", line, peer=THE_CORE)
        rows = registry_csv.load(config.registry, config.runtime_dir)
        pid_files = config.runtime_dir / "pid" / "plugins"
        for folder in (config.data_dir / "logs", pid_files):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        adoption = Adoption(pid_files, self._context.log)
        for row in rows:
            plugin = self._changes.add(row)
            found = adoption.take(plugin.name, plugin.spec.fingerprint() if plugin.spec else "")
            if found is not None:
                plugin.adopt(found)
        adoption.clear({name for name, plugin in self.plugins.items() if plugin.pid is not None})
        self._to_start = adoption.to_start
        for session in adoption.sessions:
            self.orphans.clear_session(session)

    def reload(self, done: Reported, failed: Callable[[ReedError], None], *, report: bool = False) -> None:
        """Read the rows again. `failed` gets RegistryError of an invalid file, and nothing has changed then.

        `done` is called when each running plugin is as its row and folder say; `failed` gets Invalid if one is not.
        With `report`, `done` is called in any case, once those that were started are ready or have failed.
        """
        self._reload.request(lambda: _answer(self._changes.report, done, failed, report=report), failed)

    def auto_start(self) -> None:
        to_start, self._to_start = self._to_start, set()
        for plugin in list(self.plugins.values()):
            if plugin.state is State.STOPPED and (plugin.row.auto_start or plugin.name in to_start):
                plugin.start(nothing, nothing)

    # Requests: `failed` gets PluginNotFound or PluginOffline

    def start(self, name: str, done: Done, failed: Failed) -> None:
        plugin = self._find(name, failed)
        if plugin is not None and self._on_closed is not None:
            failed(PluginOffline(f"plugin {name}: the core is stopping"))
        elif plugin is not None:
            plugin.start(done, failed)

    def stop(self, name: str, done: Done, failed: Failed) -> None:
        plugin = self._find(name, failed)
        if plugin is not None:
            plugin.stop(done, failed)

    def replace(self, name: str, done: Reported, failed: Failed, *, report: bool = False) -> None:
        """Replace the running process, changed or not."""
        plugin, found = self._find(name, failed), ReloadReport()
        if plugin is not None:
            self._changes.reload(plugin, found, always=True)
            _answer(found, done, failed, report=report)

    def kill(self, name: str, reason: str) -> None:
        """Backoff starts the plugin again."""
        if name in self.plugins:
            self.plugins[name].handle(Trigger.HUNG, f"killed: {reason}")

    def wake(self, name: str) -> None:
        if name in self.plugins:
            self.plugins[name].handle(Trigger.WAKE)

    def shutdown(self, done: Done) -> None:
        """`done` is called once no process is left."""
        self._on_closed = done
        self._changes.closing = True
        for plugin in [*self.plugins.values(), *self._leaving.values()]:
            plugin.stop(nothing, nothing)
        self._check_closed()

    # Events and queries from the core

    def on_signal(self, process: Process, signal: Signal, data: bytes) -> None:
        plugin = self.plugins.get(process.name) or self._leaving.get(process.name)
        if plugin is None:
            return
        if signal == Signal.PLUGIN_ERROR:
            plugin.error_data = data
            plugin.last_error = safe(data.decode("utf-8", "replace")[:500]) or "PLUGIN_ERROR"
            self._context.log.warning(
                "%s: PLUGIN_ERROR: %s", process.name, plugin.last_error, peer=f"plugin {process.name}"
            )
        elif signal in _TRIGGER_OF:
            plugin.signalled(process, _TRIGGER_OF[signal])

    def on_disconnect(self, name: str) -> None:
        if name in self.plugins:
            self.plugins[name].handle(Trigger.DISCONNECTED)

    def process_of(self, pid: int) -> Process | None:
        """Not a dropped one. A pid is not reused before it is reaped."""
        process = self._context.processes.get(pid)
        return process if process is not None and process.exists else None

    def owner_of(self, pid: int) -> str | None:
        process = self.process_of(pid)
        return None if process is None else process.name

    def has_row(self, name: str) -> bool:
        """Also true while the process of its earlier row is still ending."""
        return name in self.plugins or name in self._changes.successors

    def describe(self, name: str | None = None) -> list[dict[str, Any]]:
        chosen = [plugin for plugin in self.plugins.values() if not name or plugin.name == name]
        now = self._context.loop.now()
        return [status.health(plugin, now, fresh=len(chosen) <= _MAX_MEASURED) for plugin in chosen]

    def permission_report(self, name: str) -> dict[str, Any]:
        return status.permission_report(self.plugins[name], self._context.config)

    def _find(self, name: str, failed: Failed) -> Plugin | None:
        if name in self.plugins:
            return self.plugins[name]
        if name in self._leaving:
            failed(PluginOffline(f"plugin {name} is being stopped because its row changed", hint="retry in a moment"))
        else:
            failed(PluginNotFound.named(name, self.plugins))
        return None

    def _exited(self, pid: int, may_have_forked: bool) -> None:
        if may_have_forked:
            self.orphans.clear_session(pid)
        else:  # a sweep reads the whole of /proc
            self._check_closed()

    def _check_closed(self) -> None:
        is_last = not self._context.processes and not self._leaving and not self.orphans.remain
        if self._on_closed is not None and is_last:
            done, self._on_closed = self._on_closed, nothing
            done()


def _answer(found: ReloadReport, done: Reported, failed: Failed, *, report: bool) -> None:
    if report:
        found.when_complete(done)
    else:
        found.when_renewed(done, failed)
