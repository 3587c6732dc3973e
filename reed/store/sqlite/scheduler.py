"""Which long operation gets the next slice of time between two turns.

    1. a checkpoint of the log; nothing else in that turn
    2. deleting acknowledged events, in the transaction of the turn's writes
    3. one of these, round robin: the search index, the indexes of fields, the jobs (long reads)

The search index waits while there are writes, unless a search waits for it or it is far behind. While the log is too
long only jobs that have begun run.
"""

from __future__ import annotations

import sqlite3
from collections import deque

from reed.store.sqlite.field_indexes import FieldIndexes
from reed.store.sqlite.jobs import Jobs
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.search_index import SearchIndex
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.wal import WalCheckpoints

MAX_UNINDEXED = 50_000  # snippets; beyond it indexing no longer waits for a pause between writes


class Scheduler:
    def __init__(
        self,
        transaction: Transaction,
        index: SearchIndex,
        fields: FieldIndexes,
        jobs: Jobs,
        outbox: Outbox,
        checkpoints: WalCheckpoints,
    ) -> None:
        self._transaction = transaction
        self._index = index
        self._fields = fields
        self._jobs = jobs
        self._outbox = outbox
        self._checkpoints = checkpoints
        self._queue: deque[SearchIndex | FieldIndexes | Jobs] = deque((index, fields, jobs))

    @property
    def has_work(self) -> bool:
        return (
            self._jobs.can_run
            or ((self._index.has_work or self._fields.has_work) and not self._checkpoints.is_behind)
            or self._outbox.has_work
            or self._checkpoints.has_work
        )

    def work(self, until: float) -> None:
        if self._checkpoints.has_work and not self._transaction.is_open:
            self._checkpoints.work()
            return
        try:
            if self._outbox.has_work:
                self._outbox.work()
            runnable = self._runnable()
            part = next((part for part in self._queue if part in runnable), None)
            if part is None:
                return
            self._queue.remove(part)
            self._queue.append(part)
            part.work(until)
            self._checkpoints.poll_if_behind()
        except (sqlite3.Error, MemoryError) as error:
            self._transaction.fail(error)

    def _runnable(self) -> list[SearchIndex | FieldIndexes | Jobs]:
        runnable: list[SearchIndex | FieldIndexes | Jobs] = [self._jobs] if self._jobs.can_run else []
        may_delay_writes = (
            not self._transaction.pop_had_writes() or self._index.has_waiters or self._index.behind > MAX_UNINDEXED
        )
        if not self._checkpoints.is_behind:
            if self._index.has_work and may_delay_writes:
                runnable.append(self._index)
            if self._fields.has_work:
                runnable.append(self._fields)
        return runnable
