"""What one reload changed: plugin by plugin, complete once every process that it started is ready or has failed.

added    a new row; its plugin is not started (auto_start is false)
started  it was not running, and is ready now
renewed  another process has taken over from the one that ran
updated  its row, manifest or code changed, and no new process was needed
removed  its row is gone
failed   it cannot run, or its new version was refused and the old one goes on: `reason` says why
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reed.errors import CallError, Invalid
from reed.supervision.waiters import Done, Failed

Reported = Callable[["ReloadReport"], None]


class Change(NamedTuple):
    name: str
    result: str
    reason: str = ""


class ReloadReport:
    """See the module. Plugins that did not change are not in `changes`."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.refused: list[CallError] = []  # new versions of plugins that run
        self._pending: list[Pending] = []
        self._waiters: list[tuple[Callable[[], bool], Done]] = []

    def add(self, name: str, result: str, reason: str = "") -> None:
        self.changes.append(Change(name, result, reason))

    def expect(self, name: str, *, runs: bool = False) -> Pending:
        """The report is not complete before this plugin is ready or has failed. `runs`: an older version of it does."""
        self._pending.append(Pending(self, name, runs=runs))
        return self._pending[-1]

    def when_complete(self, done: Reported) -> None:
        self._wait(lambda: not self._pending, lambda: done(self))

    def when_renewed(self, done: Reported, failed: Failed) -> None:
        """Wait for plugins that were running only. `failed` gets Invalid with every version that was refused."""

        def renewed() -> None:
            if self.refused:
                failed(Invalid("; ".join(str(each) for each in self.refused)))
            else:
                done(self)

        self._wait(lambda: not any(each.runs for each in self._pending), renewed)

    def end(self, pending: Pending) -> None:
        self._pending.remove(pending)
        self._tell()

    def _wait(self, is_due: Callable[[], bool], done: Done) -> None:
        self._waiters.append((is_due, done))
        self._tell()

    def _tell(self) -> None:
        due = [waiter for waiter in self._waiters if waiter[0]()]
        self._waiters = [waiter for waiter in self._waiters if waiter not in due]
        for _, done in due:
            done()


class Pending:
    """One plugin of a report that is not complete: exactly one of `done` and `failed` is called, once."""

    def __init__(self, report: ReloadReport, name: str, *, runs: bool) -> None:
        self.runs = runs
        self._report = report
        self._name = name

    def done(self, result: str) -> None:
        """`result` "": nothing has changed."""
        if result:
            self._report.add(self._name, result)
        self._report.end(self)

    def failed(self, error: CallError) -> None:
        if self.runs:
            self._report.refused.append(error)
        self._report.add(self._name, "failed", str(error))
        self._report.end(self)
