"""SNIPPET_FIND: the snippets of a type whose fields have certain values, in creation order.

    conditions ── an indexed field? ── entries of the most selective index ──┐
                        └─ none ────── all snippets of the type ─────────────┴── compare the rest ── a page

The list of indexes is read from the same snapshot as the snippets.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import NamedTuple

from reed.store.base import RecordPage
from reed.store.field_values import is_exact, key_of, satisfies
from reed.store.snippets import collect_page
from reed.store.sqlite.lookup import COLUMNS

_MAX_COUNTED = 1000  # entries, to find the most selective index

_INDEXES = "SELECT id, field FROM field_indexes WHERE type = ? AND is_ready"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM field_entries WHERE index_id = ? AND key = ? LIMIT ?)"
_BY_INDEX = (
    f"SELECT {COLUMNS} FROM field_entries CROSS JOIN snippets ON snippets.sequence = field_entries.sequence"
    " WHERE index_id = ? AND key = ? AND field_entries.sequence > ? ORDER BY field_entries.sequence"
)
_SCAN = f"SELECT {COLUMNS} FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence"


class Entries(NamedTuple):
    """The entries of one index that satisfy its condition."""

    size: int
    index_id: int
    field: str
    key: bytes


class Find(NamedTuple):
    type_name: str
    conditions: dict[str, str]  # canonical text by field
    after: int  # sequence number
    limit: int

    def entries(self, connection: sqlite3.Connection, max_counted: int = _MAX_COUNTED) -> Entries | None:
        """The smallest set with every match; None without an index. Its size is counted up to `max_counted`."""
        found: list[Entries] = []
        for index_id, field in connection.execute(_INDEXES, (self.type_name,)).fetchall():
            if field in self.conditions:
                key = key_of(self.conditions[field])
                (size,) = connection.execute(_COUNT, (index_id, key, max_counted)).fetchone()
                found.append(Entries(size, index_id, field, key))
        return min(found, default=None)

    def page(self, connection: sqlite3.Connection) -> RecordPage:
        entries, conditions = self.entries(connection), self.conditions
        if entries is None:
            rows = connection.execute(_SCAN, (self.type_name, self.after))
        else:
            rows = connection.execute(_BY_INDEX, (entries.index_id, entries.key, self.after))
            if is_exact(entries.key):  # the index has compared this field
                conditions = {field: value for field, value in conditions.items() if field != entries.field}
        page = collect_page(rows, self.limit, partial(satisfies, conditions))
        rows.close()
        return page
