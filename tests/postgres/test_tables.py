"""Making the tables and bringing them up to date: by many at once, by a role that may not, by older and newer cores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reed
from reed.errors import StoreFailed
from tests.postgres.cluster import Cluster

tables = pytest.importorskip("reed.store.postgres.tables")
session = pytest.importorskip("reed.store.postgres.session")

from reed.store.setting import StoreSetting  # noqa: E402

PLACE = "postgres:dbname=test"
ADD = tables.Migration(("ALTER TABLE types ADD COLUMN note text",), oldest_core=1)
DROP = tables.Migration(("ALTER TABLE types DROP COLUMN note",), oldest_core=tables.VERSION + 1)


@pytest.fixture
def connection(database: str) -> Iterator[tables.Connection]:
    with session.connect(StoreSetting("postgres", database)) as opened:
        yield opened


def as_role(database: str, role: str) -> tables.Connection:
    return session.connect(StoreSetting("postgres", re.sub(r"user=\S+", f"user={role}", database)))


@pytest.fixture
def role(cluster: Cluster, database: str) -> Iterator[str]:
    """A role without any privilege."""
    name = "reed_core"
    cluster.sql(f"CREATE ROLE {name} LOGIN")
    yield name
    name_of_database = re.search(r"dbname=(\S+)", database)
    assert name_of_database
    cluster.sql(f"DROP OWNED BY {name}", database=name_of_database[1])
    cluster.sql(f"DROP ROLE {name}")


def column_names(connection: tables.Connection) -> set[str]:
    rows = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'types'")
    return {name for (name,) in rows}


PROGRAM = """
import sys
from reed.store.postgres.session import connect
from reed.store.postgres.tables import migrate
from reed.store.setting import StoreSetting
with connect(StoreSetting("postgres", sys.argv[1])) as connection:
    print("ready", flush=True)
    sys.stdin.read(1)
    print(*migrate(connection, "here"))
"""


def test_ten_cores_start_at_once_on_an_empty_database(connection: tables.Connection, database: str) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(reed.__file__).parent.parent)}
    words = [sys.executable, "-P", "-c", PROGRAM, database]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    cores = [subprocess.Popen(words, env=environ, **pipes) for _ in range(10)]
    for core in cores:
        assert core.stdout is not None
        assert core.stdout.readline() == b"ready\n"
    for core in cores:
        assert core.stdin is not None
        core.stdin.write(b"x")
        core.stdin.flush()
    answers = [core.communicate()[0].decode().strip() for core in cores]
    assert sorted(answers) == [f"0 {tables.VERSION}", *[f"{tables.VERSION} {tables.VERSION}"] * 9]
    assert connection.execute("SELECT what, last FROM head ORDER BY what").fetchall() == [
        (name, 0) for name in sorted(tables.HEADS)
    ]


def test_every_table_is_made(connection: tables.Connection) -> None:
    tables.migrate(connection, PLACE)
    rows = connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
    assert {name for (name,) in rows} == set(tables.TABLES)


def test_a_migration_keeps_content_and_happens_once(connection: tables.Connection) -> None:
    tables.migrate(connection, PLACE)
    connection.execute("INSERT INTO types VALUES ('page', 1, '{}')")
    first = tables.VERSION
    newer = (*tables.MIGRATIONS, ADD)
    assert tables.migrate(connection, PLACE, migrations=newer) == (first, first + 1)
    assert tables.migrate(connection, PLACE, migrations=newer) == (first + 1, first + 1)
    assert column_names(connection) == {"name", "revision", "definition", "note"}
    assert connection.execute("SELECT name FROM types").fetchall() == [("page",)]


def test_an_old_core_uses_newer_tables_until_they_refuse_it(connection: tables.Connection) -> None:
    first = tables.VERSION
    tables.migrate(connection, PLACE, migrations=(*tables.MIGRATIONS, ADD))
    assert tables.migrate(connection, PLACE) == (first + 1, first + 1)
    tables.migrate(connection, PLACE, migrations=(*tables.MIGRATIONS, ADD, DROP))
    with pytest.raises(StoreFailed) as caught:
        tables.migrate(connection, PLACE)
    assert str(caught.value).startswith(f"{PLACE} was migrated by a newer reed (tables of version {first + 2};")
    assert "upgrade reed-cms" in str(caught.value)


def test_a_migration_that_fails_changes_nothing(connection: tables.Connection) -> None:
    tables.migrate(connection, PLACE)
    broken = tables.Migration((*ADD.statements, "ALTER TABLE none ADD COLUMN x int"), oldest_core=1)
    with pytest.raises(StoreFailed, match='relation "none" does not exist'):
        tables.migrate(connection, PLACE, migrations=(*tables.MIGRATIONS, broken))
    assert column_names(connection) == {"name", "revision", "definition"}
    assert tables.versions(connection) == (tables.VERSION, 1)


def test_a_role_that_may_not_create_is_told_what_to_run(database: str, role: str) -> None:
    with as_role(database, role) as core, pytest.raises(StoreFailed) as caught:
        tables.migrate(core, PLACE)
    assert f"the role {role} may not" in str(caught.value)
    assert f"run `reed store migrate --grant {role}`" in str(caught.value)


def test_a_granted_role_reads_and_writes_rows_and_nothing_else(
    connection: tables.Connection, database: str, role: str
) -> None:
    tables.migrate(connection, PLACE)
    tables.grant(connection, role, PLACE)
    tables.grant(connection, role, PLACE)
    with as_role(database, role) as core:
        assert tables.migrate(core, PLACE) == (tables.VERSION, tables.VERSION)
        core.execute("SELECT last FROM head WHERE what = 'batches' FOR UPDATE")
        core.execute("INSERT INTO types VALUES ('page', 1, '{}')")
        core.execute("UPDATE types SET revision = 2")
        core.execute("DELETE FROM types")
        for forbidden in ("UPDATE reed_schema SET version = 9", "CREATE TABLE mine (x int)", "DROP TABLE types"):
            with pytest.raises(tables.errors.InsufficientPrivilege):
                core.execute(forbidden)
        with pytest.raises(StoreFailed, match="may not use, create or change"):
            tables.migrate(core, PLACE, migrations=(*tables.MIGRATIONS, ADD))
    with pytest.raises(StoreFailed, match="no role 'nobody here'"):
        tables.grant(connection, "nobody here", PLACE)


def test_a_database_of_another_encoding_is_refused(cluster: Cluster, database: str) -> None:
    name = "latin_for_reed"
    cluster.sql(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    setting = StoreSetting("postgres", re.sub(r"dbname=\S+", f"dbname={name}", database))
    with session.connect(setting) as opened, pytest.raises(StoreFailed, match="encoding LATIN1"):
        tables.migrate(opened, PLACE)
    cluster.sql(f"DROP DATABASE {name}")


@pytest.mark.parametrize(
    ("conninfo", "reasons"),
    [
        ("host=/nowhere dbname=reed", ["postgres:host=/nowhere dbname=reed", "/nowhere/.s.PGSQL.5432"]),
        ("host=127.0.0.1,127.0.0.2 port=1", ["host: '127.0.0.1'", "host: '127.0.0.2'", "Connection refused"]),
        ("service=nowhere", ['"nowhere" not found', "PGSERVICEFILE"]),
        ("host=/nowhere nonsense=1", ['invalid connection option "nonsense"']),
    ],
)
def test_a_server_that_cannot_be_reached_is_named(conninfo: str, reasons: list[str]) -> None:
    with pytest.raises(StoreFailed) as caught:
        session.connect(StoreSetting("postgres", conninfo))
    for reason in reasons:
        assert reason in str(caught.value)
