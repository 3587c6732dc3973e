"""Reads that a worker makes, on a blocking connection: each ends by its deadline if the database is away.

begin ── submitted ──┬── its answer ─────────────────────────────────────▶ done
             ▲       ├── the database is away ── a moment later ──▶ submitted again, with the time that is left
             │       └── nothing: the worker waits for a server that is frozen, or out of reach
             └────────── the loop's connection was lost and is back ◀──┘     the first answer counts
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    was_away: bool = False  # the database, since the last job was submitted
    jobs: int = 0  # submitted so far
    out: int = 0  # of these, without an answer

    @property
    def was_ever_away(self) -> bool:
        """The database was away at some time during this read."""
        return self.was_away or self.jobs > 1


class LongReads:
    def __init__(self, loop: StoreLoop) -> None:
        self._loop = loop
        self._open: set[LongRead] = set()  # without an answer

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
            if read.was_away and read.out:
                self._submit(read)

    def tick(self, now: float) -> None:
        """Give up what has waited for too long: workers themselves have more patience, for a busy machine."""
        for read in list(self._open):
            if read.until < now and read.was_ever_away:
                self._end(read, partial(read.failed, unavailable()))

    def give_up(self) -> None:
        for read in list(self._open):
            self._end(read, partial(read.failed, unavailable()))

    def _submit(self, read: LongRead) -> None:
        if read not in self._open:
            return
        seconds = read.until - self._loop.now()
        if read.jobs and seconds < _LEAST_SECONDS:
            if not read.out:
                self._end(read, partial(read.failed, unavailable()))
            return
        # The first may be out still, and jobs of one origin wait for each other.
        origin = read.origin._replace(connection=-id(read) - read.jobs) if read.jobs else read.origin
        read.jobs += 1
        read.out += 1
        read.was_away = False
        read.submit(
            seconds, lambda value: self._end(read, partial(read.done, value)), partial(self._refused, read), origin
        )

    def _refused(self, read: LongRead, error: CallError) -> None:
        read.out -= 1
        if read not in self._open:
            return
        if error.error_code == StoreUnavailable.error_code:
            self._loop.call_later(_RETRY_SECONDS, partial(self._submit, read))
        elif error.error_code == JobTimeout.error_code and read.was_ever_away:
            self._end(read, partial(read.failed, unavailable()))
        else:
            self._end(read, partial(read.failed, error))

    def _end(self, read: LongRead, answer: Callable[[], None]) -> None:
        if read in self._open:
            self._open.remove(read)
            answer()
