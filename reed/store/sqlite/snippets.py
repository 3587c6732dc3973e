"""Writes of the table `snippets`.

A write makes its checks before its first statement, so a refused one leaves nothing in the transaction; an INSERT that
finds a name in use is undone by SQLite. The cache has committed records only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from reed.store import restoring
from reed.store.contents import Content
from reed.store.field_values import FieldValue
from reed.store.ids import Ids, sequence_in
from reed.store.record_cache import RecordCache
from reed.store.snippets import name_in_use
from reed.store.sqlite.field_indexes import Entry, FieldIndexes
from reed.store.sqlite.lookup import COLUMNS, Lookup
from reed.store.sqlite.transaction import RowCount, Transaction
from reed.store.types import Type
from reed.wire import identifiers
from reed.wire.snippets import Record

_MIN_BLOB = 16 * 1024  # bytes from which on copying a content costs more than it saves

_INSERT = f"INSERT INTO snippets (sequence, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_CREATE = f"INSERT INTO snippets (sequence, {COLUMNS}) VALUES (?, ?, ?, ?, 1, ?, ?, ?)"
_UPDATE = "UPDATE snippets SET name = ?, version = ?, updated_at = ?, content = ? WHERE sequence = ?"
_RENAME = "UPDATE snippets SET name = ?, version = ?, updated_at = ? WHERE sequence = ?"
_OVERWRITE = (
    "UPDATE snippets SET id = ?, type = ?, name = ?, version = ?, created_at = ?, updated_at = ?, content = ?"
    " WHERE sequence = ?"
)


class Snippets:
    def __init__(
        self, transaction: Transaction, ids: Ids, clock: Callable[[], int], cache: RecordCache, fields: FieldIndexes
    ) -> None:
        self._transaction = transaction
        self._writer = transaction.writer
        self._insert = self._writer.cursor().execute  # a cursor of its own saves making one for each INSERT
        self._ids = ids
        self._clock = clock
        self._cache = cache
        self._fields = fields
        self._lookup = Lookup(transaction.writer)
        self._written: dict[str, Record | None] = {}  # in this transaction; None: deleted, or not to be cached
        self._created: set[str] = set()  # in this transaction: not cached, most records of an import are not read soon
        self.count = RowCount(transaction, "snippets")
        transaction.join(self)

    # Writes. Each gives the new record, but for `create`.

    def create(
        self, type_: Type, name: str, text: bytes, values: dict[str, FieldValue] | None = None
    ) -> tuple[str, int]:
        """Gives the id, and the time in Unix microseconds. `values`: of indexed fields, if a worker has read them.

        Creates often come by the hundred, so it makes few objects and calls."""
        now = self._clock()
        sequence, snippet_id = self._ids.next(now)
        at = now // 1000
        type_name = type_.name
        entries: list[Entry] | None = None
        if type_name in self._fields.live:
            entries = self._fields.check(type_name, sequence, Content(text, type_, values))
        self._transaction.begin(len(text))
        try:
            # For bytes, sqlite3 looks up adapters first.
            stored = bytearray(text) if len(text) < _MIN_BLOB else text
            self._insert(_CREATE, (sequence, snippet_id, type_name, name, at, at, stored))
        except sqlite3.IntegrityError:
            raise name_in_use(name, self._lookup.holder_of(name) or "") from None
        if entries is not None:
            self._fields.put(type_name, sequence, entries, is_new=True)
        self.count.value += 1
        self._created.add(snippet_id)
        return snippet_id, at

    def replace(self, old: Record, content: Content, name: str | None = None) -> Record:
        if name is not None:
            self._check_name(name, old.id)
            old = old._replace(semantic_name=name)
        record = old._replace(version=old.version + 1, updated_at=self._clock() // 1000, content=content.text)
        sequence = sequence_in(record.id)
        entries = self._fields.check(record.snippet_type, sequence, content)
        self._transaction.begin(len(content.text))
        self._writer.execute(_UPDATE, (record.semantic_name, record.version, record.updated_at, content.text, sequence))
        self._fields.put(record.snippet_type, sequence, entries)
        self._written[record.id] = record
        return record

    def rename(self, ref: str, name: str) -> Record:
        old = self.find(ref)
        self._check_name(name, old.id)
        record = old._replace(version=old.version + 1, updated_at=self._clock() // 1000, semantic_name=name)
        self._transaction.begin(len(old.content))  # SQLite writes the whole row
        self._writer.execute(_RENAME, (name, record.version, record.updated_at, sequence_in(record.id)))
        self._written[record.id] = record
        return record

    def _check_name(self, name: str, snippet_id: str) -> None:
        """Raises Malformed, or Conflict when another snippet has the name."""
        if name:
            identifiers.check("semantic name", name)
            holder = self._lookup.holder_of(name)
            if holder not in {None, snippet_id}:
                raise name_in_use(name, str(holder))

    def delete(self, record: Record) -> None:
        self._transaction.begin()
        sequence = sequence_in(record.id)
        self._writer.execute("DELETE FROM snippets WHERE sequence = ?", (sequence,))
        self._fields.delete(record.snippet_type, sequence)
        self.count.value -= 1
        self._written[record.id] = None

    def plan_restore(self, record: Record, content: Content, flags: int) -> restoring.Plan:
        """Makes all checks, writes nothing. `record` is `restoring.checked`, `content` its content."""
        sequence = sequence_in(record.id)
        old = self._lookup.at(sequence)
        plan = restoring.plan(record, old, content.problem, self._clock() // 1000, flags)
        if plan.result.outcome != "unchanged":
            self._check_name(record.semantic_name, record.id)
            self._fields.check(record.snippet_type, sequence, content)
        return plan

    def restore(self, plan: restoring.Plan, content: Content) -> None:
        record, old = plan.record, plan.old
        sequence = sequence_in(record.id)
        entries = self._fields.check(record.snippet_type, sequence, content)
        self._transaction.begin(len(record.content))
        if old is None:
            self._writer.execute(_INSERT, (sequence, *record))
            self._ids.reserve(sequence)
            self.count.value += 1
        else:
            self._writer.execute(_OVERWRITE, (*record, sequence))
            if old.snippet_type != record.snippet_type:
                self._fields.delete(old.snippet_type, sequence)
        self._fields.put(record.snippet_type, sequence, entries)
        self._written[record.id] = None

    def count_of(self, type_name: str, limit: int) -> int:
        """Counted up to `limit`."""
        query = "SELECT count(*) FROM (SELECT 1 FROM snippets WHERE type = ? LIMIT ?)"
        return int(self._writer.execute(query, (type_name, limit)).fetchone()[0])

    def find_at(self, snippet_id: str) -> Record | None:
        """The record with the sequence number of this id."""
        return self._lookup.at(sequence_in(snippet_id))

    def find(self, ref: str) -> Record:
        """The record as this transaction sees it."""
        record = self._cache.get(ref)
        if record is None or record.id in self._written:
            record = self._lookup.find(ref)
            if not self.is_uncommitted(record.id):
                self._cache.put(record)
        return record

    def is_uncommitted(self, snippet_id: str) -> bool:
        """Whether it was written in the open transaction."""
        return snippet_id in self._created or snippet_id in self._written

    def settle(self, committed: bool) -> None:
        if committed:
            for snippet_id in self._written:  # all of them first: a name may have gone from one to another
                self._cache.discard(snippet_id)
            for record in self._written.values():
                if record is not None:
                    self._cache.put(record)
        self._created.clear()
        self._written.clear()
