"""Faults of one PostgreSQL server below a core that writes: nothing acknowledged is lost, nothing is written twice, and
the core goes on by itself.

REED_FAULTS=N injects N times as many.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from reed.errors import CallError
from tests.conftest import Site
from tests.postgres.cluster import Backend, Cluster, missing, wait_until
from tests.postgres.cores import Cores, StoreUnavailable, freeze, thaw
from tests.postgres.proxy import Proxy
from tests.postgres.writers import Writers

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
if not missing():
    import psycopg
FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))
WRITER = "UPDATE head SET last"  # in the last statement of every transaction that writes


@pytest.fixture
def name(server: Cluster) -> str:
    return server.create_database()


@pytest.fixture
def core(server: Cluster, name: str, cores: Cores) -> Site:
    return cores.add(server.conninfo(name))


def writers_backend(server: Cluster, name: str) -> Backend:
    """The backend of the connection on which the core writes."""
    return wait_until(
        lambda: next((each for each in server.backends(database=name) if WRITER in each.query), None),
        "the core's connection for writes is there",
    )


def test_kill9_of_the_backend_that_writes(server: Cluster, name: str, core: Site, cores: Cores) -> None:
    with Writers([core.socket_path]) as writers:
        for _ in range(3 * FACTOR):
            writers.wait_for(50)
            server.kill9_backend(writers_backend(server, name).pid)
            writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown


def test_kill9_of_the_postmaster(server: Cluster, core: Site, cores: Cores) -> None:
    with Writers([core.socket_path]) as writers:
        for number in range(3 * FACTOR):
            writers.wait_for(50)
            (server.kill9_postmaster, server.kill9_all)[number % 2]()
            server.start()
            writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown


def test_an_orderly_restart_of_the_server_shows_to_no_writer(server: Cluster, core: Site, cores: Cores) -> None:
    """57P01 for every connection, then 57P03 until it is up."""
    with Writers([core.socket_path]) as writers:
        for mode in ("fast", "immediate"):
            writers.wait_for(50)
            server.restart(mode)
            writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown
    assert not writers.refused


def test_a_terminated_connection_shows_to_no_writer(server: Cluster, name: str, core: Site, cores: Cores) -> None:
    """57P01 for one connection after the other."""
    with Writers([core.socket_path]) as writers:
        for _ in range(5 * FACTOR):
            writers.wait_for(20)
            for backend in server.backends(database=name):
                server.terminate_backend(backend.pid)
            writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown
    assert not writers.refused


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_during_commit(server: Cluster, name: str, network: Proxy, cores: Cores, when: str) -> None:
    """`before`: the server never gets the COMMIT. `after`: it commits, and its answer is lost."""
    core = cores.add(server.conninfo(name, tcp=True, port=network.port))
    with Writers([core.socket_path]) as writers:
        for _ in range(5 * FACTOR):
            writers.wait_for(20)
            network.cut_at(b"end_batch", when)  # type: ignore[arg-type]
            network.wait_cut()
            writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown
    assert not writers.refused


def test_kill9_of_a_backend_during_commit(server: Cluster, name: str, core: Site, cores: Cores) -> None:
    """Its COMMIT is on the disk and waits for the standby when it is killed: committed, although nobody was told."""
    standby = server.standby()
    with Writers([core.socket_path]) as writers:
        for _ in range(2 * FACTOR):
            writers.wait_for(20)
            standby.stop()
            backend = wait_until(
                lambda: next((each for each in server.backends(database=name) if each.wait_event == "SyncRep"), None),
                "a COMMIT waits for the standby",
            )
            server.kill9_backend(backend.pid)
            standby.start()
            writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown


def test_the_outcome_of_a_commit_stays_unknown_for_long(
    server: Cluster, name: str, network: Proxy, cores: Cores
) -> None:
    """The server commits, and is then out of reach for longer than a write may take: a later write is refused, but the
    one that was committed is acknowledged when that is known."""
    core = cores.add(server.conninfo(name, tcp=True, port=network.port))
    with Writers([core.socket_path], timeout=90) as writers:
        writers.wait_for(20)
        network.lose_commit()
        with pytest.raises(StoreUnavailable):
            cores.client(core).snippet_create("written", "", {"text": "later"})
        network.accept()
        writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown


def test_a_stop_while_the_outcome_of_a_commit_is_unknown(
    server: Cluster, name: str, network: Proxy, cores: Cores
) -> None:
    """The database stays away: the core ends all the same, tells the caller, and logs how to find out."""
    core = cores.add(server.conninfo(name, tcp=True, port=network.port))
    with Writers([core.socket_path], clients=1, timeout=90) as writers:
        writers.wait_for(20)
        network.lose_commit()
        assert core.process is not None
        core.process.send_signal(signal.SIGTERM)
        assert core.process.wait(30) == 0
        writers.wait_for_unknown()
    assert "outcome is not known" in next(iter(writers.unknown.values()))
    [query] = re.findall(r"SELECT seq FROM batches WHERE core = '[^']+' AND n = \d+", core.log.read_text())
    assert server.sql(query, database=name), "it was committed"
    network.accept()
    core.start()
    writers.verify(cores.client(core))


def test_a_stopped_backend(server: Cluster, name: str, core: Site, cores: Cores) -> None:
    """SIGSTOP for 3 s of the backend that writes: writes wait, reads and all else are answered, and nothing is lost."""
    client = cores.client(core)
    client.registry_define("page", b"{}")
    client.snippet_create("page", "read/this", {"n": 1})
    with Writers([core.socket_path]) as writers:
        for _ in range(FACTOR):
            writers.wait_for(20)
            pid = writers_backend(server, name).pid
            server.sigstop(pid)
            stopped, reads = time.monotonic(), 0
            while time.monotonic() - stopped < 3 or reads < 100:
                assert client.snippet_get("read/this").version == 1
                assert len(client.snippet_list("page").records) == 1  # not from memory
                reads += 1
            server.sigcont(pid)
            writers.wait_for_each()
    writers.verify(client)
    assert not writers.unknown
    assert not writers.refused


def test_a_backend_that_stays_stopped_is_given_up(server: Cluster, name: str, core: Site, cores: Cores) -> None:
    """Its transaction is open and holds its locks until the server notices; nothing is written twice."""
    with Writers([core.socket_path]) as writers:
        writers.wait_for(20)
        backend = writers_backend(server, name)
        server.sigstop(backend.pid)
        wait_until(
            lambda: any(each.pid != backend.pid and WRITER in each.query for each in server.backends(database=name)),
            "the core writes on another connection",
        )
        server.sigcont(backend.pid)
        writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown


def test_a_server_that_hangs_holds_up_nothing_but_what_needs_it(server: Cluster, core: Site, cores: Cores) -> None:
    client = cores.client(core)
    with Writers([core.socket_path]) as writers:
        writers.wait_for(20)
        server.freeze()
        assert writers.wait_for_refused().status == 503
        for _ in range(200):
            assert client.stats()["pid"]
            assert client.plugin_list() == []
        server.thaw()
        writers.wait_for_each()
    writers.verify(client)


def test_a_write_that_finds_no_server_says_that_nothing_was_written(
    server: Cluster, name: str, core: Site, cores: Cores
) -> None:
    client = cores.client(core)
    client.registry_define("page", b"{}")
    server.stop()
    with pytest.raises(CallError) as caught:
        client.snippet_create("page", "a/name", {"n": 1})
    assert caught.value.status == 503
    assert "nothing was written" in str(caught.value)
    assert caught.value.hint or "retry" in str(caught.value)
    failed = core.reed("snippet", "create", "page", "{}", "--name", "a/name")
    assert failed.returncode != 0
    assert "nothing was written" in failed.stderr
    server.start()
    wait_until(lambda: _does(client.snippet_create, "page", "a/name", {"n": 2}), "the core writes again")
    assert client.snippet_get("a/name").version == 1


def test_a_read_that_finds_no_server_says_so(server: Cluster, core: Site, cores: Cores) -> None:
    client = cores.client(core)
    client.registry_define("page", b"{}")
    for number in range(3):
        client.snippet_create("page", f"a/{number}", {"n": number})
    server.stop()
    for call in (client.snippet_list, lambda: client.search("word"), lambda: client.snippet_get("not/in/memory")):
        with pytest.raises(CallError) as caught:
            call()
        assert caught.value.status == 503
    server.start()
    wait_until(lambda: _does(client.snippet_list), "the core reads again")


def _does(call, *arguments) -> bool:
    try:
        call(*arguments)
    except StoreUnavailable:
        return False
    return True


def end_connections(server: Cluster, name: str) -> bool:
    """True: there were none. The core's workers are not frozen with it, and may have connected again."""
    backends = server.backends(database=name)
    for backend in backends:
        server.terminate_backend(backend.pid)
    return not backends


def test_every_connection_of_the_server_is_taken(server: Cluster, name: str, core: Site, cores: Cores) -> None:
    """53300: the core waits for a place and loses nothing."""
    server.set(max_connections=12, restart=True)
    with Writers([core.socket_path]) as writers:
        writers.wait_for_each()
        with contextlib.ExitStack() as others:
            freeze(core)  # else it may be back before its places are taken
            wait_until(lambda: end_connections(server, name), "the core's connections end")
            with contextlib.suppress(psycopg.OperationalError):  # the server keeps its last connections for superusers
                while True:
                    others.enter_context(contextlib.closing(server.connect(user="reed")))
            thaw(core)
            assert writers.wait_for_refused().status == 503
        writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown


def test_a_core_that_starts_without_a_place_says_why(server: Cluster, name: str, cores: Cores) -> None:
    server.set(max_connections=8, restart=True)
    with contextlib.ExitStack() as others:
        for _ in range(5):
            others.enter_context(contextlib.closing(server.connect(user="reed")))
        core = cores.add(server.conninfo(name), start=False)
        with pytest.raises(Exception, match="remaining connection slots"):
            core.start()


def test_a_full_disk(server: Cluster, cores: Cores) -> None:
    """53100: writes are refused with 507, reads work, and writes work again when there is room."""
    disk = server.small_disk()
    core = cores.add(server.conninfo(disk.create_database()))
    client = cores.client(core)
    client.registry_define("page", b"{}")
    client.snippet_create("page", "read/this", {"n": 1})
    with Writers([core.socket_path]) as writers:
        writers.wait_for(20)
        disk.fill()
        error = None
        for number in range(2000):  # until the pages that are there are full
            try:
                client.snippet_create("page", f"large/{number}", {"text": "x" * 20_000})
            except CallError as caught:
                error = caught
                break
        assert error is not None
        assert (error.status, error.error_code) == (507, 40001), error
        assert client.snippet_get("read/this").version == 1
        assert client.snippet_list("page", limit=1).records
        disk.free()
        writers.wait_for_each()
    writers.verify(client)
    client.snippet_create("page", "large/again", {"text": "x" * 20_000})


def test_a_server_that_turns_read_only(server: Cluster, core: Site, cores: Cores) -> None:
    """25006, as of a primary that became a standby: writes wait, then say that nothing was written; reads work."""
    client = cores.client(core)
    client.registry_define("page", b"{}")
    client.snippet_create("page", "read/this", {"n": 1})
    with Writers([core.socket_path]) as writers:
        writers.wait_for(20)
        server.read_only(True)
        assert writers.wait_for_refused().status == 503
        assert client.snippet_get("read/this").version == 1
        assert client.snippet_list("page").records
        server.read_only(False)
        writers.wait_for_each()
    writers.verify(client)
    assert not writers.unknown


def test_a_slow_server_makes_no_slow_turns(server: Cluster, name: str, network: Proxy, cores: Cores) -> None:
    """While each answer of the server takes 0.2 s, the loop never waits for one: other requests are answered between
    the beginning of a write and its end. The quantiles of the turns are printed."""
    core = cores.add(server.conninfo(name, tcp=True, port=network.port))
    client = cores.client(core)
    with Writers([core.socket_path]) as writers:
        writers.wait_for(20)
        network.delay(0.1)
        acked = len(writers.acked)
        between = 0
        while len(writers.acked) < acked + 10:
            client.stats()
            between += 1
        network.delay(0)
    print(f"turns in ms: {client.stats()['loop']['turn_ms']}; {between} requests beside 10 writes")
    writers.verify(client)
    assert between > 100


def test_no_password_is_logged(cores: Cores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a server that goes and comes, nor of one that refuses the password."""
    with Cluster(auth="scram") as server:
        name = server.create_database()
        passwords = tmp_path / "passwords"
        passwords.write_text(f"*:*:*:*:{server.password}\n")
        passwords.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(passwords))
        conninfo = re.sub(r"\s*password=\S+", "", server.conninfo(name, tcp=True))
        core = cores.add(conninfo)
        with Writers([core.socket_path]) as writers:
            writers.wait_for(20)
            server.restart()
            writers.wait_for_each()
            passwords.write_text("*:*:*:*:wrong-and-secret\n")
            server.restart()
            writers.wait_for_refused()
            passwords.write_text(f"*:*:*:*:{server.password}\n")
            writers.wait_for_each()
        writers.verify(cores.client(core))
        status = core.reed("status")
        stats = json.dumps(cores.client(core).stats())
        passwords.write_text("*:*:*:*:wrong-and-secret\n")
        other = cores.add(conninfo, start=False)
        with pytest.raises(Exception, match="password authentication failed"):
            other.start()
        texts = [core.log.read_text(), other.log.read_text(), status.stdout, status.stderr, stats]
        texts += [Path(f"/proc/{core.process.pid}/cmdline").read_text()]
        for text in texts:
            assert server.password not in text
            assert "wrong-and-secret" not in text
