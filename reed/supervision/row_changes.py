"""Reload of the registry: what happens to the plugins whose rows come, change or go.

    row gone                   stopped; on_removed
    new row                    on_added; started with auto_start
    another type or socket     stopped; on_removed; on_added; started again if it ran
    another version,           a running plugin gets a new process (replacement)
    permissions, files
    anything else              applies at once

The whole file is read before a plugin changes, so a bad row changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from reed.errors import Invalid, ManifestError, PluginOffline, ReedError
from reed.loop.loop import Loop
from reed.peer_log import THE_CORE
from reed.supervision import installation, registry_csv
from reed.supervision.callbacks import Done, SupervisionContext, Waiters, nothing
from reed.supervision.launch_spec import Specification
from reed.supervision.lifecycle import AT_REST, State, Trigger
from reed.supervision.plugin import Plugin
from reed.supervision.registry_csv import Row
from reed.supervision.reload_report import Pending, ReloadReport

Steps = Iterator[None]


def run_steps(loop: Loop, steps: Steps, then: Callable[[ReedError | None], None]) -> None:
    """As a job of the loop, interruptible at each yield."""

    def work(until: float) -> bool:
        try:
            for _ in steps:
                if loop.now() >= until:
                    return True
        except ReedError as error:
            then(error)
        except Exception as bug:
            then(ReedError(f"a bug in the core: {type(bug).__name__}", hint="its traceback is in the log"))
            raise
        else:
            then(None)
        return False

    loop.add_job(work)


class RegistryReload:
    """Runs `steps`, which raise ReedError only before any change.

    Requests during a reload wait for the next one, because the file may have changed since.
    """

    def __init__(self, loop: Loop, steps: Callable[[], Steps]) -> None:
        self._loop = loop
        self._make_steps = steps
        self._is_running = False
        self._current: Waiters[ReedError] = Waiters()
        self._next: Waiters[ReedError] = Waiters()

    def request(self, done: Done, failed: Callable[[ReedError], None]) -> None:
        self._next.add(done, failed)
        if not self._is_running:
            self._begin()

    def _begin(self) -> None:
        self._is_running = True
        self._next.move_to(self._current)
        run_steps(self._loop, self._make_steps(), self._end)

    def _end(self, error: ReedError | None) -> None:
        self._is_running = False
        if error is None:
            self._current.done()
        else:
            self._current.fail(error)
        if self._next and not self._is_running:
            self._begin()


class RowChanges:
    """`plugins` is the supervisor's own dict. `report` is that of the newest reload."""

    def __init__(self, plugins: dict[str, Plugin], context: SupervisionContext) -> None:
        self.leaving: dict[str, Plugin] = {}  # being stopped, without a row
        self.successors: dict[str, _Successor] = {}  # waiting until the plugin with their name has left
        self.report = ReloadReport()
        self.closing = False
        self.on_left: Done = nothing  # a plugin is no longer `leaving`
        self._plugins = plugins
        self._context = context

    def steps(self) -> Steps:
        config = self._context.config
        for line in installation.recover(config.plugin_dirs, config.registry):
            self._context.log.warning("%s", line, peer=THE_CORE)
            yield
        new: dict[str, Row] = {}
        for row in registry_csv.read_rows(config.registry, config.runtime_dir):
            if row is not None:
                new[row.plugin_name] = row
            yield
        self.report = ReloadReport()
        for name in [name for name in self.successors if name not in new]:
            self.successors.pop(name).cancel("its row was removed")
        for name in list(self._plugins):
            if name not in new and name in self._plugins:
                self._remove(self._plugins[name])
                self.report.add(name, "removed")
                yield
        for name, row in new.items():
            if self.closing:
                return
            if name in self.leaving:
                self._add_successor(row, start=name in self.successors and self.successors[name].start)
            elif name in self._plugins:
                self._update(self._plugins[name], row)
            else:
                yield from self._context.callbacks.on_adding(name)
                if self.closing:
                    return
                self._start_added(self.add(row), self.report.expect(name))
            yield

    def add(self, row: Row) -> Plugin:
        plugin = Plugin(row, self._context)
        self._plugins[row.plugin_name] = plugin
        self._context.callbacks.on_added(plugin.name)
        try:
            plugin.refresh()
        except ManifestError as error:
            plugin.reject(error)
        return plugin

    def reload(
        self, plugin: Plugin, report: ReloadReport, before: Specification | None = None, *, always: bool = False
    ) -> None:
        """`before` is the specification before the row was read again.

        A plugin in backoff is started at once, because somebody may have repaired it.
        """
        if plugin.state is State.BACKOFF:
            pending = report.expect(plugin.name)
            plugin.start(partial(pending.done, "started"), pending.failed)
            return
        pending = report.expect(plugin.name, runs=True)
        generation, before = plugin.generation, before or plugin.spec

        def renewed() -> None:
            if plugin.generation != generation:
                pending.done("renewed")
            else:
                pending.done("" if plugin.spec == before else "updated")

        plugin.reload(renewed, pending.failed, always=always)

    def _start_added(self, plugin: Plugin, pending: Pending, otherwise: str = "added", *, start: bool = False) -> None:
        """`otherwise` is the result if the plugin is not started."""
        if plugin.state is State.FAILED:
            pending.failed(PluginOffline(f"plugin {plugin.name}: {plugin.reason}"))
        elif plugin.state is State.STOPPED and (start or plugin.row.auto_start):
            plugin.start(partial(pending.done, "started"), pending.failed)
        else:
            pending.done(otherwise)

    def _update(self, plugin: Plugin, row: Row) -> None:
        if (row.plugin_type, row.socket_path) != (plugin.row.plugin_type, plugin.row.socket_path):
            self._add_successor(row, start=plugin.state not in AT_REST)
            self._remove(plugin)
            return
        before = plugin.spec
        plugin.set_row(row)
        if plugin.state not in AT_REST:
            self.reload(plugin, self.report, before)
            return
        pending, had_failed = self.report.expect(plugin.name), plugin.state is State.FAILED
        try:
            plugin.refresh()
        except ManifestError as error:
            plugin.reject(error)
            pending.failed(PluginOffline(f"plugin {plugin.name}: {error}"))
            return
        if had_failed:
            plugin.handle(Trigger.STOP)
            self._start_added(plugin, pending, "updated")
        else:
            pending.done("" if plugin.spec == before else "updated")

    def _add_successor(self, row: Row, *, start: bool) -> None:
        if row.plugin_name in self.successors:
            self.successors[row.plugin_name].cancel("its row was changed once more")
        self.successors[row.plugin_name] = _Successor(row, start, self.report.expect(row.plugin_name))

    def _remove(self, plugin: Plugin) -> None:
        name = plugin.name
        self.leaving[name] = self._plugins.pop(name)

        def gone() -> None:
            self._context.callbacks.on_removed(name)
            if name in self.successors and not self.closing:
                # `add` meets the same error as the steps, and reports it.
                run_steps(self._context.loop, self._context.callbacks.on_adding(name), left)
            else:
                left()

        def left(_: ReedError | None = None) -> None:
            del self.leaving[name]
            successor = self.successors.pop(name, None)
            if successor is not None and self.closing:
                successor.cancel("the core is stopping")
            elif successor is not None:
                self._start_added(self.add(successor.row), successor.pending, "updated", start=successor.start)
            self.on_left()

        plugin.stop(gone, nothing)


class _Successor(NamedTuple):
    row: Row
    start: bool  # its predecessor ran
    pending: Pending

    def cancel(self, reason: str) -> None:
        self.pending.failed(Invalid(f"plugin {self.row.plugin_name} was not started: {reason}"))
