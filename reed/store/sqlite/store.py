"""SqliteStore: the contract `reed.store.base.Store`, carried out by the parts of this folder.

    write   its content is checked (see `contents`), written into the turn's transaction; `done` after the COMMIT
    read    by a connection of its own, which sees what is committed: get, a short page, an index, a small tree
            long pages, scans, trees and searches: by a worker (see `reading`); a search once the index has caught up
    work    a slice of what must use the connection that writes (see `scheduler`)

A store belongs to one thread and must not be used after a fork.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from reed.errors import CallError, Invalid, JobMemory, JobTimeout
from reed.store import contents, restoring
from reed.store.base import (
    CauseOf,
    Done,
    Event,
    Failed,
    HitPage,
    Preview,
    RecordPage,
    Restored,
    T,
    no_cause,
)
from reed.store.contents import Content, Contents
from reed.store.field_values import conditions_of
from reed.store.ids import Ids, sequence_in
from reed.store.query import hit_limit, parse
from reed.store.record_cache import RecordCache
from reed.store.snippets import overtaken, page_limit, start_after
from reed.store.sqlite.bonds import Bonds
from reed.store.sqlite.database import Database
from reed.store.sqlite.field_indexes import FieldIndexes
from reed.store.sqlite.find import Find
from reed.store.sqlite.lookup import Lookup
from reed.store.sqlite.outbox import DEFAULT_MAX_EVENTS, Outbox
from reed.store.sqlite.scheduler import Scheduler
from reed.store.sqlite.search_index import SearchIndex
from reed.store.sqlite.snippets import Snippets
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.tree import TooManyNodes, tree
from reed.store.sqlite.types import Types
from reed.store.sqlite.wal import WalCheckpoints
from reed.store.types import Type, compile_type
from reed.store.workers import DEADLINES, THE_STORE, Deadlines, InlineWorkers, Origin, Workers
from reed.wire import identifiers
from reed.wire.registry import Definition
from reed.wire.search import SearchHit
from reed.wire.snippets import Record

DEFAULT_CACHE = 16 * 1024 * 1024  # bytes
MAX_SHORT_PAGE = 100  # records; a thousand of 5 KB took 15 ms
MAX_SHORT_FIND = 1  # entries of an index: each may have 16 MB of content
MAX_SMALL_TREE = 100  # nodes
MAX_RETRIES = 5  # of a write whose snippet was changed while its content was in a worker

_LAST_SEQUENCE = (
    "SELECT max((SELECT coalesce(max(sequence), 0) FROM snippets), (SELECT coalesce(max(sequence), 0) FROM stale))"
)

_READING = "reed.store.sqlite.reading"
HANDLERS = {
    "search": f"{_READING}:run_search",
    "page": f"{_READING}:read_page",
    "find": f"{_READING}:find_page",
    "tree": f"{_READING}:read_tree",
    "check": f"{_READING}:check_type",
    **contents.HANDLERS,
}
INDEXER_HANDLERS = {
    "index": "reed.store.sqlite.indexing:run_index",
    "checkpoint": f"{_READING}:run_checkpoint",
}


class SqliteStore:
    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], int] = time.time_ns,
        cache_bytes: int = DEFAULT_CACHE,
        max_events: int = DEFAULT_MAX_EVENTS,
        on_due: Callable[[], None] = lambda: None,
        on_news: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda _: None,
        workers: Workers | None = None,
        indexer: Workers | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """Opens `path`, or creates it. Raises StoreFailed or StoreFull.

        `clock` gives nanoseconds since 1970. At most `max_events` wait for a subscriber. `on_due`, `on_news`: see
        `reed.store.base`. `warn` is called when the files are lost, from when on writes fail, and when they are back.
        `workers` run HANDLERS, and `indexer`, of which there must be one, INDEXER_HANDLERS; without them this process
        does that, at once.
        """
        self.changes = 0
        self._clock = clock
        self._on_due = on_due
        self._on_news = on_news
        self._deadlines = deadlines
        self._workers: Workers = workers or InlineWorkers(HANDLERS)
        self._database = Database(str(path), warn)
        try:
            self._build(cache_bytes, max_events, indexer or InlineWorkers(INDEXER_HANDLERS))
        except (sqlite3.Error, CallError) as error:
            self._database.close()
            if isinstance(error, sqlite3.Error):
                raise self._database.error(error) from error
            raise

    def _build(self, cache_bytes: int, max_events: int, indexer: Workers) -> None:
        database, deadline = self._database, self._deadlines.job
        ids = Ids(*database.writer.execute(_LAST_SEQUENCE).fetchone())
        self._cache = RecordCache(cache_bytes)
        self._transaction = transaction = Transaction(database, self._on_due)
        transaction.join(self)
        self._lookup = Lookup(database.reader)
        self._types = Types(transaction)
        self._fields = FieldIndexes(transaction)
        self._contents = Contents(self._workers, deadline)
        self._snippets = Snippets(transaction, ids, self._clock, self._cache, self._fields)
        self._bonds = Bonds(transaction, self._types, self._snippets, ids, self._clock)
        self._index = SearchIndex(transaction, ids, database.source, indexer, deadline)
        self._outbox = Outbox(transaction, max_events)
        self._checkpoints = WalCheckpoints(transaction, database.source, indexer, self._workers, deadline)
        self._scheduler = Scheduler(transaction, self._index, self._fields, self._outbox, self._checkpoints)
        self._writes = 0  # that were begun, so that a late content can tell whether anything may have changed
        self._has_changed = False  # in this transaction
        self._when_idle: list[Callable[[], None]] = []

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    @property
    def fsync_seconds(self) -> float:
        return self._transaction.fsync_seconds

    # Snippets.

    def create(
        self,
        type_name: str,
        name: str,
        content: bytes,
        done: Done[str],
        failed: Failed,
        *,
        by: str = "",
        origin: Origin = THE_STORE,
    ) -> None:
        def begin() -> None:
            if name:
                identifiers.check("semantic name", name)
            type_ = self._types.current.of_new(type_name)
            self._contents.check(type_, content, write, failed, origin)

        def write(checked: Content) -> None:
            if self._types.current.of_new(type_name) is checked.type:
                self._write(lambda: insert(checked), done, failed)
            else:  # it was redefined meanwhile
                begin()

        def insert(checked: Content) -> str:
            record = self._snippets.create(name, checked)
            self._index.created()
            self._outbox.add("snippet.created", record, record.created_at, by)
            return record.id

        self._contents.in_order(origin, begin, failed)

    def update(
        self,
        ref: str,
        if_version: int,
        patch: bytes,
        done: Done[str],
        failed: Failed,
        *,
        by: str = "",
        origin: Origin = THE_STORE,
    ) -> None:
        def begin(retries: int = MAX_RETRIES) -> None:
            old = self._read(lambda: self._snippets.find(ref))
            if if_version and if_version != old.version:
                raise overtaken(ref, old.version, if_version)
            type_ = self._types.current.of_new(old.snippet_type)
            seen = self._writes

            def write(content: Content) -> None:
                if self._is_current(old, content, seen):
                    self._write(lambda: self._replaced(self._snippets.replace(old, content), by), done, failed)
                elif retries:
                    begin(retries - 1)
                else:
                    raise overtaken(ref, old.version + 1, old.version)

            self._contents.merge(type_, bytes(old.content), patch, write, failed, origin)

        self._contents.in_order(origin, begin, failed)

    def preview(
        self,
        ref: str,
        if_version: int,
        patch: bytes,
        done: Done[Preview],
        failed: Failed,
        *,
        origin: Origin = THE_STORE,
    ) -> None:
        def begin() -> None:
            old = self._find(ref)
            if if_version and if_version != old.version:
                raise overtaken(ref, old.version, if_version)
            self._contents.merge(
                None, bytes(old.content), patch, lambda content: done(Preview(old, content.text)), failed, origin
            )

        self._contents.in_order(origin, begin, failed)

    def replace(
        self,
        seen: Record,
        content: bytes,
        done: Done[str],
        failed: Failed,
        *,
        name: str | None = None,
        by: str = "",
        origin: Origin = THE_STORE,
    ) -> None:
        def begin() -> None:
            check_seen()
            type_ = self._types.current.of_new(seen.snippet_type)
            if name is not None and content == seen.content:
                write(Content(content, type_))  # a rename is valid even if the content no longer fits its type
            else:
                self._contents.check(type_, content, write, failed, origin)

        def write(checked: Content) -> None:
            check_seen()
            if self._types.current.of_new(seen.snippet_type) is checked.type:
                self._write(lambda: self._replaced(self._snippets.replace(seen, checked, name), by), done, failed)
            else:
                begin()

        def check_seen() -> None:
            # The whole record is compared: after a ROLLBACK the same version may get another content.
            current = self._read(lambda: self._snippets.find(seen.id))
            if current != seen:
                raise overtaken(seen.id, current.version, seen.version)

        self._contents.in_order(origin, begin, failed)

    def rename(
        self,
        ref: str,
        name: str,
        done: Done[str],
        failed: Failed,
        *,
        by: str = "",
        origin: Origin = THE_STORE,
    ) -> None:
        # The search index has no names.
        def rename() -> str:
            return self._replaced(self._snippets.rename(ref, name), by, is_indexed=True)

        self._contents.in_order(origin, lambda: self._write(rename, done, failed), failed)

    def _is_current(self, old: Record, content: Content, seen: int) -> bool:
        """May the content be written in place of `old`, or was one or its type changed since `seen`?"""
        if self._writes == seen:
            return True
        current = self._read(lambda: self._snippets.find(old.id))
        return current == old and self._types.current.of_new(old.snippet_type) is content.type

    def _replaced(self, record: Record, by: str, *, is_indexed: bool = False) -> str:
        if not is_indexed:
            self._index.changed(sequence_in(record.id))
        self._outbox.add("snippet.updated", record, record.updated_at, by)
        return record.id

    def delete(
        self,
        ref: str,
        cascade: bool,
        done: Done[str],
        failed: Failed,
        *,
        by: str = "",
        origin: Origin = THE_STORE,
    ) -> None:
        def delete() -> str:
            record = self._snippets.find(ref)
            self._bonds.delete_of(record, cascade)
            self._snippets.delete(record)
            self._index.changed(sequence_in(record.id))
            self._outbox.add("snippet.deleted", record, self._clock() // 1000, by)
            return record.id

        self._contents.in_order(origin, lambda: self._write(delete, done, failed), failed)

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
        origin: Origin = THE_STORE,
    ) -> None:
        record = restoring.checked(record)

        def begin() -> None:
            if self._read(lambda: self._snippets.find_at(record.id)) == record:
                unchanged = Restored(record.id, "unchanged")
                if dry_run or not self._transaction.is_open:
                    done(unchanged)
                else:
                    self._write(lambda: unchanged, done, failed)
                return
            type_ = self._types.current.of_new(record.snippet_type)
            self._contents.check(type_, bytes(record.content), write, failed, origin, accept_unfit=True)

        def write(content: Content) -> None:
            plan = self._read(
                lambda: self._snippets.plan_restore(record, content, accept_unfit=accept_unfit, overwrite=overwrite)
            )
            if dry_run:
                done(plan.result)
            elif self._types.current.of_new(record.snippet_type) is not content.type:
                begin()
            else:
                self._write(lambda: restored(plan, content), done, failed)

        def restored(plan: restoring.Plan, content: Content) -> Restored:
            self._snippets.restore(plan, content)
            self._index.changed(sequence_in(record.id))
            kind = "snippet.created" if plan.old is None else "snippet.updated"
            self._outbox.add(kind, plan.record, self._clock() // 1000, by)
            return plan.result

        self._contents.in_order(origin, begin, failed)

    def get(self, ref: str, done: Done[Record], failed: Failed) -> None:  # noqa: ARG002
        done(self._find(ref))

    def _find(self, ref: str) -> Record:
        """The committed record."""
        record = self._cache.get(ref)
        if record is None:
            record = self._read(lambda: self._lookup.find(ref))
            self._cache.put(record)
        return record

    def page(
        self,
        type_name: str,
        after: str,
        limit: int,
        done: Done[RecordPage],
        failed: Failed,
        *,
        origin: Origin = THE_STORE,
    ) -> None:
        limit, start = page_limit(limit), start_after(after)
        if type_name:
            self._types.committed.get(type_name)
        if limit <= MAX_SHORT_PAGE:
            done(self._read(lambda: self._lookup.page(type_name, start, limit)))
        else:
            self._read_in_worker("page", (type_name, start, limit), lambda page: done(_page(*page)), failed, origin)

    def find(
        self,
        type_name: str,
        conditions: bytes,
        after: str,
        limit: int,
        done: Done[RecordPage],
        failed: Failed,
        *,
        origin: Origin = THE_STORE,
    ) -> None:
        limit, start = page_limit(limit), start_after(after)
        find = Find(self._types.committed.get(type_name).name, conditions_of(conditions), start, limit)
        entries = self._read(lambda: find.entries(self._database.reader))
        if entries is not None and entries.size <= MAX_SHORT_FIND:
            done(self._read(lambda: find.page(self._database.reader)))
        else:
            self._read_in_worker("find", tuple(find), lambda page: done(_page(*page)), failed, origin)

    def names(self, prefix: str, limit: int, done: Done[list[str]], failed: Failed) -> None:  # noqa: ARG002
        limit = page_limit(limit)
        done(self._read(lambda: self._lookup.names(prefix, limit)))

    # Bonds.

    def bond(
        self,
        parent: str,
        child: str,
        weight: int,
        path: str,
        done: Done[str],
        failed: Failed,
        *,
        origin: Origin = THE_STORE,
    ) -> None:
        def bond() -> str:
            return self._bonds.bond(parent, child, weight, path)

        self._contents.in_order(origin, lambda: self._write(bond, done, failed), failed)

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed, *, origin: Origin = THE_STORE) -> None:
        def unbond() -> None:
            self._bonds.unbond(parent, child)

        self._contents.in_order(origin, lambda: self._write(unbond, done, failed), failed)

    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed, *, origin: Origin = THE_STORE) -> None:
        sequence = sequence_in(self._find(root).id) if root else None
        try:
            text = self._read(lambda: tree(self._database.reader, sequence, depth, MAX_SMALL_TREE))
        except TooManyNodes:
            self._read_in_worker("tree", (sequence, depth), done, failed, origin)
        else:
            done(text)

    # Types.

    def define(
        self, type_name: str, definition: bytes, done: Done[bool], failed: Failed, *, origin: Origin = THE_STORE
    ) -> None:
        """Takes effect when the field indexes that it needs are built."""
        definition = bytes(definition)

        def begin() -> None:
            new = compile_type(type_name, definition, for_loop=True)
            if new.schema is None or new.schema.is_compiled:
                build(new)
                return
            # It belongs into a worker, or is no JSON Schema: try it there.
            self._workers.submit(
                "try_type",
                (type_name, definition),
                lambda _: contents.run(lambda: build(new), failed),
                lambda error: failed(_refused(new, error)),
                origin=origin,
                deadline=self._deadlines.job,
            )

        def build(new: Type) -> None:
            self._fields.check_idle(type_name)
            try:
                if self._fields.must_build(new):
                    self._fields.build(new, lambda: apply(new), failed)
                else:
                    apply(new)
            except (sqlite3.Error, MemoryError) as error:
                raise self._transaction.fail(error) from error

        def apply(new: Type) -> None:
            self._write(lambda: self._define(new), done, failed)

        self._contents.in_order(origin, begin, failed)

    def _define(self, new: Type) -> bool:
        old = self._types.define(new)
        self._index.redefined(new, old)
        self._fields.redefined(new)
        return old is None

    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None:  # noqa: ARG002
        found = self._types.committed.get(type_name)
        done(Definition(found.name, found.definition))

    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None:  # noqa: ARG002
        done(self._types.committed.definitions())

    def check(
        self,
        type_name: str,
        after: str,
        limit: int,
        done: Done[bytes],
        failed: Failed,
        *,
        origin: Origin = THE_STORE,
    ) -> None:
        type_, start = self._types.committed.get(type_name), start_after(after)
        self._read_in_worker("check", (type_name, type_.definition, start, limit), done, failed, origin)

    # Search.

    def search(
        self,
        query: str,
        type_name: str,
        limit: int,
        offset: int,
        done: Done[HitPage],
        failed: Failed,
        *,
        origin: Origin = THE_STORE,
    ) -> None:
        limit = hit_limit(limit, offset)
        if type_name:
            self._types.committed.get(type_name)
        terms = [tuple(term) for term in parse(query)]
        columns = sorted(self._types.committed.columns())

        def begin(_error: CallError | None) -> None:
            # If the index cannot be written (a full disk), search what is indexed.
            arguments = (tuple(self._database.source), terms, type_name, columns, limit, offset)
            deadline = self._deadlines.search
            self._workers.submit("search", arguments, found, failed, origin=origin, deadline=deadline)

        def found(answer: tuple[int, list[tuple[Any, ...]]]) -> None:
            total, hits = answer
            done(HitPage(total, [SearchHit(*hit) for hit in hits]))

        self._index.when_caught_up(begin)

    def index(self, ref: str, done: Done[int], failed: Failed) -> None:
        def mark() -> int:
            self._transaction.begin()  # even if there is nothing to mark: the reply comes after the COMMIT
            if ref:
                self._index.changed(sequence_in(self._snippets.find(ref).id))
                return 1
            self._index.reindex(self._snippets.count)
            return self._snippets.count

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

    def when_idle(self, done: Callable[[], None]) -> None:
        self._when_idle.append(done)
        self._on_due()

    def work(self, until: float) -> bool:
        self._scheduler.work(until)
        return self.has_work

    def commit(self) -> None:
        self._transaction.commit()
        if self._outbox.has_ready:
            self._on_news()
        if self._when_idle and self._contents.is_idle:
            callbacks, self._when_idle = self._when_idle, []
            for callback in callbacks:
                callback()

    def settle(self, committed: bool) -> None:
        """The transaction has ended: from now on reads give something else."""
        self.changes += committed and self._has_changed
        self._has_changed = False

    def stats(self) -> dict[str, Any]:
        return {
            "path": self._database.path,
            "bytes": self._database.size(),
            "snippets": self._snippets.count,
            "types": len(self._types.committed),
            "bonds": self._bonds.count,
            "events": sum(self._outbox.counts.values()),
            "unindexed": self._index.behind,
            "commits": self._transaction.commits,
            "cached": len(self._cache),
            "cached_bytes": self._cache.size,
        }

    def close(self) -> None:
        self.commit()
        self._database.close()

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
        self, kind: str, arguments: tuple[Any, ...], done: Done[Any], failed: Failed, origin: Origin
    ) -> None:
        arguments = (tuple(self._database.source), *arguments)
        self._workers.submit(kind, arguments, done, failed, origin=origin, deadline=self._deadlines.job)


def _page(rows: list[tuple[Any, ...]], cursor: str) -> RecordPage:
    return RecordPage([Record._make(row) for row in rows], cursor)


def _refused(new: Type, error: CallError) -> CallError:
    """A definition that could not be tried within the deadline is refused, for good."""
    if error.error_code not in {JobTimeout.error_code, JobMemory.error_code}:
        return error
    return Invalid(
        f"type {new.name!r}: schema: validating takes too long: {error.message}",
        hint="a definition that refers to itself twice for the same value never ends; make it simpler",
    )
