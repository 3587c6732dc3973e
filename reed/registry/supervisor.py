"""All plugins of the registry: loading and reloading its rows, starting, stopping, and knowing whose a process is.

    rows (plugin-registry.csv) ── Supervisor ── one Plugin each (plugin, with the table of lifecycle)
                                      │ hooks
                                    the core

A reload changes nothing when the file is bad. Then, row by row:

    gone                              the plugin is stopped; on_removed
    new                               on_added; started with auto_start
    another type or socket            stopped; on_removed; on_added; started again if it ran
    anything else that a process      if it runs, a new process is launched beside the old one and takes over when it is
    gets: row, manifest, settings,    READY, or is refused, and then the old one stays with all it had (renewal)
    code (folders)
    else                              the new row holds at once (groups, description, auto_start)

A plugin without folder or with a bad manifest is `failed` with that reason, and never keeps the core from starting.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from reed.config import Config
from reed.errors import ManifestError, PluginNotFound, PluginOffline, ReedError, nearest
from reed.loop.loop import Loop
from reed.registry import rows
from reed.registry.figures import figures
from reed.registry.grounds import grounds
from reed.registry.hooks import Hooks, Process, Tools, nothing
from reed.registry.leftovers import Leftovers
from reed.registry.lifecycle import Event, State
from reed.registry.manifest import Manifests
from reed.registry.orphans import Orphans
from reed.registry.plugin import Plugin
from reed.registry.processes import Launcher
from reed.registry.reloading import Reloading, Steps
from reed.registry.rows import Row
from reed.registry.waiting import Done, Failed, Gathering
from reed.wire.codes import Signal

__all__ = ["Hooks", "Plugin", "Supervisor"]

_FEW = 16  # so many plugins' memory is read at once without a long turn

_EVENT_OF = {
    Signal.PLUGIN_READY: Event.READY,
    Signal.PLUGIN_BUSY: Event.BUSY,
    Signal.PLUGIN_SLEEPING: Event.SLEEPING,
}


class Supervisor:
    """See the module. `plugins` holds every plugin of the registry, by name, in its order."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        launcher: Launcher,
        hooks: Hooks,
        log: logging.Logger,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._tools = Tools(loop, config, launcher, hooks, log, clock, random, Manifests(), {}, self._ended)
        self.orphans = Orphans(
            loop, log, self._tools.runs.keys(), launcher.nurseries, launcher.is_launching, self._check_closed
        )
        self._reloading = Reloading(loop, self._reload_steps)
        self._renewals = Gathering()  # of the last reading
        self._leaving: dict[str, Plugin] = {}  # being stopped for good
        self._successors: dict[str, _Successor] = {}  # what takes the name of one that is leaving
        self._ran: set[str] = set()  # under the core before: they are started anew
        self._closing: Done | None = None

    # The registry.

    def load_registry(self) -> None:
        """Read the rows for the first time. Processes that an earlier core left behind are adopted or killed."""
        self.load(rows.load(self._tools.config.registry, self._tools.config.runtime_dir))

    def load(self, found: list[Row]) -> None:
        """Take these rows as the registry of a new core."""
        self._make_folders()
        left = Leftovers(self._tools.config.runtime_dir / "pid" / "plugins", self._tools.log)
        for row in found:
            plugin = self._add(row)
            process = left.take(plugin.name, plugin.plan.digest(plugin.row) if plugin.plan else "")
            if process is not None:
                plugin.adopt(process)
        left.clear({name for name, plugin in self.plugins.items() if plugin.pid is not None})
        self._ran = left.ran
        for session in left.sessions:
            self.orphans.clear_session(session)

    def reload(self, done: Done, failed: Callable[[ReedError], None]) -> None:
        """Read the rows again, in slices; `failed` gets RegistryError of a bad file: nothing has changed then.

        `done` when each plugin that runs is as its row and its folder say, `failed` with Invalid if one is not.
        """
        self._reloading.ask(lambda: self._renewals.when_over(done, failed), failed)

    def _reload_steps(self) -> Steps:
        found = yield from rows.steps(self._tools.config.registry, self._tools.config.runtime_dir)
        new = {row.plugin_name: row for row in found}
        self._renewals = Gathering()
        self._successors = {name: next_ for name, next_ in self._successors.items() if name in new}
        for name in list(self.plugins):
            if name not in new and name in self.plugins:
                self._remove(self.plugins[name])
                yield
        for name, row in new.items():
            if self._closing is not None:
                return
            if name in self._leaving:
                self._successors[name] = _Successor(row, name in self._successors and self._successors[name].start)
            elif name in self.plugins:
                self._update(self.plugins[name], row)
            else:
                self._start_added(self._add(row))
            yield

    def auto_start(self) -> None:
        """Start every plugin whose row says so, and those that ran and could not be adopted."""
        ran, self._ran = self._ran, set()
        for plugin in list(self.plugins.values()):
            if plugin.name in ran and plugin.state is State.STOPPED:
                plugin.start(nothing, nothing)
            else:
                self._start_added(plugin)

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

    def restart(self, name: str, done: Done, failed: Failed) -> None:
        """Stop it if it runs, then start it; `done` when it is READY."""
        self.stop(name, lambda: self.start(name, done, failed), failed)

    def renew(self, name: str, done: Done, failed: Failed) -> None:
        """Launch it anew beside the process that runs, changed or not; `done` when calls go to the new one."""
        plugin = self._find(name, failed)
        if plugin is not None:
            plugin.renew(done, failed, always=True)

    def kill(self, name: str, reason: str) -> None:
        """It hangs: kill its process. The table then starts it again."""
        if name in self.plugins:
            self.plugins[name].take(Event.HUNG, f"killed: {reason}")

    def wake(self, name: str) -> None:
        """There is something to do for it: if it sleeps, it is woken, or launched when it has no process."""
        if name in self.plugins:
            self.plugins[name].take(Event.WAKE)

    def shutdown(self, done: Done) -> None:
        """Stop all; `done` when no process is left."""
        self._closing = done
        for plugin in [*self.plugins.values(), *self._leaving.values()]:
            plugin.stop(nothing, nothing)
        self._check_closed()

    # What the core tells. It has checked that it comes from the plugin's present process.

    def on_signal(self, run: Process, signal: Signal, data: bytes) -> None:
        plugin = self.plugins.get(run.name) or self._leaving.get(run.name)
        if plugin is None:
            return
        if signal == Signal.PLUGIN_ERROR:
            plugin.error_data = data
            plugin.last_error = data.decode("utf-8", "replace")[:500] or "PLUGIN_ERROR"
            self._tools.log.warning("%s: PLUGIN_ERROR: %s", run.name, plugin.last_error)
        elif signal in _EVENT_OF:
            plugin.signalled(run, _EVENT_OF[signal])

    def on_disconnect(self, name: str) -> None:
        """Its last connection was closed."""
        if name in self.plugins:
            self.plugins[name].disconnected()

    # What the core asks.

    def run_of(self, pid: int) -> Process | None:
        """The plugin's process of that pid, if it was not given up. A pid is nobody else's until it was waited for."""
        run = self._tools.runs.get(pid)
        return run if run is not None and run.is_there else None

    def owner_of(self, pid: int) -> str | None:
        """The plugin that this process belongs to."""
        run = self.run_of(pid)
        return None if run is None else run.name

    def has_row(self, name: str) -> bool:
        """Is it in the registry? Also while the process that an older row started has yet to end."""
        return name in self.plugins or name in self._successors

    def describe(self, name: str | None = None) -> list[dict[str, Any]]:
        """Figures of one plugin or of all, for PLUGIN_HEALTH; see `figures`."""
        chosen = [plugin for plugin in self.plugins.values() if not name or plugin.name == name]
        now = self._tools.loop.now()
        return [figures(plugin, now, fresh=len(chosen) <= _FEW) for plugin in chosen]

    def grounds_of(self, name: str) -> dict[str, Any]:
        """Why it may what it may; see `grounds`."""
        return grounds(self.plugins[name], self._tools.config)

    # How rows come and go.

    def _make_folders(self) -> None:
        config = self._tools.config
        (config.data_dir / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        pid_files = config.runtime_dir / "pid" / "plugins"
        pid_files.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _add(self, row: Row) -> Plugin:
        plugin = Plugin(row, self._tools)
        self.plugins[row.plugin_name] = plugin
        self._tools.hooks.on_added(plugin.name)
        try:
            plugin.look()
        except ManifestError as error:
            plugin.take(Event.LAUNCH_FAILED, str(error))
        return plugin

    def _start_added(self, plugin: Plugin) -> None:
        if plugin.row.auto_start and plugin.state is State.STOPPED:
            plugin.start(nothing, nothing)

    def _update(self, plugin: Plugin, row: Row) -> None:
        """Its row stands there still, perhaps with other contents."""
        if (row.plugin_type, row.socket_path) != (plugin.row.plugin_type, plugin.row.socket_path):
            ran = plugin.state not in {State.STOPPED, State.FAILED}
            self._successors[row.plugin_name] = _Successor(row, ran)
            self._remove(plugin)
            return
        plugin.set_row(row)
        if plugin.state not in {State.STOPPED, State.FAILED}:
            plugin.renew(*self._renewals.one())
            return
        try:
            plugin.look()
        except ManifestError as error:
            plugin.take(Event.STOP)
            plugin.take(Event.LAUNCH_FAILED, str(error))
            return
        if plugin.state is State.FAILED:
            plugin.take(Event.STOP)
            self._start_added(plugin)

    def _remove(self, plugin: Plugin) -> None:
        """Stop it for good. Its successor, if there is one, comes when it is gone."""
        name = plugin.name
        self._leaving[name] = self.plugins.pop(name)

        def gone() -> None:
            del self._leaving[name]
            self._tools.hooks.on_removed(name)
            successor = self._successors.pop(name, None)
            if successor is not None and self._closing is None:
                new = self._add(successor.row)
                if successor.start and new.state is State.STOPPED:
                    new.start(nothing, nothing)
                else:
                    self._start_added(new)

        plugin.stop(gone, nothing)

    def _find(self, name: str, failed: Failed) -> Plugin | None:
        if name in self.plugins:
            return self.plugins[name]
        if name in self._leaving:
            failed(PluginOffline(f"plugin {name} is being stopped: its row was changed", hint="try again in a moment"))
        else:
            hint = nearest(name, self.plugins) or "`reed plugin list` shows all"
            failed(PluginNotFound(f"no plugin {name!r} in the registry", hint=hint))
        return None

    def _ended(self, pid: int) -> None:
        """A process ended, the leader of its session: what it left behind follows it."""
        self.orphans.clear_session(pid)

    def _check_closed(self) -> None:
        """Is the last process of a core that stops gone?"""
        is_last = not self._tools.runs and not self._leaving and not self.orphans.left
        if self._closing is not None and is_last:
            done, self._closing = self._closing, nothing
            done()


class _Successor(NamedTuple):
    row: Row
    start: bool  # the one before it ran
