"""The contract of a store's table of schedules: when each is due, and how its last run ended.

    plan ──▶ waiting ── begin: a lease ──▶ running ── end: the next due time, the outcome ──▶ waiting
                ▲                             │
                └──── the core has died: `due` is unchanged, so the run begins again ◀───────┘

Every operation ends as those of `reed.store.base`: it raises CallError, or calls `done` or `failed`. Where several
cores share a store, one of them gets the lease, which lasts as long as that core is alive; `generation` guards it: a
core that was frozen, and has lost it, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from reed.errors import CallError

Failed = Callable[[CallError], None]


class ScheduleState(NamedTuple):
    """A row. Times are Unix microseconds, 0: never."""

    plugin: str
    name: str
    rule: str  # what `due` was computed from
    due: int
    generation: int = 0  # of the lease
    is_running: bool = False
    last_due: int = 0  # of the last run; of one by hand its beginning
    began: int = 0  # the last run
    ended: int = 0
    error: str = ""  # of the last run; "": it was successful
    runs: int = 0
    failures: int = 0
    skipped: int = 0  # due times that came while a run was under way


class ScheduleTable(Protocol):
    def load(self, done: Callable[[list[ScheduleState]], None], failed: Failed) -> None:
        """All rows."""

    def plan(
        self,
        plugin: str,
        name: str,
        rule: str,
        due: int,
        instead_of: int,
        done: Callable[[ScheduleState], None],
        failed: Failed,
    ) -> None:
        """Make a row. Of one that exists, set `due` if the rule is another one or the row's `due` is `instead_of`."""

    def begin(
        self, plugin: str, name: str, due: int, done: Callable[[ScheduleState | None], None], failed: Failed
    ) -> None:
        """Take the lease; 0 for `due`: whenever it is due. Gives the row, None if there is none; with `is_running`
        False if another core has run it or runs it."""

    def end(self, state: ScheduleState, done: Callable[[None], None], failed: Failed) -> None:
        """Write a run's outcome and the next due time, and give up the lease. No effect if the lease is lost."""

    def forget(self, plugin: str, keep: Collection[str], done: Callable[[None], None], failed: Failed) -> None:
        """Delete the rows of a plugin but those that are kept; of a removed plugin, if no other core has it."""
