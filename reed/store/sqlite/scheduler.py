"""What the store goes on with between turns, a slice at a time, and which of it comes first.

the log     its last pages, so that it begins anew: alone
the outbox  a little tidying, in the transaction of the turn's writes
then one:   the jobs (long reads), the search index or the indexes of fields, in turn when several have something to
            do; while the log is too long, only jobs that have begun
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from reed.errors import CallError
from reed.store.sqlite.fields import FieldIndexes
from reed.store.sqlite.index import Index
from reed.store.sqlite.jobs import Jobs
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.wal import WalCheckpoints

MOST_BEHIND = 50_000  # snippets that may wait to be indexed before writes are slowed down for it


class _Part(Enum):
    INDEX = auto()
    FIELDS = auto()
    JOBS = auto()


class Scheduler:
    def __init__(
        self,
        turn: Transaction,
        index: Index,
        fields: FieldIndexes,
        jobs: Jobs,
        outbox: Outbox,
        checkpoints: WalCheckpoints,
    ) -> None:
        self._turn = turn
        self._index = index
        self._fields = fields
        self._jobs = jobs
        self._outbox = outbox
        self._checkpoints = checkpoints
        self._turns = deque((_Part.INDEX, _Part.FIELDS, _Part.JOBS))  # whose turn it is first

    @property
    def is_left(self) -> bool:
        return (
            self._jobs.can_go_on
            or ((self._index.has_work or self._fields.has_work) and not self._checkpoints.is_behind)
            or self._outbox.has_work
            or self._checkpoints.has_work
        )

    def go_on(
        self, until: float, commit: Callable[[], None], fail: Callable[[sqlite3.Error | MemoryError], CallError]
    ) -> None:
        """Until about `until`. `commit` ends the turn's transaction, `fail` takes it back."""
        if self._checkpoints.has_work and not self._turn.is_open:
            self._checkpoints.work()
            return
        try:
            if self._outbox.has_work:
                self._tidy_outbox()
            wanting = self._wanting()
            part = next((part for part in self._turns if part in wanting), None)
            if part is None:
                return
            self._turns.remove(part)
            self._turns.append(part)
            if part is _Part.JOBS:
                self._jobs.work(until)
                self._checkpoints.hurry()
            else:
                commit()  # so that a failure of the index is not that of a write
                (self._index if part is _Part.INDEX else self._fields).work(until)
        except (sqlite3.Error, MemoryError) as error:
            fail(error)

    def _wanting(self) -> set[_Part]:
        """Who has something to do, and may."""
        wanting = set()
        if self._is_time_to_index() and self._index.has_work:
            wanting.add(_Part.INDEX)
        if self._fields.has_work and not self._checkpoints.is_behind:
            wanting.add(_Part.FIELDS)
        if self._jobs.can_go_on:
            wanting.add(_Part.JOBS)
        return wanting

    def _tidy_outbox(self) -> None:
        if not self._turn.is_open:
            self._turn.begin_lazy()
        self._outbox.tidy()

    def _is_time_to_index(self) -> bool:
        """Writes come first, unless somebody waits or it becomes too much; and nothing is written to a log too long."""
        has_writes = self._turn.pop_ready()
        is_urgent = not has_writes or self._index.is_waited_for or self._index.behind > MOST_BEHIND
        return is_urgent and not self._checkpoints.is_behind
