"""SNIPPET_FIND: the snippets of a type whose fields have certain values, in creation order.

    conditions ── an indexed field? ── its entries: those with the fewest ──┐
                        └─ none ────── every snippet of the type ───────────┴── each one's content is compared ── a page

Only top-level fields are compared (a dot in a field's name is a letter like any other); `equality` says how. Which
indexes there are is read from the same snapshot as the snippets.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from reed.store.base import RecordPage
from reed.store.sqlite.equality import is_exact, key_of, satisfies
from reed.store.sqlite.jobs import Steps
from reed.store.sqlite.snippets import COLUMNS, PAGE_BYTES
from reed.wire.snippets import Record

_STEP_RECORDS, _STEP_BYTES = 32, 128 * 1024  # read between two chances to interrupt
_COUNTED = 1000  # entries, to find the index with the fewest

_INDEXES = "SELECT id, field FROM field_indexes WHERE type = ? AND is_ready"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM field_entries WHERE index_id = ? AND key = ? LIMIT ?)"
_BY_INDEX = (
    f"SELECT {COLUMNS} FROM field_entries CROSS JOIN snippets ON snippets.sequence = field_entries.sequence"
    " WHERE index_id = ? AND key = ? AND field_entries.sequence > ? ORDER BY field_entries.sequence"
)
_SCAN = f"SELECT {COLUMNS} FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence"


class Entries(NamedTuple):
    """The entries of one index that have the value of its condition."""

    size: int  # _COUNTED: as many, or more
    index_id: int
    field: str
    key: bytes


class Find(NamedTuple):
    type_name: str
    conditions: dict[str, str]  # field -> canonical value
    after: int  # sequence
    limit: int

    def entries(self, connection: sqlite3.Connection) -> Entries | None:
        """The fewest entries that hold every match; None without an index."""
        found: list[Entries] = []
        for index_id, field in connection.execute(_INDEXES, (self.type_name,)).fetchall():
            if field in self.conditions:
                key = key_of(self.conditions[field])
                (size,) = connection.execute(_COUNT, (index_id, key, _COUNTED)).fetchone()
                found.append(Entries(size, index_id, field, key))
        return min(found, default=None)

    def steps(self, connection: sqlite3.Connection) -> Steps[RecordPage]:
        """The page. It ends early rather than grow beyond PAGE_BYTES; its cursor may lead to an empty one."""
        entries, conditions = self.entries(connection), self.conditions
        if entries is not None and is_exact(entries.key):  # then its entries need no second look
            conditions = {field: value for field, value in conditions.items() if field != entries.field}
        if entries is None:
            rows = connection.execute(_SCAN, (self.type_name, self.after))
        else:
            rows = connection.execute(_BY_INDEX, (entries.index_id, entries.key, self.after))
        records: list[Record] = []
        room = PAGE_BYTES
        read_records, read_bytes = 0, 0
        for row in rows:
            if satisfies(row[-1], conditions):
                if records and room < len(row[-1]):
                    rows.close()
                    return RecordPage(records, records[-1].id)
                records.append(Record._make(row))
                room -= len(row[-1])
                if len(records) == self.limit:
                    rows.close()
                    return RecordPage(records, records[-1].id)
            read_records += 1
            read_bytes += len(row[-1])
            if read_records == _STEP_RECORDS or read_bytes >= _STEP_BYTES:
                read_records, read_bytes = 0, 0
                yield
        return RecordPage(records, "")
