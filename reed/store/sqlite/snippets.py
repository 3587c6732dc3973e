"""The table `snippets`: lookups and writes, with a cache of records.

A write makes all its checks before its first statement, so a refused write leaves nothing in the transaction. The
exception is a name in use: the INSERT finds that, and SQLite undoes only this statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from reed.errors import NotFound, nearest
from reed.store import restoring
from reed.store.base import Preview, RecordPage, Steps
from reed.store.ids import UUID_LENGTH, Ids, sequence_in, sequence_of, sequence_range
from reed.store.record_cache import RecordCache
from reed.store.snippets import (
    MAX_IDS_COUNTED,
    ambiguous,
    check_content,
    check_new,
    collect_page,
    merged,
    name_in_use,
    overtaken,
    page_limit,
    start_after,
)
from reed.store.sqlite.field_indexes import FieldIndexes
from reed.store.sqlite.transaction import RowCount, Transaction
from reed.store.sqlite.types import Types
from reed.wire import identifiers, strict_json
from reed.wire.snippets import Record

_MIN_BLOB = 16 * 1024  # bytes from which on copying a content costs more than it saves

_AFTER_NAMES = "\x7f"  # sorts after every character of a name
COLUMNS = "id, type, name, version, created_at, updated_at, content"
_INSERT = f"INSERT INTO snippets (sequence, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OVERWRITE = (
    "UPDATE snippets SET id = ?, type = ?, name = ?, version = ?, created_at = ?, updated_at = ?, content = ?"
    " WHERE sequence = ?"
)
_BY_SEQUENCE = f"SELECT {COLUMNS} FROM snippets WHERE sequence = ?"
_BY_NAME = f"SELECT {COLUMNS} FROM snippets WHERE name = ? AND name != ''"
_PAGE = f"SELECT {COLUMNS} FROM snippets WHERE sequence > ? ORDER BY sequence"
_PAGE_OF_TYPE = f"SELECT {COLUMNS} FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence"
_BY_PREFIX = "SELECT id FROM snippets WHERE sequence BETWEEN ? AND ? AND substr(id, 1, ?) = ? ORDER BY sequence LIMIT ?"
_NAMES_FROM = "SELECT name FROM snippets WHERE name != '' AND name >= ? ORDER BY name LIMIT 8"
_NAMES_BEFORE = "SELECT name FROM snippets WHERE name != '' AND name < ? ORDER BY name DESC LIMIT 8"


class Snippets:
    def __init__(
        self,
        transaction: Transaction,
        types: Types,
        ids: Ids,
        clock: Callable[[], int],
        cache: RecordCache,
        fields: FieldIndexes,
    ) -> None:
        self._transaction = transaction
        self._writer = transaction.writer
        self._insert = self._writer.cursor().execute  # a cursor of its own saves making one for each INSERT
        self._types = types
        self._ids = ids
        self._clock = clock
        self._cache = cache
        self._fields = fields
        self._written_ids: list[str] = []  # in this transaction
        self.count = RowCount(transaction, "snippets")
        transaction.join(self)

    # Writes. Each gives the new record.

    def create(self, type_name: str, name: str, content: bytes) -> Record:
        check_new(self._types, type_name, name, content)
        now = self._clock()
        sequence, snippet_id = self._ids.next(now)
        at = now // 1000
        record = Record(snippet_id, type_name, name, 1, at, at, bytes(content))
        entries = self._fields.check(type_name, sequence, content)
        self._transaction.begin()
        try:
            # sqlite3 binds a bytearray faster than bytes, for which it looks up adapters first.
            stored = bytearray(content) if len(content) < _MIN_BLOB else content
            self._insert(_INSERT, (sequence, *record[:-1], stored))
        except sqlite3.IntegrityError:
            raise name_in_use(name, self.find(name).id) from None
        self._fields.put(type_name, sequence, entries, is_new=True)
        self.count.value += 1
        self._written_ids.append(snippet_id)
        return record  # not cached: most records of an import are not read soon

    def update(self, ref: str, if_version: int, patch: bytes) -> Record:
        changes = strict_json.loads(patch)
        old = self.find(ref)
        text, value = merged(ref, old, if_version, patch, changes)
        content = text.encode()
        check_content(self._types, old.snippet_type, content, value)
        return self._store(old, content)

    def preview(self, ref: str, if_version: int, patch: bytes) -> Preview:
        changes = strict_json.loads(patch)
        old = self.find(ref)
        return Preview(old, merged(ref, old, if_version, patch, changes)[0].encode())

    def replace(self, seen: Record, content: bytes, name: str | None) -> Record:
        # The whole record is compared: after a ROLLBACK the same version may get another content.
        old = self.find(seen.id)
        if old != seen:
            raise overtaken(seen.id, old.version, seen.version)
        if name is not None:
            self._check_name(name, old.id)
            old = old._replace(semantic_name=name)
        if name is None or content != old.content:  # a rename is valid even if the content no longer fits its type
            check_content(self._types, old.snippet_type, content, strict_json.load_object(content))
        return self._store(old, content)

    def rename(self, ref: str, name: str) -> Record:
        old = self.find(ref)
        self._check_name(name, old.id)
        return self._store(old._replace(semantic_name=name), bytes(old.content))

    def _check_name(self, name: str, snippet_id: str) -> None:
        """Raises Malformed, or Conflict when another snippet has the name."""
        if name:
            identifiers.check("semantic name", name)
            row = self._writer.execute(_BY_NAME, (name,)).fetchone()
            if row is not None and row[0] != snippet_id:
                raise name_in_use(name, row[0])

    def _store(self, old: Record, content: bytes) -> Record:
        """Write the next version, with the name that `old` has."""
        record = old._replace(version=old.version + 1, updated_at=self._clock() // 1000, content=content)
        sequence = sequence_in(record.id)
        entries = self._fields.check(record.snippet_type, sequence, content)
        self._transaction.begin()
        self._writer.execute(
            "UPDATE snippets SET name = ?, version = ?, updated_at = ?, content = ? WHERE sequence = ?",
            (record.semantic_name, record.version, record.updated_at, content, sequence),
        )
        self._fields.put(record.snippet_type, sequence, entries)
        self._written_ids.append(record.id)
        self._cache.put(record)
        return record

    def delete(self, record: Record) -> None:
        """Delete a stored snippet that has no bonds."""
        self._transaction.begin()
        sequence = sequence_in(record.id)
        self._writer.execute("DELETE FROM snippets WHERE sequence = ?", (sequence,))
        self._fields.delete(record.snippet_type, sequence)
        self.count.value -= 1
        self._cache.discard(record.id)

    def plan_restore(self, record: Record, *, accept_unfit: bool, overwrite: bool) -> restoring.Plan:
        """Makes all checks, writes nothing."""
        record = restoring.checked(record)
        sequence = sequence_in(record.id)
        row = self._writer.execute(_BY_SEQUENCE, (sequence,)).fetchone()
        old = None if row is None else Record._make(row)
        now = self._clock() // 1000
        plan = restoring.plan(record, old, self._types, now, accept_unfit=accept_unfit, overwrite=overwrite)
        if plan.result.outcome != "unchanged":
            self._check_name(record.semantic_name, record.id)
            self._fields.check(record.snippet_type, sequence, record.content)
        return plan

    def restore(self, plan: restoring.Plan) -> None:
        """Carry out a plan of this turn."""
        record, old = plan.record, plan.old
        sequence = sequence_in(record.id)
        entries = self._fields.check(record.snippet_type, sequence, record.content)
        self._transaction.begin()
        if old is None:
            self._writer.execute(_INSERT, (sequence, *record))
            self._ids.reserve(sequence)
            self.count.value += 1
        else:
            self._writer.execute(_OVERWRITE, (*record, sequence))
            if old.snippet_type != record.snippet_type:
                self._fields.delete(old.snippet_type, sequence)
        self._fields.put(record.snippet_type, sequence, entries)
        self._written_ids.append(record.id)
        self._cache.discard(record.id)

    def settle(self, committed: bool) -> None:
        if not committed:
            for snippet_id in self._written_ids:
                self._cache.discard(snippet_id)
        self._written_ids.clear()

    # Reads.

    def find(self, ref: str) -> Record:
        """The record with this ref; NotFound, or Conflict for an ambiguous prefix."""
        record = self._cache.get(ref)
        if record is None:
            record = self._read(ref)
            self._cache.put(record)
        return record

    def names(self, prefix: str, limit: int) -> list[str]:
        rows = self._writer.execute(
            "SELECT name FROM snippets WHERE name != '' AND name >= ? AND name < ? ORDER BY name LIMIT ?",
            (prefix, prefix + _AFTER_NAMES, page_limit(limit)),
        )
        return [name for (name,) in rows]

    def page(self, type_name: str, after: str, limit: int) -> Callable[[sqlite3.Connection], Steps[RecordPage]]:
        """A job that gives the page."""
        limit, start = page_limit(limit), start_after(after)
        if type_name:
            return partial(_page, _PAGE_OF_TYPE, (self._types.get(type_name).name, start), limit)
        return partial(_page, _PAGE, (start,), limit)

    def _read(self, ref: str) -> Record:
        row = None
        if len(ref) == UUID_LENGTH:
            snippet_id = ref.lower()
            row = self._writer.execute(_BY_SEQUENCE, (sequence_of(snippet_id),)).fetchone()
            if row is not None and row[0] != snippet_id:
                row = None
        elif identifiers.is_semantic_name(ref):
            row = self._writer.execute(_BY_NAME, (ref,)).fetchone()
        row = row or self._by_prefix(ref.lower())
        if row is None:
            raise NotFound(f"no snippet {ref!r}", hint=self._hint(ref))
        return Record._make(row)

    def _by_prefix(self, prefix: str) -> Any:
        """The row of the only snippet whose id has this prefix; Conflict when there are several."""
        bounds = sequence_range(prefix)
        if bounds is None:
            return None
        rows = self._writer.execute(_BY_PREFIX, (*bounds, len(prefix), prefix, MAX_IDS_COUNTED + 1)).fetchall()
        if len(rows) > 1:
            raise ambiguous(prefix, [snippet_id for (snippet_id,) in rows])
        return self._writer.execute(_BY_SEQUENCE, (sequence_in(rows[0][0]),)).fetchone() if rows else None

    def _hint(self, ref: str) -> str:
        near = ""
        if identifiers.is_semantic_name(ref):  # only neighbours in the index of names: a miss must stay cheap
            rows = [*self._writer.execute(_NAMES_FROM, (ref,)), *self._writer.execute(_NAMES_BEFORE, (ref,))]
            near = nearest(ref, [name for (name,) in rows])
        return near or "`reed snippet list` shows what there is"


def _page(query: str, arguments: tuple[Any, ...], limit: int, connection: sqlite3.Connection) -> Steps[RecordPage]:
    rows = connection.execute(query, arguments)
    page = yield from collect_page(rows, limit)
    rows.close()  # an open statement keeps its snapshot
    return page
