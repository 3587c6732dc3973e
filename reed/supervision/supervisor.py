"""All plugins of the registry: loading and reloading its rows, starting, stopping, and knowing whose a process is.

    rows (plugin-registry.csv) ── Supervisor ── one Plugin each (plugin, with the table of lifecycle)
                                      │ callbacks
                                    the core

A reload changes nothing when the file is bad; what it does with each row is in `row_changes`.

A plugin without folder or with a bad manifest is `failed` with that reason, and never keeps the core from starting.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from reed.config import Config
from reed.errors import PluginNotFound, PluginOffline, ReedError, nearest
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision import registry_csv
from reed.supervision.adoption import Adoption
from reed.supervision.callbacks import Callbacks, Process, Tools, nothing
from reed.supervision.launch_spec import Launcher
from reed.supervision.lifecycle import State, Trigger
from reed.supervision.manifest import Manifests
from reed.supervision.orphans import Orphans
from reed.supervision.plugin import Plugin
from reed.supervision.registry_csv import Row
from reed.supervision.registry_reload import RegistryReload
from reed.supervision.reload_report import ReloadReport, Reported
from reed.supervision.row_changes import RowChanges
from reed.supervision.status import figures, permission_report
from reed.supervision.waiters import Done, Failed
from reed.text import safe
from reed.wire.codes import Signal

__all__ = ["Callbacks", "Plugin", "Supervisor"]

_FEW = 16  # so many plugins' memory is read at once without a long turn

_TRIGGER_OF = {
    Signal.PLUGIN_READY: Trigger.READY,
    Signal.PLUGIN_BUSY: Trigger.BUSY,
    Signal.PLUGIN_SLEEPING: Trigger.SLEEPING,
}


class Supervisor:
    """See the module. `plugins` holds every plugin of the registry, by name, in its order."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        launcher: Launcher,
        callbacks: Callbacks,
        log: PeerLog,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._tools = Tools(loop, config, launcher, callbacks, log, clock, random, Manifests(), {}, self._exited)
        self.orphans = Orphans(
            loop, log, self._tools.processes.keys(), launcher.zygotes, launcher.is_launching, self._check_closed
        )
        self._changes = RowChanges(self.plugins, self._tools)
        self._reload = RegistryReload(loop, self._changes.steps)
        self._leaving = self._changes.leaving
        self._to_start: set[str] = set()  # they ran under the core before
        self._closing: Done | None = None

    # The registry.

    def load_registry(self) -> None:
        """Read the rows for the first time. Processes that an earlier core left behind are adopted or killed."""
        self.load(registry_csv.load(self._tools.config.registry, self._tools.config.runtime_dir))

    def load(self, rows: list[Row]) -> None:
        """Take these rows as the registry of a new core."""
        self._make_folders()
        adoption = Adoption(self._tools.config.runtime_dir / "pid" / "plugins", self._tools.log)
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
        """Read the rows again, in slices; `failed` gets RegistryError of a bad file: nothing has changed then.

        `done` when each plugin that runs is as its row and its folder say, `failed` with Invalid if one is not. With
        `report`, `done` in any case, once those that were started are ready or have failed too.
        """
        self._reload.ask(lambda: _answer(self._changes.report, done, failed, report=report), failed)

    def auto_start(self) -> None:
        """Start every plugin whose row says so, and those that ran and could not be adopted."""
        to_start, self._to_start = self._to_start, set()
        for plugin in list(self.plugins.values()):
            if plugin.state is State.STOPPED and (plugin.row.auto_start or plugin.name in to_start):
                plugin.start(nothing, nothing)

    # What may be asked. `failed` gets PluginNotFound or PluginOffline.

    def start(self, name: str, done: Done, failed: Failed) -> None:
        """`done` when it is READY: at once if it is."""
        plugin = self._find(name, failed)
        if plugin is not None and self._closing is not None:
            failed(PluginOffline(f"plugin {name}: the core is stopping"))
        elif plugin is not None:
            plugin.start(done, failed)

    def stop(self, name: str, done: Done, failed: Failed) -> None:
        """`done` when its process is gone."""
        plugin = self._find(name, failed)
        if plugin is not None:
            plugin.stop(done, failed)

    def replace(self, name: str, done: Reported, failed: Failed, *, report: bool = False) -> None:
        """Launch a replacement beside the process that runs, changed or not; `done` when calls go to it."""
        plugin, found = self._find(name, failed), ReloadReport()
        if plugin is not None:
            self._changes.reload(plugin, found, always=True)
            _answer(found, done, failed, report=report)

    def kill(self, name: str, reason: str) -> None:
        """It hangs: kill its process. The table then starts it again."""
        if name in self.plugins:
            self.plugins[name].handle(Trigger.HUNG, f"killed: {reason}")

    def wake(self, name: str) -> None:
        """There is something to do for it: if it sleeps, it is woken, or launched when it has no process."""
        if name in self.plugins:
            self.plugins[name].handle(Trigger.WAKE)

    def shutdown(self, done: Done) -> None:
        """Stop all; `done` when no process is left."""
        self._closing = done
        self._changes.closing = True
        for plugin in [*self.plugins.values(), *self._leaving.values()]:
            plugin.stop(nothing, nothing)
        self._check_closed()

    # What the core tells. It has checked that it comes from the plugin's present process.

    def on_signal(self, process: Process, signal: Signal, data: bytes) -> None:
        plugin = self.plugins.get(process.name) or self._leaving.get(process.name)
        if plugin is None:
            return
        if signal == Signal.PLUGIN_ERROR:
            plugin.error_data = data
            plugin.last_error = safe(data.decode("utf-8", "replace")[:500]) or "PLUGIN_ERROR"
            self._tools.log.warning(
                "%s: PLUGIN_ERROR: %s", process.name, plugin.last_error, peer=f"plugin {process.name}"
            )
        elif signal in _TRIGGER_OF:
            plugin.signalled(process, _TRIGGER_OF[signal])

    def on_disconnect(self, name: str) -> None:
        """Its last connection was closed."""
        if name in self.plugins:
            self.plugins[name].disconnected()

    # What the core asks.

    def process_of(self, pid: int) -> Process | None:
        """The plugin's process of that pid, if it was not given up. A pid is nobody else's until it was waited for."""
        process = self._tools.processes.get(pid)
        return process if process is not None and process.is_there else None

    def owner_of(self, pid: int) -> str | None:
        """The plugin that this process belongs to."""
        process = self.process_of(pid)
        return None if process is None else process.name

    def has_row(self, name: str) -> bool:
        """Is it in the registry? Also while the process that an older row started has yet to end."""
        return name in self.plugins or name in self._changes.successors

    def describe(self, name: str | None = None) -> list[dict[str, Any]]:
        """Figures of one plugin or of all, for PLUGIN_HEALTH; see `figures`."""
        chosen = [plugin for plugin in self.plugins.values() if not name or plugin.name == name]
        now = self._tools.loop.now()
        return [figures(plugin, now, fresh=len(chosen) <= _FEW) for plugin in chosen]

    def permission_report(self, name: str) -> dict[str, Any]:
        """Which row, manifest entry or setting grants each permission."""
        return permission_report(self.plugins[name], self._tools.config)

    # How rows come and go.

    def _make_folders(self) -> None:
        config = self._tools.config
        (config.data_dir / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        pid_files = config.runtime_dir / "pid" / "plugins"
        pid_files.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _find(self, name: str, failed: Failed) -> Plugin | None:
        if name in self.plugins:
            return self.plugins[name]
        if name in self._leaving:
            failed(PluginOffline(f"plugin {name} is being stopped: its row was changed", hint="try again in a moment"))
        else:
            hint = nearest(name, self.plugins) or "`reed plugin list` shows all"
            failed(PluginNotFound(f"no plugin {name!r} in the registry", hint=hint))
        return None

    def _exited(self, pid: int) -> None:
        """A process ended, the leader of its session: what it left behind follows it."""
        self.orphans.clear_session(pid)

    def _check_closed(self) -> None:
        """Is the last process of a core that stops gone?"""
        is_last = not self._tools.processes and not self._leaving and not self.orphans.left
        if self._closing is not None and is_last:
            done, self._closing = self._closing, nothing
            done()


def _answer(found: ReloadReport, done: Reported, failed: Failed, *, report: bool) -> None:
    if report:
        found.when_complete(done)
    else:
        found.when_renewed(done, failed)
