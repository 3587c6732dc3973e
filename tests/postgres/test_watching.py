"""Watchers on PostgreSQL: the changes of all cores, each once, in the same order on every core."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from reed.client import Client
from reed.client.watch import Watch
from reed.errors import CursorTooOld
from reed.wire.watch import Change
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores
from tests.postgres.proxy import Proxy
from tests.postgres.test_log import age, batches, create

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def take(watch: Watch, count: int) -> list[Change]:
    return list(islice(watch, count))


def test_watchers_of_both_cores_get_the_changes_of_both(two: tuple[Client, Client]) -> None:
    one, other = two
    for name in ("page", "note"):
        one.registry_define(name, b"{}")
    with one.watch(types=["page"]) as here, other.watch(types=["page"], after=here.cursor) as there:

        def write(client: Client, mine: str) -> None:
            for number in range(150):
                client.snippet_create("page", f"{mine}{number}", {})
                client.snippet_create("note", "", {})

        threads = [threading.Thread(target=write, args=each) for each in ((one, "a"), (other, "b"))]
        for thread in threads:
            thread.start()
        told = take(here, 300)
        assert take(there, 300) == told
        for thread in threads:
            thread.join()
        for mine in "ab":
            names = [change.name for change in told if change.name.startswith(mine)]
            assert names == [f"{mine}{number}" for number in range(150)]
        with other.watch(types=["page"], after=told[100].cursor) as again:
            assert take(again, 199) == told[101:]


def test_every_kind_of_change_of_another_core_is_told(two: tuple[Client, Client]) -> None:
    one, other = two
    with one.watch() as watch:
        other.registry_define("page", b"{}")
        parent, child = (other.snippet_create("page", name, {}) for name in ("parent", "child"))
        other.schema_bond(parent, child)
        other.schema_unbond(parent, child)
        other.snippet_delete(child)
        changes = take(watch, 6)
    assert [(change.kind, change.type, change.name, change.version) for change in changes] == [
        ("type.defined", "page", "", 0),
        ("snippet.created", "page", "parent", 1),
        ("snippet.created", "page", "child", 1),
        ("bonded", "page", "parent", 0),
        ("unbonded", "page", "parent", 0),
        ("snippet.deleted", "page", "child", 1),
    ]
    assert (changes[3].id, changes[3].child) == (parent, child)


def test_a_killed_core_loses_no_change(server: Cluster, cores: Cores) -> None:
    conninfo = server.conninfo(server.create_database())
    one, other = cores.add(conninfo), cores.add(conninfo)
    client = cores.client(one)
    client.registry_define("page", b"{}")
    watch = client.watch(reconnect=True)
    writer = cores.client(other)
    ids = create(writer, 30)
    told = take(watch, 15)
    one.kill()
    ids += create(writer, 30)
    one.start()
    ids += create(writer, 30)
    told += take(watch, 75)
    assert [change.id for change in told] == ids
    watch.close()


def test_a_watcher_waits_while_the_database_is_away(server: Cluster, cores: Cores, network: Proxy) -> None:
    name = server.create_database()
    near = cores.add(server.conninfo(name))
    far = cores.add(server.conninfo(name, tcp=True, port=network.port))
    client = cores.client(near)
    client.registry_define("page", b"{}")
    with cores.client(far).watch() as watch:
        ids = create(client, 1)
        told = take(watch, 1)
        network.drop()
        ids += create(client, 700)
        network.heal()
        told += take(watch, 700)
    assert [change.id for change in told] == ids


def test_the_newest_changes_are_kept_beyond_ten_minutes(server: Cluster, cores: Cores) -> None:
    name = server.create_database()
    client = cores.client(cores.add(server.conninfo(name), limits={"kept_changes": 50}))
    client.registry_define("page", b"{}")
    with client.watch() as watch:
        start = watch.cursor
        ids = create(client, 120)
        told = take(watch, 120)
    age(server, name)
    wait_until(lambda: len(batches(server, name)) <= 51, "old lines are trimmed")
    assert len(batches(server, name)) >= 50
    with pytest.raises(CursorTooOld, match="keeps the last 50 changes"):
        client.watch(after=start)
    with client.watch(after=told[-50].cursor) as watch:
        assert [change.id for change in take(watch, 49)] == ids[-49:]


def test_a_long_log_is_read_by_its_index(server: Cluster, cores: Cores) -> None:
    """And batches without changes, of which there may be many, are passed over."""
    name = server.create_database()
    client = cores.client(cores.add(server.conninfo(name)))
    client.registry_define("page", b"{}")
    with client.watch() as watch:
        start = watch.cursor
    first = create(client, 1)
    series = "FROM head, generate_series(1, 2000) AS s"
    empty = f"INSERT INTO batches (seq, core, n) SELECT last + s, gen_random_uuid(), 1 {series}"
    server.sql(f"{empty} WHERE what = 'batches'", database=name)
    server.sql("UPDATE head SET last = last + 2000 WHERE what = 'batches'", database=name)
    second = create(client, 1)
    with client.watch(after=start) as watch:
        assert [change.id for change in take(watch, 2)] == first + second
    from reed.store.postgres.statements import READS  # needs psycopg

    server.sql("ANALYZE", database=name)
    wanted = READS["log_after"].replace("$1", "2001").replace("$2", "0")
    plan = "\n".join(row[0] for row in server.sql(f"EXPLAIN {wanted}", database=name))
    assert "batches_pkey" in plan, plan
