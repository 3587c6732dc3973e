"""The parts of a SqliteStore, and the two ways to run an operation: as a write of the turn, or a read."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reed.errors import CallError
from reed.store import contents
from reed.store.base import Done, Failed, T
from reed.store.contents import Contents
from reed.store.context import StoreContext
from reed.store.ids import Ids
from reed.store.record_cache import RecordCache
from reed.store.sqlite.bond_queue import BondQueue
from reed.store.sqlite.bonds import Bonds
from reed.store.sqlite.change_log import ChangeLog
from reed.store.sqlite.database import Database
from reed.store.sqlite.field_indexes import FieldIndexes
from reed.store.sqlite.lookup import Lookup
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.schedules import Schedules
from reed.store.sqlite.search_index import SearchIndex
from reed.store.sqlite.snippets import Snippets
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.types import Types
from reed.store.sqlite.wal import WalCheckpoints
from reed.store.workers import Origin

CACHE_BYTES = 16 * 1024 * 1024  # bytes

_LAST_SEQUENCE = (
    "SELECT max((SELECT coalesce(max(sequence), 0) FROM snippets), (SELECT coalesce(max(sequence), 0) FROM stale))"
)

_READING = "reed.store.sqlite.reading"
HANDLERS = {
    "search": "reed.store.sqlite.search:run_search",
    "page": f"{_READING}:read_page",
    "find": f"{_READING}:find_page",
    "tree": f"{_READING}:read_tree",
    "check": f"{_READING}:check_type",
    "check_bond": f"{_READING}:check_bond",
    "field_values": "reed.store.sqlite.field_indexes:read_field_values",
    **contents.HANDLERS,
}
INDEXER_HANDLERS = {
    "index": "reed.store.sqlite.indexing:run_index",
    "checkpoint": f"{_READING}:run_checkpoint",
}


class Parts:
    def __init__(
        self,
        path: str | Path,
        context: StoreContext,
        *,
        clock: Callable[[], int] = time.time_ns,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Opens or creates `path`. Raises StoreFailed or StoreFull. `clock`: nanoseconds since 1970."""
        self.changes = 0
        self._context = context
        self._clock = clock
        self._on_due = context.loop.request_commit
        self._deadlines = context.deadlines
        self._database = Database(str(path), context.warn)
        try:
            self._build(context, cache_bytes)
        except (sqlite3.Error, CallError) as error:
            self._database.close()
            if isinstance(error, sqlite3.Error):
                raise self._database.error(error) from error
            raise

    def _build(self, context: StoreContext, cache_bytes: int) -> None:
        database, deadline = self._database, self._deadlines.job
        self._workers = context.open_workers(HANDLERS, context.max_workers)
        indexer = context.open_workers(INDEXER_HANDLERS, 1, "indexer")
        ids = Ids(*database.writer.execute(_LAST_SEQUENCE).fetchone())
        self._cache = RecordCache(cache_bytes)
        self._transaction = transaction = Transaction(database, self._on_due)
        transaction.join(self)
        self._lookup = Lookup(database.reader)
        self._types = Types(transaction)
        self._fields = FieldIndexes(transaction, database.source, self._workers, deadline)
        self._contents = Contents(self._workers, deadline)
        self._snippets = Snippets(transaction, ids, self._clock, self._cache, self._fields)
        self._log = ChangeLog(transaction, context.max_changes)
        self._bonds = Bonds(transaction, self._types, self._snippets, ids, self._clock, self._log)
        self._bond_queue = BondQueue(transaction, database.source, self._bonds, self._contents, self._workers, deadline)
        self._index = SearchIndex(transaction, ids, database.source, indexer, deadline, context.loop.call_later)
        self._outbox = Outbox(transaction, context.max_events)
        self.schedules = Schedules(transaction)
        self._checkpoints = WalCheckpoints(transaction, database.source, indexer, self._workers, deadline)
        self._with_work: deque[SearchIndex | FieldIndexes | Bonds] = deque((self._index, self._fields, self._bonds))
        self._writes = 0  # begun; if it stands still, nothing has changed
        self._has_changed = False  # in this transaction
        self._when_idle: list[Callable[[], None]] = []

    @property
    def fsync_seconds(self) -> float:
        return self._transaction.fsync_seconds

    def settle(self, committed: bool) -> None:
        """The transaction has ended, so reads may give something else."""
        self.changes += committed and self._has_changed
        self._has_changed = False

    def _write(self, operation: Callable[[], T], done: Done[T], failed: Failed) -> None:
        self._writes += 1
        self._has_changed = True
        try:
            result = operation()
        except (sqlite3.Error, MemoryError) as error:
            raise self._transaction.fail(error) from error
        self._transaction.reply_at_end(done, result, failed)

    def _read(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except (sqlite3.Error, MemoryError) as error:
            raise self._database.error(error) from error

    def _read_in_worker(
        self,
        kind: str,
        arguments: tuple[Any, ...],
        done: Done[Any],
        in_loop: Callable[[], None] | None,
        failed: Failed,
        origin: Origin,
    ) -> None:
        """`in_loop` reads it here if the file is lost, because no worker could open it."""
        if in_loop is not None and self._database.file_problem():
            self._read(in_loop)
            return
        arguments = (tuple(self._database.source), *arguments)
        self._workers.submit(kind, arguments, done, failed, origin=origin, deadline=self._deadlines.job)
