"""The rows of `fields` for fields that a definition begins to index: made in batches while all cores write.

    batches of snippets ──▶ what was written meanwhile, by the log ──▶ the type is locked: the last changes, and the
    (each a transaction)     until little is left                       definition takes effect, in one transaction

Nobody reads these rows before the definition is there, and writers do not know of the fields yet: a write deletes the
rows of its snippet, or leaves old ones, so they are made again. A snippet is locked while its rows are made. What a
worker that was killed has left behind is deleted by the next definition with that field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from psycopg import errors

from reed.errors import StoreUnavailable
from reed.store.field_values import NULL_KEY, FieldValue, text_of_key, values_of
from reed.store.postgres.log_statements import HEADS, lines_of
from reed.store.postgres.session import Session, row_of
from reed.store.postgres.statements import FIRST_ID
from reed.store.snippets import cannot_be_unique

T = TypeVar("T")

_BATCH = 100  # snippets
_BATCH_BYTES = 1024 * 1024  # of their contents
_ROUNDS = 20  # of catching up, before the type is locked in any case
_DELETED = 1000  # rows at a time

_NEXT = "SELECT id::text, size FROM snippets WHERE type = %s AND id > %s::uuid ORDER BY snippets.id LIMIT %s"
_CONTENTS = (
    "SELECT id::text, name, content FROM snippets WHERE type = %s AND id = ANY (%s::uuid[]) ORDER BY snippets.id"
    " FOR SHARE"
)
_DELETE = "DELETE FROM fields WHERE type = %s AND id = ANY (%s::uuid[]) AND field = ANY (%s)"
_HOLDERS = (
    "SELECT field, value, id::text FROM fields JOIN unnest(%s::text[], %s::text[]) AS wanted (field, value)"
    " USING (field, value) WHERE type = %s AND is_unique AND id <> ALL (%s::uuid[])"
)
_PUT = (
    "INSERT INTO fields (type, field, value, id, is_unique)"
    " SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::uuid[], %s::boolean[])"
)
_CHANGED = (
    f"SELECT DISTINCT line.id::text FROM {lines_of('(SELECT * FROM batches WHERE seq > %s AND seq <= %s)')}"
    " WHERE kind IN ('snippet.created', 'snippet.updated')"
)
_SOME = "(SELECT ctid FROM fields WHERE type = %s AND field = ANY (%s){} LIMIT %s) AS rows_found"
_DELETE_SOME = f"DELETE FROM fields USING {_SOME.format('')} WHERE fields.ctid = rows_found.ctid"
_LOOSEN_SOME = (
    f"UPDATE fields SET is_unique = false FROM {_SOME.format(' AND is_unique')} WHERE fields.ctid = rows_found.ctid"
)


def again(step: Callable[[], T]) -> T:
    """Until no other transaction is in its way; the worker's deadline ends that."""
    while True:
        try:
            return step()
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            continue


class FieldRows:
    def __init__(
        self, connection: Session, type_name: str, fields: Mapping[str, bool], indexed: Collection[str]
    ) -> None:
        """`fields`: those to be made, and whether they must be unique; `indexed`: those that have rows already, and
        become unique."""
        self._connection = connection
        self._type_name = type_name
        self._fields = fields
        self._added = [field for field in fields if field not in indexed]
        self._tightened = [field for field in fields if field in indexed]
        self._seq = 0  # what was written later is to be caught up with

    def build(self) -> None:
        """Conflict if a value that must be unique occurs twice."""
        self._seq = self._heads()[0]
        self.undo()
        after = FIRST_ID
        while ids := self._next(after):
            self._make(ids)
            after = ids[-1]
        for _ in range(_ROUNDS):
            if self.catch_up() <= _BATCH:
                break

    def catch_up(self, *, is_last: bool = False) -> int:
        """Make the rows of snippets again that were written since the last time; how many they are. `is_last`: within
        the transaction of the definition, which may be rolled back and tried again."""
        head, trimmed = self._heads()
        if trimmed > self._seq:
            raise StoreUnavailable("this definition took longer than the log is kept, ten minutes", hint="retry")
        rows = self._connection.execute(_CHANGED, (self._seq, head)).fetchall()
        ids = [snippet_id for (snippet_id,) in rows]
        for at in range(0, len(ids), _BATCH):
            self._make(ids[at : at + _BATCH])
        if not is_last:
            self._seq = head
        return len(ids)

    def undo(self) -> None:
        """As if nothing had been made."""
        for statement, fields in ((_DELETE_SOME, self._added), (_LOOSEN_SOME, self._tightened)):
            while fields and self._clear(statement, fields):
                pass

    def _clear(self, statement: str, fields: list[str]) -> int:
        return again(lambda: self._connection.execute(statement, (self._type_name, fields, _DELETED)).rowcount)

    def _heads(self) -> tuple[int, int]:
        head, trimmed = row_of(self._connection, HEADS)
        return int(head), int(trimmed)

    def _next(self, after: str) -> list[str]:
        ids, room = [], _BATCH_BYTES
        for snippet_id, size in self._connection.execute(_NEXT, (self._type_name, after, _BATCH)):
            ids.append(snippet_id)
            room -= size
            if room <= 0:
                break
        return ids

    def _make(self, ids: list[str]) -> None:
        def make() -> None:
            with self._connection.transaction():
                self._make_locked(ids)

        again(make)

    def _make_locked(self, ids: list[str]) -> None:
        execute = self._connection.execute
        found = execute(_CONTENTS, (self._type_name, ids)).fetchall()
        execute(_DELETE, (self._type_name, ids, list(self._fields)))
        entries: list[tuple[str, str, str, bool]] = []
        unique: dict[tuple[str, str], tuple[str, FieldValue]] = {}  # label of the snippet
        for snippet_id, name, content in found:
            for field, value in values_of(content.encode(), self._fields).items():
                is_unique = self._fields[field] and value.key != NULL_KEY
                entry = field, text_of_key(value.key)
                entries.append((*entry, snippet_id, is_unique))
                if is_unique and entry in unique:
                    raise cannot_be_unique(field, value.shown, unique[entry][0], name or snippet_id)
                if is_unique:
                    unique[entry] = name or snippet_id, value
        if unique:
            self._check_holders(ids, unique)
        if entries:
            execute(_PUT, (self._type_name, *([entry[at] for entry in entries] for at in range(4))))

    def _check_holders(self, ids: list[str], unique: Mapping[tuple[str, str], tuple[str, FieldValue]]) -> None:
        """Other snippets with one of these values: a row may be old, since its snippet was written meanwhile."""
        wanted = [[entry[at] for entry in unique] for at in (0, 1)]
        holders = self._connection.execute(_HOLDERS, (*wanted, self._type_name, ids)).fetchall()
        for field, text, holder in holders:
            label, value = unique[field, text]
            for _, name, content in self._connection.execute(_CONTENTS, (self._type_name, [holder])).fetchall():
                held = values_of(content.encode(), (field,)).get(field)
                if held is not None and held.key == value.key:
                    raise cannot_be_unique(field, value.shown, name or holder, label)
            self._connection.execute(_DELETE, (self._type_name, [holder], [field]))
