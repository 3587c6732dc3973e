"""What a reload changed, plugin by plugin.

added     a new row; its plugin is not started (auto_start is false)
started   the plugin was not running, and is ready now
renewed   a new process has taken over
updated   no new process was needed
removed   its row is gone
failed    the plugin cannot run, or its new version was refused
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reed.errors import CallError, Invalid
from reed.supervision.callbacks import Done, Failed

Reported = Callable[["ReloadReport"], None]


class ReloadedPlugin(NamedTuple):
    name: str
    result: str
    reason: str = ""


class ReloadReport:
    def __init__(self) -> None:
        self.changes: list[ReloadedPlugin] = []
        self.refused: list[CallError] = []  # new versions of running plugins
        self._pending: list[Pending] = []
        self._waiters: list[tuple[Callable[[], bool], Done]] = []

    def add(self, name: str, result: str, reason: str = "") -> None:
        self.changes.append(ReloadedPlugin(name, result, reason))

    def expect(self, name: str, *, runs: bool = False) -> Pending:
        """`runs`: an older version is running."""
        self._pending.append(Pending(self, name, runs=runs))
        return self._pending[-1]

    def when_complete(self, done: Reported) -> None:
        self._wait(lambda: not self._pending, lambda: done(self))

    def when_renewed(self, done: Reported, failed: Failed) -> None:
        """Wait only for plugins that were running. `failed` gets Invalid if a new version was refused."""

        def renewed() -> None:
            if self.refused:
                failed(Invalid("; ".join(str(each) for each in self.refused)))
            else:
                done(self)

        self._wait(lambda: not any(each.runs for each in self._pending), renewed)

    def end(self, pending: Pending) -> None:
        self._pending.remove(pending)
        self._notify()

    def _wait(self, is_due: Callable[[], bool], done: Done) -> None:
        self._waiters.append((is_due, done))
        self._notify()

    def _notify(self) -> None:
        due = [waiter for waiter in self._waiters if waiter[0]()]
        self._waiters = [waiter for waiter in self._waiters if waiter not in due]
        for _, done in due:
            done()


class Pending:
    """A plugin whose result is not known yet."""

    def __init__(self, report: ReloadReport, name: str, *, runs: bool) -> None:
        self.runs = runs
        self._report = report
        self._name = name

    def done(self, result: str) -> None:
        """ "" means that nothing changed."""
        if result:
            self._report.add(self._name, result)
        self._report.end(self)

    def failed(self, error: CallError) -> None:
        if self.runs:
            self._report.refused.append(error)
        self._report.add(self._name, "failed", str(error))
        self._report.end(self)
