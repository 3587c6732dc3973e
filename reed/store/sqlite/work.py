"""What the store goes on with between turns, a slice at a time, and which of it comes first.

the log     its last pages, so that it begins anew: alone
the outbox  a little tidying, in the transaction of the turn's writes
then one:   the jobs (long reads) or the index, in turn when both have something to do; while the log is too long,
            only jobs that have begun
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from reed.errors import CallError
from reed.store.sqlite.checkpoints import Checkpoints
from reed.store.sqlite.index import Index
from reed.store.sqlite.jobs import Jobs
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.turn import Turn

MOST_BEHIND = 50_000  # snippets that may wait to be indexed before writes are slowed down for it


class Work:
    def __init__(self, turn: Turn, index: Index, jobs: Jobs, outbox: Outbox, checkpoints: Checkpoints) -> None:
        self._turn = turn
        self._index = index
        self._jobs = jobs
        self._outbox = outbox
        self._checkpoints = checkpoints
        self._is_turn_of_index = True  # else of the jobs, when both want to go on

    @property
    def is_left(self) -> bool:
        return (
            self._jobs.can_go_on
            or (self._index.has_work and not self._checkpoints.is_behind)
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
            wants_index = self._is_time_to_index() and self._index.has_work
            if self._jobs.can_go_on and not (wants_index and self._is_turn_of_index):
                self._is_turn_of_index = True
                self._jobs.work(until)
                self._checkpoints.hurry()
            elif wants_index:
                self._is_turn_of_index = False
                commit()  # so that a failure of the index is not that of a write
                self._index.work(until)
        except (sqlite3.Error, MemoryError) as error:
            fail(error)

    def _tidy_outbox(self) -> None:
        if not self._turn.is_open:
            self._turn.begin_lazy()
        self._outbox.tidy()

    def _is_time_to_index(self) -> bool:
        """Writes come first, unless somebody waits or it becomes too much; and nothing is written to a log too long."""
        has_writes = self._turn.take_news()
        is_urgent = not has_writes or self._index.is_waited_for or self._index.behind > MOST_BEHIND
        return is_urgent and not self._checkpoints.is_behind
