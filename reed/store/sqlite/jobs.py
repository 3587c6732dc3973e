"""Long reads, in slices: a tree, a search.

A job is a generator over a connection: it yields whenever it may be interrupted, and returns its answer. It reads in a
transaction of its own, so it sees the store as it was when it began, however long it takes; writes go on meanwhile.

    start() ──► waiting ──► running (at most LANES, a step each in turn) ──► done(answer) or failed(error)
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from reed.errors import CallError, Internal
from reed.store.base import Done, Failed, T
from reed.store.sqlite.database import Database

LANES = 4

Steps = Generator[None, None, T]


def to_the_end(steps: Steps[T]) -> T:
    """The answer of a job that is short: without interruption."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            answer: T = stop.value
            return answer


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[sqlite3.Connection], Steps[Any]]
    done: Callable[[Any], None]
    failed: Failed


@dataclass(frozen=True, slots=True)
class _Running:
    job: _Job
    steps: Steps[Any]
    connection: sqlite3.Connection


class Jobs:
    def __init__(
        self,
        database: Database,
        monotonic: Callable[[], float],
        on_due: Callable[[], None],
        may_begin: Callable[[], bool],
    ) -> None:
        """While `may_begin` says no, jobs that wait go on waiting."""
        self._may_begin = may_begin
        self._database = database
        self._on_due = on_due
        self._monotonic = monotonic
        self._waiting: deque[_Job] = deque()
        self._running: deque[_Running] = deque()
        self._idle = [database.reader()]  # so that there is one even when the file at the path is gone

    def start(self, run: Callable[[sqlite3.Connection], Steps[T]], done: Done[T], failed: Failed) -> None:
        self._waiting.append(_Job(run, done, failed))
        self._on_due()

    @property
    def have_begun(self) -> bool:
        """Is there a snapshot?"""
        return bool(self._running)

    @property
    def can_go_on(self) -> bool:
        return self.have_begun or (bool(self._waiting) and self._may_begin())

    def work(self, until: float) -> None:
        """Go on until about `until` (monotonic seconds), but one step at least."""
        may_begin = self._may_begin()
        while self._running or (self._waiting and may_begin):
            if self._waiting and may_begin and self._has_lane():
                self._begin(self._waiting.popleft())
            else:
                self._step(self._running.popleft())
            if self._monotonic() >= until:
                break

    def close(self) -> None:
        """Give up whatever is left; nobody is told."""
        self._waiting.clear()
        for running in self._running:
            running.steps.close()
            running.connection.close()
        self._running.clear()
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _has_lane(self) -> bool:
        if len(self._running) >= LANES:
            return False
        return bool(self._idle) or not self._running or not self._database.lost()

    def _begin(self, job: _Job) -> None:
        try:
            connection = self._idle.pop() if self._idle else self._database.reader()
            connection.execute("BEGIN")
        except CallError as error:
            job.failed(error)
            return
        except (sqlite3.Error, MemoryError) as error:
            job.failed(self._database.error(error))
            return
        self._running.append(_Running(job, job.run(connection), connection))

    def _step(self, running: _Running) -> None:
        job = running.job
        try:
            next(running.steps)
        except StopIteration as stop:
            self._end(running)
            job.done(stop.value)
        except CallError as error:
            self._end(running)
            job.failed(error)
        except (sqlite3.Error, MemoryError) as error:
            running.steps.close()
            running.connection.close()
            job.failed(self._database.error(error))
        except Exception as bug:
            self._end(running)
            job.failed(Internal(f"a bug in the store: {type(bug).__name__}", hint="its traceback is in the log"))
            raise
        else:
            self._running.append(running)

    def _end(self, running: _Running) -> None:
        running.steps.close()
        running.connection.execute("ROLLBACK")
        self._idle.append(running.connection)
