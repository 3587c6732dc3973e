"""A PostgreSQL store as a side of a copy (see `reed.store.copying`), when no core may run, one copy at a time; and
its figures for `reed store status`, which reads while cores run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from reed.errors import StoreFailed
from reed.store.copying import (
    PAGE_BYTES,
    PAGE_ROWS,
    SCHEDULES,
    Bond,
    Change,
    Counts,
    Entry,
    Side,
    Snippet,
    waiting_events,
)
from reed.store.deleted import NOT_DELETED, Deleted
from reed.store.postgres.log_statements import CORE_SEEN
from reed.store.postgres.session import connect, place_of
from reed.store.postgres.statements import FIRST_ID, INDEX_AGAIN
from reed.store.postgres.tables import VERSION, migrate, versions
from reed.store.postgres.writer import MAX_LINES
from reed.store.setting import StoreSetting
from reed.store.types import compile_type

COPY_LOCK = 0x72656564  # key of the advisory lock that a copy holds
COPIER = "00000000-0000-7000-8000-000000000001"  # as whom a copy writes in the log

_LAST_K = (1 << 31) - 1

# ORDER BY names the table's columns: the texts of this name would be sorted otherwise, and not by the index.
_SNIPPETS = (
    "SELECT id::text, type, name, version, created_at, updated_at, content FROM snippets WHERE id > %s::uuid"
    " ORDER BY snippets.id LIMIT %s"
)
_SIZES = "SELECT size FROM snippets WHERE id > %s::uuid ORDER BY snippets.id LIMIT %s"
_ENTRIES = "SELECT id::text, type, field, value, is_unique FROM fields WHERE id = ANY(%s::uuid[])"
_BONDS = (
    "SELECT child::text, parent::text, weight, path, id::text FROM bonds"
    " WHERE (child, parent) > (%s::uuid, %s::uuid) ORDER BY bonds.child, bonds.parent LIMIT %s"
)
# Waiting for a subscriber: the lines of the log behind its last one, of its kinds, that it has not made itself.
_WAITING = (
    " FROM subscribers s JOIN batches b ON b.seq >= s.told"
    " JOIN changes c ON c.core = b.core AND c.n = b.n AND c.kind = ANY (s.kinds) AND c.made_by <> s.name"
    " WHERE (b.seq, c.k) > (s.told, s.k)"
)
_SUBSCRIBERS = (
    f"WITH waiting AS (SELECT s.name, count(*) AS total{_WAITING} GROUP BY s.name)"
    " SELECT subscribers.name, coalesce(total, 0), lost,"
    " CASE WHEN lease > clock_timestamp() THEN coalesce(cores.name, leader::text) END"
    " FROM subscribers LEFT JOIN waiting USING (name) LEFT JOIN cores ON cores.core = leader"
    " ORDER BY subscribers.name"
)
_ALL_CORES = (
    "SELECT name, version, started, extract(epoch FROM clock_timestamp() - seen)::float8,"
    f" seen > clock_timestamp() - interval '{CORE_SEEN}' FROM cores ORDER BY name, started"
)
_CHANGES = (
    "SELECT c.kind, c.id::text, c.type, c.name, c.version, c.at,"
    " (SELECT content FROM deleted d WHERE (d.core, d.n, d.k) = (c.core, c.n, c.k)),"
    " (SELECT bonds FROM deleted d WHERE (d.core, d.n, d.k) = (c.core, c.n, c.k)), array_agg(s.name)"
    f"{_WAITING} GROUP BY b.seq, c.core, c.n, c.k, c.kind, c.id, c.type, c.name, c.version, c.at ORDER BY b.seq, c.k"
)
# Contents and values go row by row, in pipelines: psycopg is slow at making arrays of long texts.
_PUT = (
    "INSERT INTO snippets VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET type = excluded.type,"
    " name = excluded.name, version = excluded.version, created_at = excluded.created_at,"
    " updated_at = excluded.updated_at, content = excluded.content"
)
_FREE_VALUE = "DELETE FROM fields WHERE type = %s AND field = %s AND value = %s AND is_unique"
_PUT_ENTRY = "INSERT INTO fields VALUES (%s, %s, %s, %s, %s)"
_UNINDEXED = f"INSERT INTO unindexed (id) SELECT unnest(%s::uuid[]) {INDEX_AGAIN}"
_PUT_BONDS = "INSERT INTO bonds SELECT * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::uuid[], %s::uuid[])"
# Each line is a transaction of its own.
_PUT_BATCHES = "INSERT INTO batches (seq, core, n) SELECT n, %s, n FROM unnest(%s::bigint[]) AS n"
_PUT_CHANGES = (
    "INSERT INTO changes SELECT %s, seq, 0, kind, id, type, name, version, at, made_by"
    " FROM unnest(%s::bigint[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::bigint[],"
    " %s::text[]) AS line (seq, kind, id, type, name, version, at, made_by)"
)
_PUT_DELETED = "INSERT INTO deleted (core, n, k, content, bonds) VALUES (%s, %s, 0, %s, %s)"
_BEHIND = "SELECT (SELECT count(*) FROM unindexed) + (SELECT coalesce(sum(remaining), 0) FROM reindex)"
_CORES = f"SELECT name FROM cores WHERE seen > clock_timestamp() - interval '{CORE_SEEN}' ORDER BY name"


class PostgresSide:
    def __init__(self, setting: StoreSetting, *, create: bool = False) -> None:
        """With `create` the tables are made if there are none. Raises StoreFailed, also if a core is running."""
        self._connection = connect(setting, "reed store")
        self.place = place_of(self._connection)
        try:
            migrate(self._connection, self.place, create=create)
            with self._errors():
                self._connection.execute("SET jit = off")  # compiling takes longer than any of these queries
                row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (COPY_LOCK,)).fetchone()
            if row != (True,):
                raise StoreFailed(f"{self.place}: another `reed store` copies it", hint="wait until that has ended")
            self.check_idle()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def check_idle(self) -> None:
        cores = [name for (name,) in self._rows(_CORES)]
        if cores:
            raise StoreFailed(
                f"{self.place} is used by running cores: {', '.join(cores)}",
                hint=f"stop them (reed stop), wait {CORE_SEEN}, and run the command again",
            )

    # Reading.

    def counts(self) -> Counts:
        with self._errors():
            return _counts(self._connection)

    def types(self) -> dict[str, bytes]:
        return {name: text.encode() for name, text in self._rows("SELECT name, definition FROM types")}

    def snippets(self, after: str) -> list[Snippet]:
        after = after or FIRST_ID
        with self._errors():
            sizes = [size for (size,) in self._connection.execute(_SIZES, (after, PAGE_ROWS))]
            rows = self._connection.execute(_SNIPPETS, (after, _within(sizes, PAGE_BYTES))).fetchall()
            entries: dict[str, list[Entry]] = {}
            fields = self._fields()
            for snippet_id, type_name, *entry in self._connection.execute(_ENTRIES, ([row[0] for row in rows],)):
                if entry[0] in fields.get(type_name, ()):
                    entries.setdefault(snippet_id, []).append(Entry(*entry))
        return [Snippet._make((*row[:-1], row[-1].encode(), tuple(sorted(entries.get(row[0], ()))))) for row in rows]

    def _fields(self) -> dict[str, dict[str, bool]]:
        """The indexed fields of each type. A definition that was broken off may have left rows of others."""
        return {name: compile_type(name, text, without_schema=True).fields for name, text in self.types().items()}

    def bonds(self, after: tuple[str, str]) -> list[Bond]:
        ends = [end or FIRST_ID for end in after]
        return [Bond(*row) for row in self._rows(_BONDS, *ends, PAGE_ROWS)]

    def changes(self) -> Iterator[Change]:
        with self._errors(), self._connection.transaction(), self._connection.cursor("changes") as cursor:
            for *change, content, bonds, waiting in cursor.execute(_CHANGES):
                deleted = Deleted((content or "").encode(), (bonds or "").encode())
                yield Change._make((*change, deleted, frozenset(waiting)))

    def lost(self) -> dict[str, int]:
        return dict(self._rows("SELECT name, lost FROM subscribers WHERE lost > 0"))

    def last_event(self) -> tuple[int, int]:
        last = self._last_batch()
        return last, (last + 1) * MAX_LINES

    def _last_batch(self) -> int:
        rows = self._rows("SELECT last FROM head WHERE what = 'batches'")
        return rows[0][0] if rows else 0

    def schedules(self) -> list[tuple[Any, ...]]:
        return self._rows(f"SELECT {SCHEDULES} FROM schedules ORDER BY plugin, name")

    def _rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._connection.execute(query, params).fetchall()

    # Writing.

    def put_schedules(self, rows: Collection[tuple[Any, ...]]) -> None:
        values = ", ".join(["%s"] * 11)
        with self._transaction() as connection:
            connection.execute("DELETE FROM schedules")
            for row in rows:
                connection.execute(f"INSERT INTO schedules ({SCHEDULES}) VALUES ({values})", row)

    def put_types(self, types: Mapping[str, bytes], deleted: Collection[str]) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM types WHERE name = ANY(%s)", (list(deleted),))
            for name, text in types.items():
                connection.execute(
                    "INSERT INTO types (name, revision, definition) VALUES (%s, 1, %s) ON CONFLICT (name) DO UPDATE"
                    " SET revision = types.revision + 1, definition = excluded.definition",
                    (name, text.decode()),
                )

    def put_snippets(self, snippets: Collection[Snippet], deleted: Collection[str]) -> None:
        ids = [each.id for each in snippets]
        names = [each.name for each in snippets if each.name]
        entries = [
            (each.type, entry.field, entry.value, each.id, entry.is_unique)
            for each in snippets
            for entry in each.entries
        ]
        with self._transaction() as connection, connection.cursor() as cursor:
            # A name or unique value may move from one snippet to another.
            for table in ("snippets", "unindexed"):
                cursor.execute(f"DELETE FROM {table} WHERE id = ANY(%s::uuid[])", (list(deleted),))
            cursor.execute("UPDATE snippets SET name = '' WHERE name = ANY(%s) AND name <> ''", (names,))
            cursor.execute("DELETE FROM fields WHERE id = ANY(%s::uuid[])", ([*ids, *deleted],))
            cursor.executemany(_FREE_VALUE, [entry[:3] for entry in entries if entry[-1]])
            cursor.executemany(_PUT, [(*each[:6], each.content.decode()) for each in snippets])
            cursor.executemany(_PUT_ENTRY, entries)
            cursor.execute(_UNINDEXED, (ids,))

    def put_bonds(self, bonds: Collection[Bond], deleted: Collection[Bond]) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM bonds WHERE id = ANY(%s::uuid[])", ([bond.id for bond in deleted],))
            rows = [(bond.parent, bond.weight, bond.path, bond.child, bond.id) for bond in bonds]
            connection.execute(_PUT_BONDS, _columns(rows, 5))

    def put_events(self, source: Side) -> int:
        """One line of the log for each change. A line names one plugin that it does not go to, the one that made it; so
        if several plugins do not wait for a change amid those that they wait for, all but one get it as well."""
        waiting, lost = waiting_events(source.changes()), source.lost()
        seq = max(self._last_batch(), source.last_event()[0])
        told: dict[str, int] = {}
        with self._transaction() as connection:
            connection.execute("DELETE FROM changes WHERE core = %s", (COPIER,))
            connection.execute("DELETE FROM batches WHERE core = %s", (COPIER,))
            rows: list[tuple[Any, ...]] = []
            deleted: list[tuple[Any, ...]] = []
            for change in source.changes():
                seq += 1
                told |= {name: seq - 1 for name in change.waiting if name not in told}
                left_out = told.keys() - change.waiting
                made_by = min(left_out, key=lambda name: (change.kind not in waiting[name].kinds, name), default="")
                rows.append((seq, *change[:-2], made_by))
                if change.deleted != NOT_DELETED:
                    deleted.append((COPIER, seq, *(member.decode() for member in change.deleted)))
                if len(rows) >= PAGE_ROWS:
                    _put_lines(connection, rows)
                    rows.clear()
            _put_lines(connection, rows)
            connection.cursor().executemany(_PUT_DELETED, deleted)
            for name, (kinds, _) in waiting.items():
                connection.execute(
                    "INSERT INTO subscribers (name, told, k, kinds, lost) VALUES (%s, %s, %s, %s, %s)"
                    " ON CONFLICT (name) DO UPDATE SET told = excluded.told, k = excluded.k, kinds = excluded.kinds,"
                    " lost = excluded.lost, leader = NULL, lease = '-infinity'",
                    (name, told[name], _LAST_K, sorted(kinds), lost.get(name, 0)),
                )
            connection.execute("DELETE FROM subscribers WHERE name <> ALL(%s)", (list(waiting),))
            # One more than the last line: a core's searches wait until what came before that is indexed.
            connection.execute("UPDATE head SET last = %s WHERE what = 'batches'", (seq + 1,))
            connection.execute("DELETE FROM head WHERE what = 'epoch'")  # cursors of watchers no longer fit
        return sum(each.total for each in waiting.values())

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        with self._errors(), self._connection.transaction():
            yield self._connection
            self.check_idle()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            what = str(error).partition("\n")[0]
            raise StoreFailed(
                f"{self.place}: {what}", hint="see the log of PostgreSQL; a copy may be run again"
            ) from error


def status(setting: StoreSetting) -> dict[str, Any]:
    """Raises StoreFailed."""
    with connect(setting, "reed store") as connection:
        place = place_of(connection)
        try:
            found = versions(connection)
            if found is None:
                raise StoreFailed(f"{place}: there are no tables of reed", hint="run `reed store migrate`")
            return _figures(connection) | {"schema": found.version, "schema_known": VERSION}
        except psycopg.Error as error:
            raise StoreFailed(
                f"{place}: {str(error).partition(chr(10))[0]}", hint="see the log of PostgreSQL"
            ) from error


def _figures(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    info, execute = connection.info, connection.execute
    return {
        "kind": "postgres",
        "host": info.host or info.hostaddr,
        "database": info.dbname,
        "server": info.parameter_status("server_version"),
        **_counts(connection)._asdict(),
        "unindexed": _number(connection, _BEHIND),
        "log": _number(connection, "SELECT count(*) FROM changes"),
        "subscribers": [
            {"name": name, "waiting": waiting, "leader": leader, "lost": lost}
            for name, waiting, lost, leader in execute(_SUBSCRIBERS)
        ],
        "cores": [
            {"name": name, "version": version, "started": started.timestamp(), "seen_s": seen, "running": is_running}
            for name, version, started, seen, is_running in execute(_ALL_CORES)
        ],
    }


def _counts(connection: psycopg.Connection[Any]) -> Counts:
    return Counts(*(_number(connection, f"SELECT count(*) FROM {table}") for table in Counts._fields))


def _number(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _put_lines(connection: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> None:
    connection.execute(_PUT_CHANGES, (COPIER, *_columns(rows, 8)))
    connection.execute(_PUT_BATCHES, (COPIER, [row[0] for row in rows]))


def _columns(rows: Collection[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """The arrays that unnest() turns into these rows."""
    return [[row[number] for row in rows] for number in range(count)]


def _within(sizes: list[int], room: int) -> int:
    """How many rows of these sizes fit; at least one."""
    for number, size in enumerate(sizes, 1):
        room -= size
        if room <= 0:
            return number
    return max(len(sizes), 1)
