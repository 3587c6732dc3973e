"""Snippets as one connection sees them; the writer's also sees what is uncommitted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from reed.store.base import RecordPage
from reed.store.ids import UUID_LENGTH, sequence_in, sequence_of, sequence_range
from reed.store.snippets import AFTER_NAMES, MAX_IDS_COUNTED, PAGE_BYTES, UNREAD, ambiguous, collect_page, not_found
from reed.wire import identifiers
from reed.wire.snippets import Record

COLUMNS = "id, type, name, version, created_at, updated_at, content"

_BY_SEQUENCE = f"SELECT {COLUMNS} FROM snippets WHERE sequence = ?"
_BY_NAME = f"SELECT {COLUMNS} FROM snippets WHERE name = ? AND name != ''"
_LISTED = COLUMNS.replace("content", f"CASE WHEN length(content) <= {PAGE_BYTES} THEN content END")
_PAGE = f"SELECT {_LISTED} FROM snippets WHERE sequence > ? ORDER BY sequence"
_PAGE_OF_TYPE = f"SELECT {_LISTED} FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence"
_CONTENT = "SELECT content FROM snippets WHERE sequence = ?"
_BY_PREFIX = "SELECT id FROM snippets WHERE sequence BETWEEN ? AND ? AND substr(id, 1, ?) = ? ORDER BY sequence LIMIT ?"
_NAMES = "SELECT name FROM snippets WHERE name != '' AND name >= ? AND name < ? ORDER BY name LIMIT ?"
_NAMES_FROM = "SELECT name FROM snippets WHERE name != '' AND name >= ? ORDER BY name LIMIT 8"
_NAMES_BEFORE = "SELECT name FROM snippets WHERE name != '' AND name < ? ORDER BY name DESC LIMIT 8"


class Lookup:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def find(self, ref: str) -> Record:
        """The record with this ref; NotFound, or Conflict for an ambiguous prefix."""
        row = None
        if len(ref) == UUID_LENGTH:
            snippet_id = ref.lower()
            row = self._execute(_BY_SEQUENCE, (sequence_of(snippet_id),)).fetchone()
            if row is not None and row[0] != snippet_id:
                row = None
        elif identifiers.is_semantic_name(ref):
            row = self._execute(_BY_NAME, (ref,)).fetchone()
        row = row or self._by_prefix(ref.lower())
        if row is None:
            raise not_found(ref, self._near_names(ref))
        return Record._make(row)

    def at(self, sequence: int) -> Record | None:
        row = self._execute(_BY_SEQUENCE, (sequence,)).fetchone()
        return None if row is None else Record._make(row)

    def holder_of(self, name: str) -> str | None:
        """The id of the snippet with this name."""
        row = self._execute(_BY_NAME, (name,)).fetchone()
        return None if row is None else str(row[0])

    def names(self, prefix: str, limit: int) -> list[str]:
        return [name for (name,) in self._execute(_NAMES, (prefix, prefix + AFTER_NAMES, limit))]

    def page(self, type_name: str, after: int, limit: int) -> RecordPage:
        """Records beyond the sequence number `after`, in creation order."""
        rows = self._execute(_PAGE_OF_TYPE, (type_name, after)) if type_name else self._execute(_PAGE, (after,))
        try:
            return collect_page(self._listed(rows), limit)
        finally:
            rows.close()  # an open statement keeps its snapshot

    def _listed(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Columns of a Record. A content larger than a page is read only if it is the first: else the page ends
        before it."""
        for number, row in enumerate(rows):
            if row[-1] is None:
                content = UNREAD if number else self._execute(_CONTENT, (sequence_in(row[0]),)).fetchone()[0]
                row = (*row[:-1], content)  # noqa: PLW2901
            yield row

    def _by_prefix(self, prefix: str) -> Any:
        bounds = sequence_range(prefix)
        if bounds is None:
            return None
        rows = self._execute(_BY_PREFIX, (*bounds, len(prefix), prefix, MAX_IDS_COUNTED + 1)).fetchall()
        if len(rows) > 1:
            raise ambiguous(prefix, [snippet_id for (snippet_id,) in rows])
        return self._execute(_BY_SEQUENCE, (sequence_in(rows[0][0]),)).fetchone() if rows else None

    def _near_names(self, ref: str) -> list[str]:
        """Only neighbours in the index of names: a miss must stay cheap."""
        if not identifiers.is_semantic_name(ref):
            return []
        return [name for (name,) in (*self._execute(_NAMES_FROM, (ref,)), *self._execute(_NAMES_BEFORE, (ref,)))]
