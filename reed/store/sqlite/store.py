"""SqliteStore: the contract `reed.store.base.Store`, carried out by the parts of this folder.

    write   checked and written into the turn's transaction; `done` after the COMMIT
    read    get, a short page, a find by an index: at once      long page, scan, tree: a job
            search: a job, once the index has caught up
    work    a slice of one long operation (see `scheduler`)

A store belongs to one thread and must not be used after a fork.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reed.errors import CallError
from reed.store import fitting
from reed.store.base import (
    CauseOf,
    Done,
    Event,
    Failed,
    HitPage,
    Preview,
    RecordPage,
    Restored,
    Steps,
    T,
    no_cause,
)
from reed.store.field_values import conditions_of
from reed.store.ids import Ids, sequence_in
from reed.store.query import hit_limit, parse
from reed.store.record_cache import RecordCache
from reed.store.snippets import page_limit, start_after
from reed.store.sqlite.bonds import Bonds
from reed.store.sqlite.database import Database
from reed.store.sqlite.field_indexes import FieldIndexes
from reed.store.sqlite.find import Find
from reed.store.sqlite.jobs import Jobs, run_to_end
from reed.store.sqlite.outbox import DEFAULT_MAX_EVENTS, Outbox
from reed.store.sqlite.scheduler import Scheduler
from reed.store.sqlite.search import search
from reed.store.sqlite.search_index import SearchIndex
from reed.store.sqlite.snippets import Snippets
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.tree import tree
from reed.store.sqlite.types import Types
from reed.store.sqlite.wal import FdWatcher, WalCheckpoints
from reed.store.types import Type, compile_type
from reed.wire.registry import Definition
from reed.wire.snippets import Record

DEFAULT_CACHE = 16 * 1024 * 1024  # bytes
MAX_SHORT_PAGE = 100  # records; a thousand of 5 KB took 15 ms
MAX_SHORT_FIND = 1  # entries of an index: each may have 16 MB of content
_LAST_SEQUENCE = "SELECT max(indexed_to, (SELECT coalesce(max(sequence), 0) FROM snippets)) FROM progress"
_OF_TYPE = "SELECT id, name, content FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence LIMIT ?"


class SqliteStore:
    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], int] = time.time_ns,
        cache_bytes: int = DEFAULT_CACHE,
        max_events: int = DEFAULT_MAX_EVENTS,
        on_due: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda _: None,
        loop: FdWatcher | None = None,
    ) -> None:
        """Opens `path`, or creates it. Raises StoreFailed or StoreFull.

        `clock` gives nanoseconds since 1970. At most `max_events` wait for a subscriber. `on_due`: see
        `reed.store.base`. `warn` is called when the files are lost, from when on writes fail, and when they are back.
        `loop` is needed for the checkpointer (see `wal`).
        """
        self.changes = 0
        self._clock = clock
        self._on_due = on_due
        self._database = Database(str(path), warn)
        try:
            self._build(cache_bytes, max_events, loop)
        except (sqlite3.Error, CallError) as error:
            self._database.close()
            if isinstance(error, sqlite3.Error):
                raise self._database.error(error) from error
            raise

    def _build(self, cache_bytes: int, max_events: int, loop: FdWatcher | None) -> None:
        ids = Ids(*self._database.writer.execute(_LAST_SEQUENCE).fetchone())
        self._cache = RecordCache(cache_bytes)
        self._transaction = transaction = Transaction(self._database, self._on_due)
        self._types = Types(transaction)
        self._fields = FieldIndexes(transaction)
        self._snippets = Snippets(transaction, self._types, ids, self._clock, self._cache, self._fields)
        self._bonds = Bonds(transaction, self._types, self._snippets, ids, self._clock)
        self._index = SearchIndex(transaction, self._types, ids)
        self._outbox = Outbox(transaction, max_events)
        self._checkpoints = WalCheckpoints(transaction, lambda: self._jobs.has_snapshots, self._on_due, loop)
        self._jobs = Jobs(self._database, self._on_due, lambda: not self._checkpoints.is_behind)
        self._scheduler = Scheduler(transaction, self._index, self._fields, self._jobs, self._outbox, self._checkpoints)

    @property
    def dirty(self) -> bool:
        return self._transaction.is_open

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    @property
    def fsync_seconds(self) -> float:
        return self._transaction.fsync_seconds

    # Snippets.

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, *, by: str = ""
    ) -> None:
        def write() -> str:
            record = self._snippets.create(type_name, name, content)
            self._index.created()
            self._outbox.add("snippet.created", record, record.created_at, by)
            return record.id

        self._write(write, done, failed)

    def update(self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, *, by: str = "") -> None:
        self._write(lambda: self._updated(self._snippets.update(ref, if_version, patch), by), done, failed)

    def preview(self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(lambda: self._snippets.preview(ref, if_version, patch)))

    def replace(
        self, seen: Record, content: bytes, done: Done[str], failed: Failed, *, name: str | None = None, by: str = ""
    ) -> None:
        self._write(lambda: self._updated(self._snippets.replace(seen, content, name), by), done, failed)

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, *, by: str = "") -> None:
        # The search index has no names.
        self._write(lambda: self._updated(self._snippets.rename(ref, name), by, is_indexed=True), done, failed)

    def _updated(self, record: Record, by: str, *, is_indexed: bool = False) -> str:
        if not is_indexed:
            self._index.changed(sequence_in(record.id))
        self._outbox.add("snippet.updated", record, record.updated_at, by)
        return record.id

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, *, by: str = "") -> None:
        def write() -> str:
            record = self._snippets.find(ref)
            self._bonds.delete_of(record, cascade)
            self._snippets.delete(record)
            self._index.deleted(sequence_in(record.id))
            self._outbox.add("snippet.deleted", record, self._clock() // 1000, by)
            return record.id

        self._write(write, done, failed)

    def restore(
        self,
        record: Record,
        done: Done[Restored],
        failed: Failed,
        *,
        accept_unfit: bool = False,
        overwrite: bool = False,
        dry_run: bool = False,
        by: str = "",
    ) -> None:
        plan = self._read(lambda: self._snippets.plan_restore(record, accept_unfit=accept_unfit, overwrite=overwrite))
        is_unchanged, is_created = plan.result.outcome == "unchanged", plan.old is None

        def write() -> Restored:
            if not is_unchanged:
                self._snippets.restore(plan)
                (self._index.restored if is_created else self._index.changed)(sequence_in(plan.record.id))
                kind = "snippet.created" if is_created else "snippet.updated"
                self._outbox.add(kind, plan.record, self._clock() // 1000, by)
            return plan.result

        if dry_run or (is_unchanged and not self.dirty):
            done(plan.result)
        else:
            self._write(write, done, failed)

    def get(self, ref: str, done: Done[Record], failed: Failed) -> None:  # noqa: ARG002
        record = self._cache.get(ref)
        if record is None:
            record = self._find(ref)
        done(record)

    def page(self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed) -> None:
        page = self._snippets.page(type_name, after, limit)
        if limit <= MAX_SHORT_PAGE:
            done(self._read(lambda: run_to_end(page(self._database.writer))))
        else:
            self._jobs.start(page, done, failed)

    def find(
        self, type_name: str, conditions: bytes, after: str, limit: int, done: Done[RecordPage], failed: Failed
    ) -> None:
        limit, start = page_limit(limit), start_after(after)
        find = Find(self._types.get(type_name).name, conditions_of(conditions), start, limit)
        entries = self._read(lambda: find.entries(self._database.writer))
        if entries is not None and entries.size <= MAX_SHORT_FIND:
            done(self._read(lambda: run_to_end(find.steps(self._database.writer))))
        else:
            self._jobs.start(find.steps, done, failed)

    def names(self, prefix: str, limit: int, done: Done[list[str]], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(lambda: self._snippets.names(prefix, limit)))

    # Bonds.

    def bond(self, parent: str, child: str, weight: int, path: str, done: Done[str], failed: Failed) -> None:
        self._write(lambda: self._bonds.bond(parent, child, weight, path), done, failed)

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed) -> None:
        self._write(lambda: self._bonds.unbond(parent, child), done, failed)

    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed) -> None:
        sequence = sequence_in(self._find(root).id) if root else None
        self._jobs.start(partial(tree, root=sequence, depth=depth), done, failed)

    # Types.

    def define(self, type_name: str, definition: bytes, done: Done[bool], failed: Failed) -> None:
        """Takes effect when the field indexes that it needs are built."""
        new = compile_type(type_name, bytes(definition))
        self._fields.check_idle(type_name)

        def apply() -> None:
            self._write(lambda: self._define(new), done, failed)

        try:
            if self._fields.must_build(new):
                self._fields.build(new, apply, failed)
            else:
                apply()
        except (sqlite3.Error, MemoryError) as error:
            raise self._transaction.fail(error) from error

    def _define(self, new: Type) -> bool:
        old = self._types.define(new)
        self._index.redefined(new, old)
        self._fields.redefined(new)
        return old is None

    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None:  # noqa: ARG002
        found = self._types.get(type_name)
        done(Definition(found.name, found.definition))

    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None:  # noqa: ARG002
        done(self._types.definitions())

    def check(self, type_name: str, after: str, limit: int, done: Done[bytes], failed: Failed) -> None:
        type_, start = self._types.get(type_name), start_after(after)

        def job(connection: sqlite3.Connection) -> Steps[bytes]:
            rows = connection.execute(_OF_TYPE, (type_name, start, fitting.MAX_SNIPPETS + 1))
            result = yield from fitting.check(rows, type_, limit)
            rows.close()
            return result

        self._jobs.start(job, done, failed)

    # Search.

    def search(self, query: str, type_name: str, limit: int, offset: int, done: Done[HitPage], failed: Failed) -> None:
        limit = hit_limit(limit, offset)
        if type_name:
            self._types.get(type_name)
        terms = parse(query)

        def job(connection: sqlite3.Connection) -> Steps[HitPage]:
            return search(connection, terms, type_name, self._types.columns(), limit, offset)

        # If the index cannot be written (a full disk), search what is indexed.
        self._index.when_caught_up(lambda _error: self._jobs.start(job, done, failed))
        self._on_due()

    def index(self, ref: str, done: Done[int], failed: Failed) -> None:
        def mark() -> int:
            self._transaction.begin()  # even if there is nothing to mark: the reply comes after the COMMIT
            if ref:
                self._index.changed(sequence_in(self._snippets.find(ref).id))
                return 1
            self._index.reindex(self._snippets.count.value)
            return self._snippets.count.value

        def wait(count: int) -> None:
            self._index.when_caught_up(lambda error: failed(error) if error else done(count))

        self._write(mark, wait, failed)

    # Events.

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        self._outbox.subscribe(subscribers, cause_of)

    def next_event(self, subscriber: str, done: Done[Event | None], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(lambda: self._outbox.next(subscriber)))

    def ack(self, subscriber: str, event_id: int) -> None:
        self._outbox.ack(subscriber, event_id)
        self._on_due()

    def drop_events(self, subscriber: str) -> None:
        self._outbox.drop(subscriber)
        self._on_due()

    def events_waiting(self) -> Mapping[str, int]:
        return self._outbox.counts

    def pop_ready(self) -> Collection[str]:
        return self._outbox.pop_ready()

    # The turn.

    def work(self, until: float) -> bool:
        self._scheduler.work(until)
        return self.has_work

    def commit(self) -> None:
        self._transaction.commit()

    def stats(self) -> dict[str, Any]:
        return {
            "path": self._database.path,
            "bytes": self._database.size(),
            "snippets": self._snippets.count.value,
            "types": len(self._types),
            "bonds": self._bonds.count.value,
            "events": sum(self._outbox.counts.values()),
            "unindexed": self._index.behind,
            "commits": self._transaction.commits,
            "cached": len(self._cache),
            "cached_bytes": self._cache.size,
        }

    def close(self) -> None:
        self.commit()
        self._jobs.close()
        self._checkpoints.close()
        self._database.close()

    def _write(self, operation: Callable[[], T], done: Done[T], failed: Failed) -> None:
        self.changes += 1
        try:
            result = operation()
        except (sqlite3.Error, MemoryError) as error:
            raise self._transaction.fail(error) from error
        self._transaction.reply_at_end(done, result, failed)

    def _find(self, ref: str) -> Record:
        return self._read(lambda: self._snippets.find(ref))

    def _read(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except (sqlite3.Error, MemoryError) as error:
            raise self._database.error(error) from error
