"""The rig itself, without reed: each fault shows to a client as PostgreSQL's clients meet it."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres.cluster import Cluster, SmallDisk, missing, wait_until
from tests.postgres.programs import remove_stale_templates

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
if not missing():
    import psycopg


@pytest.fixture
def table(server: Cluster) -> Iterator[psycopg.Connection]:
    """A connection as `reed`, and a table with a column n."""
    with contextlib.closing(server.connect(server.create_database(), user="reed")) as connection:
        connection.execute("CREATE TABLE t (n bigint)")
        yield connection


def insert(connection: psycopg.Connection, n: int = 1) -> None:
    connection.execute("INSERT INTO t VALUES (%s)", (n,))


def numbers(server: Cluster, database: str) -> list[int]:
    return [row[0] for row in server.sql("SELECT n FROM t ORDER BY n", database=database)]


def test_a_database_is_empty_and_its_role_is_no_superuser(cluster: Cluster, database: str) -> None:
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        assert connection.execute("SHOW is_superuser").fetchone() == ("off",)
        connection.execute("CREATE TABLE t (n int)")


def test_what_was_committed_survives_kill9(server: Cluster, table: psycopg.Connection) -> None:
    insert(table, 1)
    server.kill9_postmaster()
    with pytest.raises(psycopg.OperationalError):
        insert(table, 2)
    server.start()
    assert numbers(server, table.info.dbname) == [1]
    server.kill9_all()
    server.start()
    assert numbers(server, table.info.dbname) == [1]


def test_kill9_of_a_backend_ends_every_connection(server: Cluster, table: psycopg.Connection) -> None:
    with contextlib.closing(server.connect(application_name="victim")):
        [victim] = server.backends("victim")
        server.kill9_backend(victim.pid)
    with pytest.raises(psycopg.OperationalError):
        insert(table)
    assert numbers(server, table.info.dbname) == []


def test_a_terminated_backend_says_57P01(server: Cluster, table: psycopg.Connection) -> None:
    server.terminate_backend(table.info.backend_pid)
    with pytest.raises(psycopg.errors.AdminShutdown):
        insert(table)


def test_a_stopped_backend_answers_when_it_goes_on(server: Cluster, table: psycopg.Connection) -> None:
    pid = table.info.backend_pid
    server.sigstop(pid)
    thread = threading.Thread(target=insert, args=(table,))
    thread.start()
    wait_until(lambda: "\nState:\tT" in Path(f"/proc/{pid}/status").read_text(), "the backend is stopped")
    thread.join(0.2)
    assert thread.is_alive()
    server.sigcont(pid)
    thread.join(20)
    assert numbers(server, table.info.dbname) == [1]


def test_a_frozen_server_accepts_and_never_answers(server: Cluster) -> None:
    server.freeze()
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        psycopg.connect(server.conninfo("postgres", tcp=True), connect_timeout=2)
    server.thaw()
    server.wait_ready()


def test_a_read_only_server_says_25006(server: Cluster, table: psycopg.Connection) -> None:
    server.read_only(True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        insert(table)
    server.read_only(False)
    insert(table)


def test_no_more_connections_says_53300(server: Cluster) -> None:
    server.set(max_connections=8, restart=True)
    with contextlib.ExitStack() as exits:
        for _ in range(5):
            exits.enter_context(contextlib.closing(server.connect(user="reed")))
        with pytest.raises(psycopg.OperationalError, match="remaining connection slots"):
            server.connect(user="reed")


def test_a_full_disk_says_53100(server: Cluster) -> None:
    disk: SmallDisk = server.small_disk()
    with contextlib.closing(server.connect(disk.create_database(), user="reed")) as connection:
        connection.execute("CREATE TABLE t (n text)")
        disk.fill()
        with pytest.raises(psycopg.errors.DiskFull):
            connection.execute("INSERT INTO t SELECT repeat(md5(n::text), 20) FROM generate_series(1, 20000) n")
        disk.free()
        connection.execute("INSERT INTO t SELECT repeat(md5(n::text), 20) FROM generate_series(1, 20000) n")


def test_a_standby_has_what_the_primary_acknowledged(server: Cluster, table: psycopg.Connection) -> None:
    insert(table, 1)
    standby = server.standby()
    insert(table, 2)
    server.kill9_all()
    standby.promote()
    name = table.info.dbname
    assert numbers(standby, name) == [1, 2]
    both = {"host": "127.0.0.1,127.0.0.1", "port": f"{server.port},{standby.port}"}
    conninfo = standby.conninfo(name, target_session_attrs="read-write", **both)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        insert(connection, 3)
    assert numbers(standby, name) == [1, 2, 3]


def test_a_standby_that_is_away_holds_commits_back(server: Cluster, table: psycopg.Connection) -> None:
    standby = server.standby()
    standby.stop()
    thread = threading.Thread(target=insert, args=(table,))
    thread.start()
    wait_until(
        lambda: any(backend.wait_event == "SyncRep" for backend in server.backends(database=table.info.dbname)),
        "the commit waits for the standby",
    )
    standby.start()
    thread.join(20)
    assert numbers(server, table.info.dbname) == [1]


def test_a_password_over_tcp() -> None:
    with Cluster(auth="scram") as server:
        name = server.create_database()
        with psycopg.connect(server.conninfo(name, tcp=True)) as connection:
            assert connection.pgconn.used_password
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.conninfo(name, tcp=True, password="wrong"))


def test_a_closed_cluster_leaves_nothing() -> None:
    with Cluster() as server:
        assert server.process is not None
        server.sigstop(server.pids()[0])
        process, folder = server.process, server.folder
    assert process.returncode is not None
    assert process.returncode != -signal.SIGKILL
    assert not folder.exists()


def test_a_run_removes_the_templates_of_runs_that_were_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    stale, used, begun = (tmp_path / f"reed-pg-template-{name}" for name in ("stale", "used", "begun"))
    for folder in (stale, used, begun):
        (folder / "data").mkdir(parents=True)
    (stale / "owner").touch()
    with (used / "owner").open("wb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        remove_stale_templates()
        assert sorted(tmp_path.iterdir()) == [begun, used]
