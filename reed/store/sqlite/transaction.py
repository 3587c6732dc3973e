"""The one transaction of a turn, and the writes that wait for it.

    closed ── begin() ──► open ── commit() ──► closed     every `done` is called, after the COMMIT
                            └──── fail() ────► closed     every `failed` is called, after the ROLLBACK

What can be made again from the rest of the file (the search index) is written between `begin_lazy` and the end: whole
or not at all as well, but the disk may take its time. Such a transaction and that of a write are never the same.

A part of the store that remembers something of its own about the file is told how the turn ended (`settle`) before any
caller is, so that memory and file agree again when the callers go on.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from reed.errors import CallError, StoreFull
from reed.store.base import Done, Failed, T
from reed.store.sqlite.database import Database

_CLOSE_LOOK = 0.1  # seconds between two that notice all


class Part(Protocol):
    def settle(self, kept: bool) -> None:
        """The turn has ended: its changes are on the disk (`kept`), or they never were."""


class Transaction:
    __slots__ = (
        "_clock",
        "_database",
        "_had_writes",
        "_is_lazy",
        "_is_lost",
        "_looks_closely_at",
        "_on_due",
        "_parts",
        "_unsettled",
        "_used",
        "_waiting",
        "_writer",
        "is_open",
        "waited",
    )

    def __init__(
        self,
        database: Database,
        on_due: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        """`on_due` is called when a transaction was opened. `clock` and `used` give seconds: those that pass, and those
        of the processor that this thread has had."""
        self._database = database
        self._writer = database.writer
        self._parts: list[Part] = []
        self._unsettled: list[Part] = []  # what they remember may differ from the file
        self._waiting: list[tuple[Callable[[Any], None], Any, Failed]] = []
        self._is_lost = False
        self._looks_closely_at = 0.0
        self.is_open = False
        self.waited = 0.0  # seconds, for the disk, by all commits and checkpoints so far
        self._is_lazy = False
        self._had_writes = False
        self._on_due = on_due
        self._clock = clock
        self._used = used

    def join(self, part: Part) -> None:
        self._parts.append(part)

    def begin(self) -> None:
        """Open the transaction, if this is the first write of the turn."""
        if not self.is_open:
            self._open()
        elif self._is_lazy:
            self.commit()
            self.begin()

    def begin_lazy(self) -> None:
        """Open a lazy transaction; the turn must be closed."""
        self._set_lazy(True)
        self._open()

    def _open(self) -> None:
        while self._unsettled:
            self._unsettled[-1].settle(kept=False)
            self._unsettled.pop()
        self._writer.execute("BEGIN IMMEDIATE")
        self.is_open = True
        self._on_due()

    def wait(self, done: Done[T], value: T, failed: Failed) -> None:
        """A write was made: tell its caller when it is on the disk, or is not going to be."""
        self._waiting.append((done, value, failed))

    def pop_ready(self) -> bool:
        """Has there been a write since this was asked? (The search index does not count.)"""
        had_writes, self._had_writes = self._had_writes or bool(self._waiting), False
        return had_writes

    def commit(self) -> CallError | None:
        """Put everything on the disk; the error when that could not be done."""
        if not self.is_open:
            return None
        if (self._is_lost or not self._database.log_is_whole) and (lost := self._look()):
            return self._take_back(lost)  # a log that was cut short must not grow again
        try:
            self._sync("COMMIT")
        except (sqlite3.Error, MemoryError) as error:
            return self.fail(error)
        self.is_open = False
        self._set_lazy(False)
        lost = self._look()
        if lost:  # it is on a disk, but in a file that is no longer there: nothing to acknowledge
            self._database.empty_log()
        waiting = self._end(kept=True)
        _tell([(failed, lost) if lost else (done, value) for done, value, failed in waiting])
        return lost

    def _look(self) -> CallError | None:
        """Have the files been moved, deleted, replaced, cut short?"""
        now = self._clock()
        quickly = not self._is_lost and now < self._looks_closely_at
        if not quickly:
            self._looks_closely_at = now + _CLOSE_LOOK
        lost = self._database.lost(quickly=quickly)
        self._is_lost = lost is not None
        return lost

    def checkpoint(self) -> None:
        """Copy what the log holds into the file; the turn must be closed."""
        with suppress(sqlite3.Error):  # a full disk: the next write says so
            self._sync("PRAGMA wal_checkpoint(PASSIVE)")

    def _sync(self, statement: str) -> None:
        began, used = self._clock(), self._used()
        try:
            self._writer.execute(statement).fetchone()
        finally:
            self.waited += max(0.0, self._clock() - began - (self._used() - used))

    def fail(self, error: sqlite3.Error | MemoryError) -> CallError:
        """Take everything back; returns what to tell the caller whose statement failed."""
        return self._take_back(self._database.error(error))

    def _take_back(self, answer: CallError) -> CallError:
        self.is_open = False
        if self._writer.in_transaction:  # SQLite may have rolled back by itself
            self._writer.execute("ROLLBACK")
        self._set_lazy(False)
        if isinstance(answer, StoreFull):
            self._database.make_room()
        elif self._database.lost():
            self._database.empty_log()
        waiting = self._end(kept=False)
        _tell([(failed, answer) for _, _, failed in waiting])
        return answer

    def _set_lazy(self, is_lazy: bool) -> None:
        if is_lazy != self._is_lazy:
            self._writer.execute(f"PRAGMA synchronous = {'NORMAL' if is_lazy else 'FULL'}")
            self._is_lazy = is_lazy

    def _end(self, *, kept: bool) -> list[tuple[Callable[[Any], None], Any, Failed]]:
        self._unsettled = [part for part in self._parts if not _settle(part, kept)]
        waiting, self._waiting = self._waiting, []
        self._had_writes = self._had_writes or bool(waiting)
        return waiting


def _settle(part: Part, kept: bool) -> bool:
    """False: the file cannot be read, so it must be tried again before anything is written."""
    try:
        part.settle(kept)
    except (sqlite3.Error, MemoryError):
        return False
    return True


def _tell(answers: list[tuple[Callable[[Any], None], Any]]) -> None:
    """Give everyone their answer, even when telling one of them fails: that is a bug, and raised in the end."""
    bug: Exception | None = None
    for tell, answer in answers:
        try:
            tell(answer)
        except Exception as error:  # noqa: BLE001
            bug = bug or error
    if bug is not None:
        raise bug
