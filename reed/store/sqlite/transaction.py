"""The single transaction of a turn, and the callers that wait for its COMMIT.

    closed ── begin() ──► open ── commit() ──► closed     calls every `done` after the COMMIT
                            └──── fail() ────► closed     calls every `failed` after the ROLLBACK

With much content COMMIT comes at the end of the next turn (`may_commit`): INSERT and COMMIT of 12 MB take 30 ms each,
and other connections are answered between them.

Derived data goes into an unsynced transaction, whose COMMIT does not wait for the disk; a write commits it first. At
the end each part settles, so that memory agrees with the file, then come the callers, then `on_end`.
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

LARGE = 2 * 1024 * 1024  # bytes of contents
_FULL_CHECK_INTERVAL = 0.1  # seconds between two checks of all files

_Caller = tuple[Callable[[Any], None], Any, Failed]  # done, its argument, failed


class Part(Protocol):
    """Keeps something about the file in memory."""

    def settle(self, committed: bool) -> None: ...


class RowCount:
    def __init__(self, transaction: Transaction, table: str) -> None:
        self.value: int = transaction.writer.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        self._committed = self.value
        transaction.join(self)

    def settle(self, committed: bool) -> None:
        if committed:
            self._committed = self.value
        else:
            self.value = self._committed


class Transaction:
    __slots__ = (
        "_bytes",
        "_callers",
        "_execute",
        "_has_waited",
        "_is_file_lost",
        "_is_synced",
        "_next_full_check",
        "_parts",
        "_unsettled",
        "before_commit",
        "commits",
        "database",
        "fsync_seconds",
        "is_open",
        "on_end",
        "wake",
        "writer",
    )

    def __init__(self, database: Database, on_due: Callable[[], None]) -> None:
        self.database = database
        self.writer = database.writer
        self._execute = self.writer.cursor().execute  # writer.execute makes a cursor each time
        self.is_open = False
        self.commits = 0
        self.fsync_seconds = 0.0  # spent by COMMITs and checkpoints waiting for the disk
        self.on_end: list[Callable[[CallError | None], None]] = []  # called with the error, or None after a COMMIT
        self.before_commit: Callable[[], None] = lambda: None  # writes what belongs to the whole transaction
        self.wake = on_due  # requests `commit` and `work` for this turn; so does opening a transaction
        self._parts: list[Part] = []
        self._unsettled: list[Part] = []  # failed to read the file again after a ROLLBACK
        self._callers: list[_Caller] = []
        self._is_file_lost = False
        self._next_full_check = 0.0
        self._is_synced = True
        self._bytes = 0  # of contents, in this transaction
        self._has_waited = False  # a turn, for its COMMIT

    def join(self, part: Part) -> None:
        self._parts.append(part)

    def begin(self, size: int = 0) -> None:
        """Open the transaction for a write of `size` bytes of content, unless it is open."""
        if not self.is_open:
            self._open()
        elif not self._is_synced:
            self.commit()
            self._open()
        self._bytes += size

    def may_commit(self) -> bool:
        """Whether COMMIT comes at the end of this turn."""
        if self._bytes < LARGE or self._has_waited:
            return True
        self._has_waited = True
        self.wake()
        return False

    def begin_unsynced(self) -> None:
        """Open a transaction whose COMMIT does not wait for the disk. None may be open."""
        self._set_synced(False)
        self._open()

    def _open(self) -> None:
        while self._unsettled:
            self._unsettled[-1].settle(committed=False)
            self._unsettled.pop()
        self._execute("BEGIN IMMEDIATE")
        self.is_open = True
        self.wake()

    def reply_at_end(self, done: Done[T], value: T, failed: Failed) -> None:
        """Call `done(value)` after the COMMIT, or `failed(error)`."""
        self._callers.append((done, value, failed))

    def commit(self) -> None:
        """COMMIT, if a transaction is open; a failure goes to the callers."""
        if not self.is_open:
            return
        self.commits += 1
        # SQLite would not notice the hole in a truncated log.
        if (self._is_file_lost or not self.database.is_wal_complete) and (problem := self._file_problem()):
            self._roll_back(problem)
            return
        try:
            self.before_commit()
            self._sync("COMMIT")
        except (sqlite3.Error, MemoryError) as error:
            self.fail(error)
            return
        self.is_open = False
        self._set_synced(True)
        problem = self._file_problem()
        if problem:  # committed into a file that is no longer at its path: not to be acknowledged
            self.database.truncate_wal_of_lost_file()
        callers = self._settle(committed=True)
        _call(callers, problem)
        self._call_on_end(problem)

    def _file_problem(self) -> CallError | None:
        now = time.monotonic()
        quick = not self._is_file_lost and now < self._next_full_check
        if not quick:
            self._next_full_check = now + _FULL_CHECK_INTERVAL
        problem = self.database.file_problem(quick=quick)
        self._is_file_lost = problem is not None
        return problem

    def checkpoint(self) -> None:
        """Copy the log into the file. No transaction may be open."""
        with suppress(sqlite3.Error):  # a full disk: the next write reports it
            self._sync("PRAGMA wal_checkpoint(PASSIVE)")

    def _sync(self, statement: str) -> None:
        began, used = time.monotonic(), time.thread_time()
        try:
            self._execute(statement).fetchone()
        finally:
            self.fsync_seconds += max(0.0, time.monotonic() - began - (time.thread_time() - used))

    def fail(self, error: sqlite3.Error | MemoryError) -> CallError:
        """Roll back after a statement failed; returns the error for the caller of that statement."""
        return self._roll_back(self.database.error(error))

    def _roll_back(self, error: CallError) -> CallError:
        self.is_open = False
        if self.writer.in_transaction:  # SQLite may have rolled back by itself
            self.writer.execute("ROLLBACK")
        self._set_synced(True)
        if isinstance(error, StoreFull):
            self.database.truncate_wal()
        elif self.database.file_problem():
            self.database.truncate_wal_of_lost_file()
        _call(self._settle(committed=False), error)
        self._call_on_end(error)
        return error

    def _set_synced(self, is_synced: bool) -> None:
        if is_synced != self._is_synced:
            self.writer.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
            self._is_synced = is_synced

    def _settle(self, *, committed: bool) -> list[_Caller]:
        if committed:  # no part reads the file
            for part in self._parts:
                part.settle(committed=True)
        else:
            self._unsettled = [part for part in self._parts if not _try_settle(part)]
        callers, self._callers = self._callers, []
        self._bytes, self._has_waited = 0, False
        return callers

    def _call_on_end(self, error: CallError | None) -> None:
        for callback in self.on_end:
            callback(error)


def _try_settle(part: Part) -> bool:
    """False: the file cannot be read now; `settle` must succeed before the next write."""
    try:
        part.settle(committed=False)
    except (sqlite3.Error, MemoryError):
        return False
    return True


def _call(callers: list[_Caller], error: CallError | None) -> None:
    """Call all of them, even if one raises: that is a bug, raised at the end."""
    bug: Exception | None = None
    for done, value, failed in callers:
        try:
            if error is None:
                done(value)
            else:
                failed(error)
        except Exception as raised:  # noqa: BLE001
            bug = bug or raised
    if bug is not None:
        raise bug
