"""Rows that come, change and go: what a reload of the registry does with the plugins.

    gone                              the plugin is stopped; on_removed
    new                               on_added; started with auto_start
    another type or socket            stopped; on_removed; on_added; started again if it ran
    anything else that a process      if it runs, a new process is launched beside the old one and takes over when it is
    gets: row, manifest, settings,    READY, or is refused, and then the old one stays with all it had (replacement)
    code (folders)
    else                              the new row holds at once (groups, description, auto_start)

`report` is that of the newest reading; it is complete later, when the processes that were launched are ready.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from reed.errors import Invalid, ManifestError, PluginOffline
from reed.supervision import registry_csv
from reed.supervision.callbacks import Tools, nothing
from reed.supervision.launch_spec import Specification
from reed.supervision.lifecycle import State, Trigger
from reed.supervision.plugin import Plugin
from reed.supervision.registry_csv import Row
from reed.supervision.registry_reload import Steps
from reed.supervision.reload_report import Pending, ReloadReport

_AT_REST = frozenset({State.STOPPED, State.FAILED})


class RowChanges:
    """See the module. `plugins` is the supervisor's own dict: this class adds to it and removes from it."""

    def __init__(self, plugins: dict[str, Plugin], tools: Tools) -> None:
        self.leaving: dict[str, Plugin] = {}  # being stopped for good
        self.successors: dict[str, _Successor] = {}  # what takes the name of one that is leaving
        self.report = ReloadReport()
        self.closing = False
        self._plugins = plugins
        self._tools = tools

    def steps(self) -> Steps:
        """Read the rows again and change the plugins. RegistryError of a bad file: nothing has changed then."""
        found = yield from registry_csv.steps(self._tools.config.registry, self._tools.config.runtime_dir)
        new = {row.plugin_name: row for row in found}
        self.report = ReloadReport()
        for name in [name for name in self.successors if name not in new]:
            self.successors.pop(name).overtaken("its row was removed")
        for name in list(self._plugins):
            if name not in new and name in self._plugins:
                self._remove(self._plugins[name])
                self.report.add(name, "removed")
                yield
        for name, row in new.items():
            if self.closing:
                return
            if name in self.leaving:
                self._succeed(row, ran=name in self.successors and self.successors[name].start)
            elif name in self._plugins:
                self._update(self._plugins[name], row)
            else:
                self._start_added(self.add(row), self.report.expect(name))
            yield

    def add(self, row: Row) -> Plugin:
        plugin = Plugin(row, self._tools)
        self._plugins[row.plugin_name] = plugin
        self._tools.callbacks.on_added(plugin.name)
        try:
            plugin.refresh()
        except ManifestError as error:
            plugin.handle(Trigger.LAUNCH_FAILED, str(error))
        return plugin

    def _start_added(self, plugin: Plugin, pending: Pending, otherwise: str = "added", *, start: bool = False) -> None:
        """Start it where its row says so, or `start`; `otherwise` is what became of it where not."""
        if plugin.state is State.FAILED:
            pending.failed(PluginOffline(f"plugin {plugin.name}: {plugin.reason}"))
        elif plugin.state is State.STOPPED and (start or plugin.row.auto_start):
            plugin.start(partial(pending.done, "started"), pending.failed)
        else:
            pending.done(otherwise)

    def _update(self, plugin: Plugin, row: Row) -> None:
        """Its row stands there still, perhaps with other contents."""
        if (row.plugin_type, row.socket_path) != (plugin.row.plugin_type, plugin.row.socket_path):
            self._succeed(row, ran=plugin.state not in _AT_REST)
            self._remove(plugin)
            return
        before = plugin.spec
        plugin.set_row(row)
        if plugin.state not in _AT_REST:
            self.reload(plugin, self.report, before)
            return
        pending, had_failed = self.report.expect(plugin.name), plugin.state is State.FAILED
        try:
            plugin.refresh()
        except ManifestError as error:
            plugin.handle(Trigger.STOP)
            plugin.last_process = None  # what its last process wrote is not why
            plugin.handle(Trigger.LAUNCH_FAILED, str(error))
            pending.failed(PluginOffline(f"plugin {plugin.name}: {error}"))
            return
        if had_failed:
            plugin.handle(Trigger.STOP)
            self._start_added(plugin, pending, "updated")
        else:
            pending.done("" if plugin.spec == before else "updated")

    def reload(
        self, plugin: Plugin, report: ReloadReport, before: Specification | None = None, *, always: bool = False
    ) -> None:
        """Have it run as its files say now. `before`: its specification, if its row was read again since.

        One that crashed and waits for its next start is started at once: somebody may have mended it.
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

    def _succeed(self, row: Row, *, ran: bool) -> None:
        """Let this row take the place of one that is being stopped, once that is gone."""
        if row.plugin_name in self.successors:
            self.successors[row.plugin_name].overtaken("its row was changed once more")
        self.successors[row.plugin_name] = _Successor(row, ran, self.report.expect(row.plugin_name))

    def _remove(self, plugin: Plugin) -> None:
        """Stop it for good. Its successor, if there is one, comes when it is gone."""
        name = plugin.name
        self.leaving[name] = self._plugins.pop(name)

        def gone() -> None:
            del self.leaving[name]
            self._tools.callbacks.on_removed(name)
            successor = self.successors.pop(name, None)
            if successor is not None and self.closing:
                successor.overtaken("the core is stopping")
            elif successor is not None:
                self._start_added(self.add(successor.row), successor.pending, "updated", start=successor.start)

        plugin.stop(gone, nothing)


class _Successor(NamedTuple):
    row: Row
    start: bool  # the one before it ran
    pending: Pending

    def overtaken(self, reason: str) -> None:
        self.pending.failed(Invalid(f"plugin {self.row.plugin_name} was not started: {reason}"))
