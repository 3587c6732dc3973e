"""A PostgreSQL server of the tests' own, which can be broken in every way that matters.

    with Cluster() as cluster:               initdb and start in a temporary folder: Unix socket, TCP on 127.0.0.1
        name = cluster.create_database()     empty; its owner is the role `reed`, which is no superuser
        conninfo = cluster.conninfo(name)    for libpq, by Unix socket; tcp=True: by TCP
        cluster.sql("SELECT 1", database=name)     as superuser, on a connection of its own; gives the rows

    Cluster(fsync=True)               as in production; by default nothing is flushed, which tests do not notice
    Cluster(auth="scram")             TCP needs the password `cluster.password`, which conninfo() then contains
    stop("fast") start() restart()    also stop("smart"), and stop("immediate"), a crash in an orderly way
    kill9_postmaster()                kill -9 of the postmaster; returns when its backends are gone too
    kill9_all()                       kill -9 of every process at once, as when the machine loses power
    backends("app")                   [Backend(pid, application_name, state, query, wait_event)]
    kill9_backend(pid)                the postmaster then restarts all backends; returns when the server is up again
    terminate_backend(pid)            57P01, admin shutdown
    sigstop(pid) sigcont(pid)         one process;  freeze() thaw(): all of them
    set(max_connections=10)           ALTER SYSTEM, and a reload; None resets; restart=True where PostgreSQL needs one
    read_only(True)                   transactions begun from now on fail with 25006 when they write
    small_disk(megabytes)             a tablespace on a tmpfs that can be filled (root only): see SmallDisk
    standby()                         a streaming standby, synchronous from then on; a Cluster
    promote()                         of a standby: returns when it accepts writes

`missing()` says why there can be no cluster, "" if there can. If the tests are killed, a reaper process kills the
server and removes the folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.postgres.programs import (
    CONFIGURATION,
    REAPER,
    SUPERUSER,
    folder_for,
    free_port,
    identity,
    missing,
    program,
    run,
    runs,
    server_user,
    template,
)

T = TypeVar("T")
TIMEOUT = 30.0  # seconds, for a server to start, stop or recover
ROLE = "reed"


class Backend(NamedTuple):
    pid: int
    application_name: str
    state: str  # "active", "idle", "idle in transaction", …
    query: str  # running or last
    wait_event: str


def wait_until(condition: Callable[[], T], what: str, timeout: float = TIMEOUT) -> T:
    """Poll until `condition` gives something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.01)


class Cluster:
    """See the module."""

    def __init__(self, *, fsync: bool = False, auth: str = "trust", _copy_of: Cluster | None = None) -> None:
        reason = missing()
        assert not reason, reason
        self._user = server_user()
        self._databases = 0
        self._stopped: set[int] = set()
        self._exits = contextlib.ExitStack()
        self.auth = auth
        self.password = _copy_of.password if _copy_of else secrets.token_hex(12)
        self.folder = folder_for(self._user)
        self.data = self.folder / "data"
        self.log = self.folder / "postgresql.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._reaper = subprocess.Popen(
            ["/bin/sh", "-c", REAPER, "sh", self.folder], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            if _copy_of is None:
                self._initdb(fsync)
            else:
                self._base_backup(_copy_of)
            self.start()
            if _copy_of is None:
                self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}'")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Making one.

    def _initdb(self, fsync: bool) -> None:
        subprocess.run(["cp", "-a", template(), self.data], check=True)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION.format(fsync="on" if fsync else "off"))
        over_tcp = {"trust": "trust", "scram": "scram-sha-256"}[self.auth]
        (self.data / "pg_hba.conf").write_text(
            f"local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 {over_tcp}\n"
        )

    def _base_backup(self, primary: Cluster) -> None:
        where = ("-h", str(primary.folder), "-p", str(primary.port), "-U", SUPERUSER)
        options = ("-R", "-X", "stream", "-c", "fast", "--no-sync")
        run("pg_basebackup", *where, "-D", str(self.data), *options, folder=self.folder)

    def close(self) -> None:
        """Stop it and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.stop("immediate")
        self._exits.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._reaper.stdin is not None:
            self._reaper.stdin.close()
        self._reaper.wait()

    # Starting and stopping.

    def start(self, *, wait: bool = True) -> None:
        """Start it, after a crash with recovery; returns when it answers."""
        settings = ("-c", f"port={self.port}", "-c", f"unix_socket_directories={self.folder}")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", self.data, *settings],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"TZ": "UTC"},
                **identity(),
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        wait_until(self._answers, "PostgreSQL answers")

    def _answers(self) -> bool:
        import psycopg

        assert self.process is not None
        assert self.process.poll() is None, f"PostgreSQL ended:\n{self.log.read_text()[-4000:]}"
        try:
            self.sql("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, mode: str = "fast") -> None:
        """`mode`: smart (waits for the clients), fast (57P01 for them) or immediate (without a checkpoint)."""
        assert self.process is not None
        self.process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        self.process.wait(TIMEOUT)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill9_postmaster(self) -> None:
        """Backends end when they notice it, so a transaction that is committing may still commit."""
        pids = self.pids()
        self._kill9_postmaster()
        wait_until(lambda: not any(map(runs, pids)), "the backends end")

    def kill9_all(self) -> None:
        pids = self.pids()
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # it starts no new one and restarts nothing
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._kill9_postmaster()
        wait_until(lambda: not any(map(runs, pids)), "the backends end")

    def _kill9_postmaster(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(TIMEOUT)

    # Its processes.

    def pids(self) -> list[int]:
        """Every process but the postmaster."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def backends(self, application_name: str | None = None, database: str | None = None) -> list[Backend]:
        """The clients' backends, but the one that asks."""
        rows = self.sql(
            "SELECT pid, application_name, state, query, coalesce(wait_event, '') FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state IS NOT NULL"
            " AND (%(app)s::text IS NULL OR application_name = %(app)s) AND (%(db)s::text IS NULL OR datname = %(db)s)"
            " ORDER BY backend_start",
            {"app": application_name, "db": database},
        )
        return [Backend(*row) for row in rows]

    def kill9_backend(self, pid: int) -> None:
        before = self.pids()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the backend ends")
        # The postmaster restarts its helpers too: wait for that, or the caller meets the old ones.
        wait_until(lambda: not set(before) & set(self.pids()), "the postmaster restarts everything")
        self.wait_ready()

    def terminate_backend(self, pid: int) -> None:
        self.sql("SELECT pg_terminate_backend(%s)", (pid,))

    def sigstop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._stopped.add(pid)

    def sigcont(self, pid: int) -> None:
        self._stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def freeze(self) -> None:
        """The whole server hangs: connections stay open and nothing answers."""
        assert self.process is not None
        self.sigstop(self.process.pid)
        for pid in self.pids():
            self.sigstop(pid)

    def thaw(self) -> None:
        for pid in list(self._stopped):
            self.sigcont(pid)

    # Databases and settings.

    def conninfo(self, database: str, *, tcp: bool = False, user: str = ROLE, **more: str | int) -> str:
        import psycopg.conninfo

        host = "127.0.0.1" if tcp else str(self.folder)
        values: dict[str, Any] = {"host": host, "port": self.port, "dbname": database, "user": user}
        if self.auth == "scram" and tcp and user == ROLE:
            values["password"] = self.password
        return psycopg.conninfo.make_conninfo(**(values | more))

    def connect(self, database: str = "postgres", *, user: str = SUPERUSER, **more: Any) -> Any:
        """A psycopg connection in autocommit mode."""
        import psycopg

        return psycopg.connect(self.conninfo(database, user=user), autocommit=True, connect_timeout=10, **more)

    def sql(self, statement: str, values: Any = None, *, database: str = "postgres") -> list[Any]:
        with contextlib.closing(self.connect(database, application_name="the test")) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, *, tablespace: str = "pg_default") -> str:
        self._databases += 1
        name = f"reed_{self._databases}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE} TABLESPACE {tablespace}")
        return name

    def drop_database(self, name: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def set(self, *, restart: bool = False, **settings: str | int | None) -> None:
        for name, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {name} = '{value}'" if value is not None else f"ALTER SYSTEM RESET {name}")
        if restart:
            self.restart()
            return
        self.sql("SELECT pg_reload_conf()")
        expected = {name: str(value) for name, value in settings.items() if value is not None}
        shown = lambda: {name: self.sql(f"SHOW {name}")[0][0] for name in expected}  # noqa: E731
        wait_until(lambda: shown() == expected, f"{expected} is in force")

    def read_only(self, value: bool) -> None:
        self.set(default_transaction_read_only="on" if value else "off")

    # Disks and other servers.

    def small_disk(self, megabytes: int = 64) -> SmallDisk:
        """Skips the test where nothing can be mounted."""
        import pytest

        folder = self.folder / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "reed-test", folder]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no small disk to fill: mounting needs root ({mounted.stderr.strip()})")
        self._exits.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
        place = folder / "tablespace"
        place.mkdir()
        if self._user is not None:
            os.chown(place, self._user.pw_uid, self._user.pw_gid)
        self.sql(f"CREATE TABLESPACE small LOCATION '{place}'")
        return SmallDisk(self, folder)

    def standby(self) -> Cluster:
        """From now on a commit here waits until it is on the standby's disk. Closed with this cluster."""
        other = Cluster(auth=self.auth, _copy_of=self)
        self._exits.callback(other.close)
        self.set(synchronous_standby_names="*")
        state = "SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming'"
        wait_until(lambda: self.sql(state), "the standby is synchronous")
        return other

    def promote(self) -> None:
        assert self.sql("SELECT pg_promote(true, 30)") == [(True,)]


class SmallDisk:
    """`create_database()` makes a database on it; `fill()` leaves no room on it, `free()` takes that back."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._ballast = folder / "ballast"

    def create_database(self) -> str:
        return self._cluster.create_database(tablespace="small")

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:  # others may write meanwhile
                file.write(b"x" * 4096)

    def free(self) -> None:
        self._ballast.unlink()


def shared_clusters() -> Iterator[Cluster]:
    """Body of the session fixture `cluster`, also for the conftest of another folder."""
    import pytest

    reason = missing()
    if reason:
        pytest.skip(reason)
    with Cluster() as cluster:
        yield cluster


def databases(cluster: Cluster) -> Iterator[str]:
    """Body of the fixture `database`: the conninfo of a new, empty database, dropped afterwards."""
    name = cluster.create_database()
    yield cluster.conninfo(name)
    cluster.drop_database(name)
