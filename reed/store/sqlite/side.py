"""A SQLite store as a side of a copy (see `reed.store.copying`). The file stays locked, so no core can open it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reed.errors import StoreFailed
from reed.store.copying import PAGE_BYTES, PAGE_ROWS, SCHEDULES, Bond, Change, Counts, Entry, Side, Snippet
from reed.store.deleted import Deleted
from reed.store.field_values import NULL_KEY, key_of_text, text_of_key
from reed.store.ids import sequence_in, sequence_of
from reed.store.sqlite.database import MIGRATIONS, NEW_EPOCH, Database
from reed.store.sqlite.files import FILE, connect, errors_of, layout_of
from reed.store.types import compile_type

_NULL = text_of_key(NULL_KEY)
_SNIPPETS = (
    "SELECT sequence, id, type, name, version, created_at, updated_at, content FROM snippets WHERE sequence > ?"
    " ORDER BY sequence"
)
_ENTRIES = (
    "SELECT sequence, field, key, is_unique FROM field_entries JOIN field_indexes ON field_indexes.id = index_id"
    " WHERE is_ready AND sequence BETWEEN ? AND ?"
)
_BONDS = (
    "SELECT c.id, p.id, weight, path, bonds.id FROM bonds JOIN snippets c ON c.sequence = child"
    " JOIN snippets p ON p.sequence = parent WHERE (child, parent) > (?, ?) ORDER BY child, parent LIMIT ?"
)
_EVENTS = "SELECT subscriber, kind, snippet_id, type, name, version, at, content, bonds FROM outbox ORDER BY id"
_PUT = (
    "INSERT INTO snippets VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sequence) DO UPDATE SET type = excluded.type,"
    " name = excluded.name, version = excluded.version, created_at = excluded.created_at,"
    " updated_at = excluded.updated_at, content = excluded.content WHERE id = excluded.id"
)
_REMAINS = (  # of deleted snippets: see `bonds`
    "DELETE FROM bonds WHERE parent NOT IN (SELECT sequence FROM snippets)"
    " OR child NOT IN (SELECT sequence FROM snippets)",
    "DELETE FROM bond_remains",
)
_INDEX_AGAIN = ("UPDATE reindex SET generation = generation + 1, after = 0", "DELETE FROM stale")


class SqliteSide:
    def __init__(self, folder: str | Path, *, create: bool = False) -> None:
        """`folder` is a data folder. Raises StoreFailed: there is no store, or a core uses it."""
        path = Path(folder) / FILE
        self.place = f"sqlite:{folder}"
        if not create and not path.exists():
            raise StoreFailed(f"{self.place}: there is no {FILE}", hint="name the data folder of a site")
        if create:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = Database(str(path), lambda _: None)
        self._connection = self._database.writer
        self._is_prepared = False

    def close(self) -> None:
        self._database.close()

    def check_idle(self) -> None:
        """The file is locked."""

    # Reading.

    def counts(self) -> Counts:
        with errors_of(self._database.path):
            return _counts(self._connection)

    def types(self) -> dict[str, bytes]:
        return {name: bytes(text) for name, text in self._rows("SELECT name, definition FROM types")}

    def snippets(self, after: str) -> list[Snippet]:
        rows: list[Any] = []
        size = 0
        with errors_of(self._database.path):
            for row in self._connection.execute(_SNIPPETS, (_sequence(after),)):
                rows.append(row)
                size += len(row[-1])
                if len(rows) >= PAGE_ROWS or size >= PAGE_BYTES:
                    break
            entries = self._entries(rows[0][0], rows[-1][0]) if rows else {}
        return [Snippet._make((*row[:-1], bytes(row[-1]), tuple(sorted(entries.get(key, ()))))) for key, *row in rows]

    def _entries(self, first: int, last: int) -> dict[int, list[Entry]]:
        found: dict[int, list[Entry]] = {}
        for sequence, field, key, is_unique in self._connection.execute(_ENTRIES, (first, last)):
            value = text_of_key(bytes(key))
            found.setdefault(sequence, []).append(Entry(field, value, bool(is_unique) and value != _NULL))
        return found

    def bonds(self, after: tuple[str, str]) -> list[Bond]:
        return [Bond(*row) for row in self._rows(_BONDS, *map(_sequence, after), PAGE_ROWS)]

    def changes(self) -> Iterator[Change]:
        """The rows of one change follow each other, one for each subscriber."""
        change: tuple[Any, ...] = ()
        waiting: set[str] = set()
        with errors_of(self._database.path):
            for subscriber, *fields, content, bonds in self._connection.execute(_EVENTS):
                row = (*fields, Deleted(content or b"", bonds or b""))
                if waiting and (change != row or subscriber in waiting):
                    yield Change._make((*change, frozenset(waiting)))
                    waiting.clear()
                change = row
                waiting.add(subscriber)
        if waiting:
            yield Change._make((*change, frozenset(waiting)))

    def lost(self) -> dict[str, int]:
        rows = self._rows("SELECT subscriber, sum(lost) FROM outbox GROUP BY subscriber")
        return {name: lost for name, lost in rows if lost}

    def last_event(self) -> tuple[int, int]:
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        last = rows[0][0] if rows else 0
        return last, last

    def schedules(self) -> list[tuple[Any, ...]]:
        return self._rows(f"SELECT {SCHEDULES} FROM schedules ORDER BY plugin, name")

    def _rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        with errors_of(self._database.path):
            return self._connection.execute(query, params).fetchall()

    # Writing.

    def put_schedules(self, rows: Collection[tuple[Any, ...]]) -> None:
        with self._transaction() as execute:
            execute("DELETE FROM schedules")
            for row in rows:
                execute(f"INSERT INTO schedules ({SCHEDULES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def put_types(self, types: Mapping[str, bytes], deleted: Collection[str]) -> None:
        with self._transaction() as execute:
            for name in deleted:
                execute("DELETE FROM types WHERE name = ?", (name,))
                self._put_indexes(name, {})
            for name, text in types.items():
                execute("INSERT OR REPLACE INTO types VALUES (?, ?)", (name, text))
                self._put_indexes(name, compile_type(name, text, without_schema=True).fields)

    def _put_indexes(self, type_name: str, wanted: dict[str, bool]) -> None:
        """Entries of an index that stays are compared, and written, with their snippets."""
        execute = self._connection.execute
        stored = execute("SELECT field, id FROM field_indexes WHERE type = ? AND is_ready", (type_name,)).fetchall()
        for field, number in stored:
            if field in wanted:
                execute("UPDATE field_indexes SET is_unique = ? WHERE id = ?", (wanted.pop(field), number))
            else:
                execute("DELETE FROM field_entries WHERE index_id = ?", (number,))
                execute("DELETE FROM field_indexes WHERE id = ?", (number,))
        for field, is_unique in wanted.items():
            execute(
                "INSERT INTO field_indexes (type, field, is_unique, is_ready) VALUES (?, ?, ?, 1)",
                (type_name, field, is_unique),
            )

    def put_snippets(self, snippets: Collection[Snippet], deleted: Collection[str]) -> None:
        with self._transaction() as execute:
            indexes = {
                (type_name, field): number
                for number, type_name, field in execute("SELECT id, type, field FROM field_indexes WHERE is_ready")
            }
            for snippet_id in deleted:
                for table in ("snippets", "field_entries"):
                    execute(f"DELETE FROM {table} WHERE sequence = ?", (sequence_in(snippet_id),))
            for each in snippets:  # a name may move from one snippet to another
                if each.name:
                    execute("UPDATE snippets SET name = '' WHERE name = ? AND name != ''", (each.name,))
            for each in snippets:
                sequence = self._sequence_of(each)
                execute(_PUT, (sequence, *each[:-1]))
                execute("DELETE FROM field_entries WHERE sequence = ?", (sequence,))
                for entry in each.entries:
                    number = indexes[each.type, entry.field]
                    execute("INSERT INTO field_entries VALUES (?, ?, ?)", (sequence, number, key_of_text(entry.value)))

    def _sequence_of(self, snippet: Snippet) -> int:
        """Its key, which no other snippet may have. Raises StoreFailed."""
        sequence = sequence_of(snippet.id)
        row = self._connection.execute("SELECT id FROM snippets WHERE sequence = ?", (sequence,)).fetchone()
        if sequence is None or (row and row[0] != snippet.id):
            what = f"the first 60 bits of {row[0]}" if row else "no UUID"
            raise StoreFailed(
                f"{self.place} cannot keep the snippet {snippet.id}: its id has {what}",
                hint="create that snippet again, which gives it a new id, and delete this one",
            )
        return sequence

    def put_bonds(self, bonds: Collection[Bond], deleted: Collection[Bond]) -> None:
        with self._transaction() as execute:
            for bond in deleted:
                pair = sequence_in(bond.parent), sequence_in(bond.child)
                execute("DELETE FROM bonds WHERE parent = ? AND child = ?", pair)
            for bond in bonds:
                ends = sequence_in(bond.parent), bond.weight, bond.path, sequence_in(bond.child)
                execute("INSERT OR REPLACE INTO bonds VALUES (?, ?, ?, ?, ?)", (*ends, bond.id))

    def put_events(self, source: Side) -> int:
        lost = dict(source.lost())
        last = max(self.last_event()[1], source.last_event()[1])
        count = 0
        with self._transaction() as execute:
            execute("DELETE FROM outbox")
            for change in source.changes():
                for name in sorted(change.waiting):
                    last, count = last + 1, count + 1
                    execute(
                        "INSERT INTO outbox (id, subscriber, kind, snippet_id, type, name, version, at, content, bonds,"
                        " lost) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (last, name, *change[:-2], *(each or None for each in change.deleted), lost.pop(name, 0)),
                    )
            execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
            execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (last,))
        return count

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        connection = self._connection
        with errors_of(self._database.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                if not self._is_prepared:
                    for statement in (*_REMAINS, *_INDEX_AGAIN, NEW_EPOCH):
                        connection.execute(statement)
                yield connection.execute
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self._is_prepared = True
        self._database.truncate_wal()


def status(folder: str | Path) -> dict[str, Any]:
    """Figures of a store that a core may be using. Raises StoreFailed."""
    path = os.path.join(folder, FILE)
    if not os.path.exists(path):
        raise StoreFailed(f"sqlite:{folder}: there is no {FILE}", hint="name the data folder of a site")
    with errors_of(path):
        connection = connect(os.path.abspath(path))
        try:
            _, version = layout_of(connection)
            waiting = dict(connection.execute("SELECT subscriber, count(*) FROM outbox GROUP BY subscriber"))
            return {
                "kind": "sqlite",
                "path": os.path.abspath(path),
                "schema": version,
                "schema_known": len(MIGRATIONS),
                **_counts(connection)._asdict(),
                "log": sum(waiting.values()),
                "subscribers": [{"name": name, "waiting": count} for name, count in sorted(waiting.items())],
                "cores": [],
            }
        finally:
            connection.close()


def _counts(connection: sqlite3.Connection) -> Counts:
    return Counts(*(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in Counts._fields))


def _sequence(snippet_id: str) -> int:
    return sequence_in(snippet_id) if snippet_id else -1
