"""Reads that a worker makes, on a blocking connection: each ends by its deadline if the database is away.

begin ── submitted ──┬── its answer ─────────────────────────────────────▶ done
             ▲       ├── the database is away ── a moment later ──▶ submitted again, with the time that is left
             │       └── nothing: the worker waits for a server that is frozen, or out of reach
             └────────── the loop's connection was lost and is back ◀──┘     the first answer counts
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reed.errors import CallError, JobTimeout, StoreUnavailable
from reed.store.base import Done, Failed
from reed.store.context import StoreLoop
from reed.store.postgres.reader import unavailable
from reed.store.workers import Origin

_RETRY_SECONDS = 0.2  # a worker could not reach the database
_LEAST_SECONDS = 0.1  # with less it is not tried again

Submit = Callable[[float, Done[Any], Failed, Origin], None]


@dataclass(slots=True, eq=False)
class LongRead:
    submit: Submit  # takes the seconds that the job may take
    done: Done[Any]
    failed: Failed
    origin: Origin
    until: float
    is_answered: bool = False
    was_away: bool = False  # the database, meanwhile
    jobs: set[int] = field(default_factory=set)  # that are out, by number
    last_job: int = 0


class LongReads:
    def __init__(self, loop: StoreLoop) -> None:
        self._loop = loop
        self._open: set[LongRead] = set()

    def begin(self, read: LongRead) -> None:
        self._open.add(read)
        self._submit(read)

    def lost(self) -> None:
        """A connection of the loop was."""
        for read in self._open:
            read.was_away = True

    def reached(self) -> None:
        """The loop is connected again: a worker that still waits may do so for a connection that is dead."""
        for read in list(self._open):
            if read.was_away and read.jobs:
                self._submit(read)

    def tick(self, now: float) -> None:
        """Give up what has waited for too long: workers themselves have more patience, for a busy machine."""
        for read in list(self._open):
            if read.until < now and (read.was_away or read.last_job > 1):
                self._end(read, partial(read.failed, unavailable()))

    def give_up(self) -> None:
        for read in list(self._open):
            self._end(read, partial(read.failed, unavailable()))

    def _submit(self, read: LongRead) -> None:
        seconds = read.until - self._loop.now()
        if read.is_answered:
            return
        if read.last_job and seconds < _LEAST_SECONDS:
            if not read.jobs:
                self._end(read, partial(read.failed, unavailable()))
            return
        read.last_job += 1
        number = read.last_job
        read.jobs.add(number)
        read.was_away = False
        # The first may be out still, and jobs of one origin wait for each other.
        origin = read.origin if number == 1 else read.origin._replace(connection=-id(read) - number)
        read.submit(
            seconds,
            lambda value: self._end(read, partial(read.done, value)),
            partial(self._refused, read, number),
            origin,
        )

    def _refused(self, read: LongRead, number: int, error: CallError) -> None:
        read.jobs.discard(number)
        if read.is_answered:
            return
        if error.error_code == StoreUnavailable.error_code:
            self._loop.call_later(_RETRY_SECONDS, partial(self._submit, read))
        elif error.error_code != JobTimeout.error_code:
            self._end(read, partial(read.failed, error))
        else:
            was_away = read.was_away or read.last_job > 1
            self._end(read, partial(read.failed, unavailable() if was_away else error))

    def _end(self, read: LongRead, answer: Callable[[], None]) -> None:
        if not read.is_answered:
            read.is_answered = True
            self._open.discard(read)
            answer()
