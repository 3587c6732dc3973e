"""How cores begin on a database: many at once, with older and newer tables, and after a long sleep."""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from reed import core_process
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores, freeze, thaw
from tests.postgres.writers import Writers

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))


def test_ten_cores_start_at_once_on_an_empty_database(
    database: str, cores: Cores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_process, "START_TIMEOUT", 240.0)  # ten interpreters on few processors
    sites = [cores.add(database, start=False) for _ in range(10)]
    gate = threading.Barrier(len(sites))

    def start(site) -> None:
        gate.wait(20)
        site.start()

    with ThreadPoolExecutor(len(sites)) as threads:
        list(threads.map(start, sites))
    with Writers([site.socket_path for site in sites], clients=1) as writers:
        writers.wait_for_each()
    writers.verify(cores.client(sites[-1]))


def test_a_newer_schema_refuses_an_older_core(cluster: Cluster, database: str, cores: Cores) -> None:
    first = cores.add(database)
    cores.client(first).registry_define("page", b"{}")
    cores.client(first).snippet_create("page", "kept", {"n": 1})
    first.stop()
    name = re.search(r"dbname=(\w+)", database)[1]  # type: ignore[index]
    cluster.sql("UPDATE reed_schema SET version = 999, oldest_core = 999", database=name)
    with pytest.raises(Exception, match="newer reed") as caught:
        first.start()
    assert "999" in str(caught.value)
    # During a rolling upgrade the tables are newer, and still fit this core.
    cluster.sql("UPDATE reed_schema SET oldest_core = 1", database=name)
    first.start()
    assert cores.client(first).snippet_get("kept").version == 1


def test_a_database_that_cannot_be_reached(server: Cluster, cores: Cores) -> None:
    """The core says which one, and ends; with a server that is starting it waits or ends, but does not hang."""
    name = server.create_database()
    core = cores.add(server.conninfo(name), start=False)
    server.stop()
    with pytest.raises(Exception, match="connection to server"):
        core.start()
    server.start()
    core.start()
    assert cores.client(core).stats()["store"]["snippets"] == 0


def test_a_database_that_is_not_there(cluster: Cluster, cores: Cores) -> None:
    core = cores.add(cluster.conninfo("no_such_database"), start=False)
    with pytest.raises(Exception, match="no_such_database"):
        core.start()


def test_a_role_that_may_not_create_tables(server: Cluster, cores: Cores) -> None:
    """`reed store migrate` as the owner first; then a core needs no more than to read and write rows."""
    name = server.create_database()
    server.sql("CREATE ROLE reed_core LOGIN")
    core = cores.add(server.conninfo(name, user="reed_core"), start=False)
    with pytest.raises(Exception, match="reed store migrate"):
        core.start()
    done = core.reed("store", "migrate", f"postgres:{server.conninfo(name)}", "--grant", "reed_core")
    assert done.returncode == 0, done.stderr
    core.start()
    client = cores.client(core)
    client.registry_define("page", {"searchable": {"title": 1}, "indexed": ["title"]})
    parent, child = (client.snippet_create("page", "", {"title": title}) for title in ("one", "two"))
    client.schema_bond(parent, child)
    wait_until(lambda: client.search("two").total == 1, "it is indexed")
    client.snippet_delete(child, cascade=True)


def test_a_core_that_slept_past_the_end_of_the_log(server: Cluster, cores: Cores) -> None:
    """What it has in memory may have changed: it forgets all of it."""
    name = server.create_database()
    awake, sleeper = (cores.add(server.conninfo(name)) for _ in range(2))
    client = cores.client(awake)
    client.registry_define("page", b"{}")
    refs = [f"page/{number}" for number in range(20)]
    for ref in refs:
        client.snippet_create("page", ref, {"n": 1})
    sleepy = cores.client(sleeper)
    for ref in refs:
        wait_until(lambda ref=ref: ref in sleepy.snippet_names("page/"), "the other core has them", 5)
        assert sleepy.snippet_get(ref).version == 1
    freeze(sleeper)
    for ref in refs:
        client.snippet_update(ref, {"n": 2})
    trim(server, name)
    thaw(sleeper)
    for ref in refs:  # for a second it may give what it has
        wait_until(lambda ref=ref: sleepy.snippet_get(ref).version == 2, f"the new version of {ref}", 5)


def test_a_core_that_is_many_batches_behind(server: Cluster, cores: Cores) -> None:
    """More than it reads from the log at once."""
    name = server.create_database()
    awake, sleeper = (cores.add(server.conninfo(name)) for _ in range(2))
    client = cores.client(awake)
    client.registry_define("page", b"{}")
    refs = [f"page/{number}" for number in range(1200)]
    for ref in refs:
        client.snippet_create("page", ref, {"n": 1})
    sleepy = cores.client(sleeper)
    wait_until(lambda: refs[-1] in sleepy.snippet_names(refs[-1]), "the other core has them")
    for ref in refs:
        assert sleepy.snippet_get(ref).version == 1
    freeze(sleeper)
    for ref in refs:
        client.snippet_update(ref, {"n": 2})
    thaw(sleeper)
    for ref in refs:
        wait_until(lambda ref=ref: sleepy.snippet_get(ref).version == 2, f"the new version of {ref}", 10)


def trim(server: Cluster, name: str) -> None:
    """What a core does with old lines of the log."""
    server.sql("DELETE FROM changes", database=name)
    server.sql("DELETE FROM batches", database=name)
    server.sql(
        "UPDATE head SET last = (SELECT last FROM head WHERE what = 'batches') WHERE what = 'trimmed'", database=name
    )
