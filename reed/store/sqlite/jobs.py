"""Long reads (trees, searches, scans) in slices, each on a snapshot of its own.

A job is a function from a connection to `Steps`: it yields where it may be interrupted and returns its result. It reads
in a transaction, so it sees the store as it was when it began, while writes continue.

    start() ──► waiting ──► running (at most MAX_RUNNING, one step each in turn) ──► done(result) or failed(error)
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reed.errors import CallError, Internal
from reed.store.base import Done, Failed, Steps, T
from reed.store.sqlite.database import Database

MAX_RUNNING = 4


def run_to_end(steps: Steps[T]) -> T:
    """The result of a short job, run without interruption."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


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
    def __init__(self, database: Database, on_due: Callable[[], None], can_start: Callable[[], bool]) -> None:
        """`can_start`: may waiting jobs start now?"""
        self._database = database
        self._on_due = on_due
        self._can_start = can_start
        self._waiting: deque[_Job] = deque()
        self._running: deque[_Running] = deque()
        self._idle = [database.reader()]  # one is open from the start, in case the file at the path is lost

    def start(self, run: Callable[[sqlite3.Connection], Steps[T]], done: Done[T], failed: Failed) -> None:
        self._waiting.append(_Job(run, done, failed))
        self._on_due()

    @property
    def has_snapshots(self) -> bool:
        return bool(self._running)

    @property
    def can_run(self) -> bool:
        return bool(self._running) or (bool(self._waiting) and self._can_start())

    def work(self, until: float) -> None:
        """Run until about `until` (monotonic seconds), at least one step."""
        can_start = self._can_start()
        while self._running or (self._waiting and can_start):
            if self._waiting and can_start and self._has_connection():
                self._start(self._waiting.popleft())
            else:
                self._step(self._running.popleft())
            if time.monotonic() >= until:
                break

    def close(self) -> None:
        """Abandon all jobs, without calling their callbacks."""
        self._waiting.clear()
        for running in self._running:
            running.steps.close()
            running.connection.close()
        self._running.clear()
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _has_connection(self) -> bool:
        if len(self._running) >= MAX_RUNNING:
            return False
        return bool(self._idle) or not self._running or not self._database.file_problem()

    def _start(self, job: _Job) -> None:
        try:
            connection = self._idle.pop() if self._idle else self._database.reader()
            connection.execute("BEGIN")
        except CallError as error:
            job.failed(error)
        except (sqlite3.Error, MemoryError) as error:
            job.failed(self._database.error(error))
        else:
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
