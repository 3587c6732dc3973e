"""The tables, their migrations, and the privileges of a core's role. Names are looked up along the search_path.

    snippets, fields, bonds, types   the content; `fields` has the values of indexed fields (`reed.store.field_values`)
    search, unindexed                the search index, and the snippets whose row in it is out of date
    reindex                          ranges of snippets to index again: of a type, or of all types if that is ''
    changes, batches, head           the log: the lines of each transaction, the order of transactions, the last numbers
                                     (a bond's line has id and type of the parent; name: `change_log.bond_name`)
    deleted                          what events of the log carry of deleted snippets
    subscribers                      how far the log was delivered to each plugin, and by which core
    schedules                        when each plugin's schedules are due, and how they ended
    cores                            the cores that are running
    reed_schema                      one row: the version of these tables, and the oldest one that a core may know

    version of the tables     a core that knows version K
    = K                       uses them
    < K                       migrates them, in one transaction with the row of reed_schema locked
    > K, oldest_core <= K     uses them: a rolling upgrade has begun
    > K, oldest_core > K      is refused

A migration that removes something comes one release after the one that stops using it.
"""

from __future__ import annotations

from typing import NamedTuple

import psycopg
from psycopg import errors, sql

from reed.errors import StoreFailed
from reed.store.postgres.session import Session

TABLES = (
    "reed_schema",
    "types",
    "snippets",
    "fields",
    "bonds",
    "search",
    "unindexed",
    "reindex",
    "head",
    "changes",
    "batches",
    "deleted",
    "subscribers",
    "cores",
    "schedules",
)
HEADS = ("batches", "bonds", "trimmed")  # rows of `head`; a core adds 'epoch'
EPOCH = "SELECT 'epoch', (random() * 4294967295)::bigint"  # such a row, random

_ATTEMPTS = 20
_LOCK_TIMEOUT = "30s"
_RACED = (errors.UniqueViolation, errors.DuplicateTable, errors.SerializationFailure, errors.DeadlockDetected)


class Migration(NamedTuple):
    statements: tuple[str, ...]
    oldest_core: int  # the oldest version that a core may know to use the tables after it


MIGRATIONS = (
    Migration(
        (
            'CREATE TABLE types (name text COLLATE "C" PRIMARY KEY, revision bigint NOT NULL,'
            " definition text NOT NULL)",
            'CREATE TABLE snippets (id uuid PRIMARY KEY, type text COLLATE "C" NOT NULL,'
            ' name text COLLATE "C" NOT NULL,'
            " version bigint NOT NULL, created_at bigint NOT NULL, updated_at bigint NOT NULL, content text NOT NULL,"
            # A page needs it of each snippet, and octet_length would read the whole content.
            " size int NOT NULL GENERATED ALWAYS AS (octet_length(content)) STORED)",
            "CREATE UNIQUE INDEX snippets_by_name ON snippets (name) WHERE name <> ''",
            "CREATE INDEX snippets_by_type ON snippets (type, id)",
            # Deleted with their snippet: a foreign key would cost each CREATE a look at a row that it has just written.
            """CREATE TABLE fields (type text COLLATE "C" NOT NULL, field text COLLATE "C" NOT NULL,"""
            """ value text COLLATE "C" NOT NULL, id uuid NOT NULL, is_unique boolean NOT NULL,"""
            " PRIMARY KEY (type, field, value, id))",
            "CREATE UNIQUE INDEX fields_unique ON fields (type, field, value) WHERE is_unique",
            "CREATE INDEX fields_by_id ON fields (id)",
            "CREATE TABLE bonds (parent uuid NOT NULL REFERENCES snippets, weight int NOT NULL,"
            ' path text COLLATE "C" NOT NULL,'
            " child uuid NOT NULL REFERENCES snippets, id uuid NOT NULL UNIQUE,"
            " PRIMARY KEY (parent, child))",
            "CREATE INDEX bonds_by_child ON bonds (child)",
            # The indexer may write it while the snippet is deleted: here the foreign key is needed.
            "CREATE TABLE search (id uuid PRIMARY KEY REFERENCES snippets ON DELETE CASCADE,"
            ' type text COLLATE "C" NOT NULL,'
            " version bigint NOT NULL, vector tsvector NOT NULL)",
            "CREATE INDEX search_by_vector ON search USING gin (vector) WITH (fastupdate = off)",
            "CREATE TABLE unindexed (id uuid PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),"
            " claimed timestamptz NOT NULL DEFAULT '-infinity', attempts int NOT NULL DEFAULT 0)",
            # Rows that are updated in every transaction: free space in the page keeps the index out of it.
            "CREATE TABLE head (what text PRIMARY KEY, last bigint NOT NULL) WITH (fillfactor = 10)",
            "INSERT INTO head VALUES " + ", ".join(f"('{name}', 0)" for name in HEADS),
            "CREATE TABLE changes (core uuid NOT NULL, n bigint NOT NULL, k int NOT NULL, kind text NOT NULL, id uuid,"
            " type text NOT NULL, name text NOT NULL, version bigint NOT NULL, at bigint NOT NULL,"
            " made_by text NOT NULL, PRIMARY KEY (core, n, k))",
            "CREATE TABLE batches (seq bigint PRIMARY KEY, core uuid NOT NULL, n bigint NOT NULL,"
            " at timestamptz NOT NULL DEFAULT clock_timestamp(), UNIQUE (core, n))",
            "CREATE TABLE subscribers (name text PRIMARY KEY, told bigint NOT NULL, k int NOT NULL DEFAULT 0,"
            " kinds text[] NOT NULL DEFAULT '{}', leader uuid, generation bigint NOT NULL DEFAULT 0,"
            " lease timestamptz NOT NULL DEFAULT '-infinity', lost bigint NOT NULL DEFAULT 0)",
            "CREATE TABLE cores (core uuid PRIMARY KEY, name text NOT NULL, version text NOT NULL,"
            " started timestamptz NOT NULL, seen timestamptz NOT NULL, registry jsonb NOT NULL)",
        ),
        oldest_core=1,
    ),
    Migration(
        (
            "CREATE TABLE schedules (plugin text NOT NULL, name text NOT NULL, rule text NOT NULL, due bigint NOT NULL,"
            " leader uuid, generation bigint NOT NULL DEFAULT 0, lease timestamptz NOT NULL DEFAULT '-infinity',"
            " last_due bigint NOT NULL DEFAULT 0, began bigint NOT NULL DEFAULT 0, ended bigint NOT NULL DEFAULT 0,"
            " error text NOT NULL DEFAULT '', runs bigint NOT NULL DEFAULT 0, failures bigint NOT NULL DEFAULT 0,"
            " skipped bigint NOT NULL DEFAULT 0, PRIMARY KEY (plugin, name))",
        ),
        oldest_core=1,
    ),
    Migration(
        (
            # Of the snippets that lines of the log delete, for their events (reed.store.deleted). A line is inserted in
            # the transaction that ends with its batch, and goes with it.
            "CREATE TABLE deleted (core uuid NOT NULL, n bigint NOT NULL, k int NOT NULL, content text NOT NULL,"
            " bonds text NOT NULL, PRIMARY KEY (core, n, k),"
            " FOREIGN KEY (core, n) REFERENCES batches (core, n) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)",
        ),
        oldest_core=1,
    ),
    Migration(
        (
            # The indexer moves `after` and marks the snippets that it passes: a mark for each of them at once would
            # take a transaction as long as the store is large.
            'CREATE TABLE reindex (type text COLLATE "C" PRIMARY KEY, after uuid NOT NULL, remaining bigint NOT NULL)',
            "CREATE INDEX unindexed_by_at ON unindexed (at)",
            # A claim changes the row where it is, without a new entry in the indexes.
            "ALTER TABLE unindexed SET (fillfactor = 50)",
        ),
        oldest_core=1,
    ),
)
VERSION = len(MIGRATIONS)


class Versions(NamedTuple):
    version: int
    oldest_core: int


def versions(connection: Session, *, lock: bool = False) -> Versions | None:
    """What reed_schema says; None if there are no tables yet."""
    try:
        row = connection.execute(
            f"SELECT version, oldest_core FROM reed_schema{' FOR UPDATE' if lock else ''}"
        ).fetchone()
    except errors.UndefinedTable:
        return None
    return Versions(*row) if row else None


def migrate(
    connection: Session, place: str, *, migrations: tuple[Migration, ...] = MIGRATIONS, create: bool = True
) -> tuple[int, int]:
    """Create the tables or bring them up to date; gives the version before, 0 for none, and after. Several cores may do
    it at the same time. Raises StoreFailed if this is not possible, or the tables are too new.

    `connection` is in autocommit mode. `place` names the database in errors. Without `create` nothing is changed.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _migrate(connection, place, migrations, create=create)
        except _RACED as error:
            if attempt == _ATTEMPTS:
                raise _failed(place, error) from error
        except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
            role = connection.info.user
            raise StoreFailed(
                f"{place}: the role {role} may not use, create or change reed's tables ({_first_line(error)})",
                hint=f"run `reed store migrate --grant {role}` as their owner",
            ) from error
        except psycopg.Error as error:
            raise _failed(place, error) from error
    raise AssertionError("unreachable")


def _migrate(connection: Session, place: str, migrations: tuple[Migration, ...], *, create: bool) -> tuple[int, int]:
    found = versions(connection)
    known = len(migrations)
    if found is not None and found.version >= known:
        _check_known(found, known, place)
        return found.version, found.version
    if not create:
        what = "there are no tables of reed" if found is None else f"the tables have version {found.version} of {known}"
        raise StoreFailed(f"{place}: {what}", hint="run `reed store migrate`")
    if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
        raise StoreFailed(
            f"{place}: the database has the encoding {encoding}",
            hint="create one with ENCODING 'UTF8' TEMPLATE template0",
        )
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        if found is None:
            connection.execute("CREATE TABLE reed_schema (version int NOT NULL, oldest_core int NOT NULL)")
            connection.execute("INSERT INTO reed_schema VALUES (0, 0)")
        locked = versions(connection, lock=True)
        if locked is None:
            raise StoreFailed(f"{place}: the table reed_schema is empty", hint="restore a backup of the database")
        for migration in migrations[locked.version :]:
            for statement in migration.statements:
                connection.execute(statement)
        if locked.version < known:
            connection.execute(
                "UPDATE reed_schema SET version = %s, oldest_core = %s", (known, migrations[-1].oldest_core)
            )
    _check_known(locked, known, place)
    return locked.version, max(known, locked.version)


def _check_known(found: Versions, known: int, place: str) -> None:
    if found.version > known and found.oldest_core > known:
        raise StoreFailed(
            f"{place} was migrated by a newer reed (tables of version {found.version}; this one knows {known})",
            hint="upgrade reed-cms on this machine",
        )


def grant(connection: Session, role: str, place: str) -> None:
    """Give a role what a core needs: reading and writing rows of these tables, and nothing else."""
    name = sql.Identifier(role)
    tables = sql.SQL(", ").join(sql.Identifier(table) for table in TABLES if table != "reed_schema")
    row = connection.execute("SELECT current_schema()").fetchone()
    schema = sql.Identifier(row[0] if row else "public")
    statements = (
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name),
        sql.SQL("GRANT SELECT ON reed_schema TO {}").format(name),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(tables, name),
    )
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
    except errors.UndefinedObject as error:
        raise StoreFailed(
            f"{place}: there is no role {role!r}", hint=f"CREATE ROLE {role} LOGIN, then again"
        ) from error
    except psycopg.Error as error:
        raise _failed(place, error) from error


def _failed(place: str, error: psycopg.Error) -> StoreFailed:
    return StoreFailed(f"{place}: {_first_line(error)}", hint="nothing was changed; see the log of PostgreSQL")


def _first_line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
