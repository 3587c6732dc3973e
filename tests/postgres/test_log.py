"""What becomes of the log of changes: lines of ten minutes stay, older ones only while they wait for a plugin, and
those that are dropped count as lost."""

from __future__ import annotations

import json
import os

import pytest

from tests.conftest import Site
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores, Listener
from tests.postgres.proxy import Proxy
from tests.postgres.writers import Writers

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))
LIMIT = 10  # events that may wait
NO_WATCHERS = {"kept_changes": 1}


@pytest.fixture
def name(server: Cluster) -> str:
    return server.create_database()


def age(server: Cluster, name: str) -> int:
    """All of the log becomes older than ten minutes; gives its last batch."""
    server.sql("UPDATE batches SET at = at - interval '1 hour'", database=name)
    return int(server.sql("SELECT last FROM head WHERE what = 'batches'", database=name)[0][0])


def batches(server: Cluster, name: str) -> list[int]:
    return [row[0] for row in server.sql("SELECT seq FROM batches ORDER BY seq", database=name)]


def create(client, count: int, type_name: str = "page") -> list[str]:
    return [client.snippet_create(type_name, "", {"n": number}) for number in range(count)]


def appears(server: Cluster, name: str, times: int = 2) -> None:
    """Until the core has looked after the log so many times: it does so when it writes its row."""
    for _ in range(times):
        seen = server.sql("SELECT max(seen) FROM cores", database=name)
        wait_until(lambda seen=seen: server.sql("SELECT max(seen) FROM cores", database=name) > seen, "a core appears")


def test_without_subscribers_ten_minutes_stay(server: Cluster, name: str, cores: Cores) -> None:
    client = cores.client(cores.add(server.conninfo(name), limits=NO_WATCHERS))
    client.registry_define("page", b"{}")
    create(client, 20)
    last = age(server, name)
    young = create(client, 5)
    wait_until(lambda: batches(server, name)[:1] > [last], "old lines are trimmed")
    lines = server.sql("SELECT id::text FROM changes WHERE kind = 'snippet.created'", database=name)
    assert {row[0] for row in lines} == set(young)


@pytest.fixture
def listening(server: Cluster, name: str, cores: Cores) -> tuple[Listener, Site]:
    listener = Listener(cores)
    site = cores.add(server.conninfo(name), limits={"queued_events": LIMIT, **NO_WATCHERS}, **Listener.SETTINGS)
    client = cores.client(site)
    client.plugin_start("hear")
    client.registry_define("page", b"{}")
    return listener, site


def test_what_was_delivered_stays_for_ten_minutes(server: Cluster, name: str, cores: Cores, listening) -> None:
    """Another core may not have read it, and a COMMIT in doubt is looked up among the lines."""
    listener, site = listening
    ids = create(cores.client(site), 5)
    listener.wait_for(ids)
    appears(server, name, 3)
    lines = server.sql("SELECT id::text FROM changes WHERE kind = 'snippet.created'", database=name)
    assert {row[0] for row in lines} == set(ids)


def heard(listener: Listener) -> tuple[list[int], int]:
    """The numbers of the snippets that were heard of, in order, and how many events were told to be lost."""
    return [each["snippet_id"] for each in listener.heard], sum(each.get("lost", 0) for each in listener.heard)


def create_too_many(listener: Listener, site: Site, client) -> list[str]:
    """The plugin hangs at the first event, and more wait for it than may."""
    listener.hold(site)
    ids = create(client, 1)
    wait_until(lambda: client.plugin_health("hear")[0]["calls"] > 0, "the plugin has the first event")
    return ids + create(client, 30)


def test_events_that_are_trimmed_count_as_lost(server: Cluster, name: str, cores: Cores, listening) -> None:
    """Too many wait for a plugin that hangs, for longer than ten minutes."""
    listener, site = listening
    client = cores.client(site)
    ids = create_too_many(listener, site, client)
    last = age(server, name)
    wait_until(lambda: batches(server, name)[:1] > [last - LIMIT - 2], "lines that too many follow are trimmed")
    listener.release(site)
    listener.wait_for(ids[-1:])
    got, lost = heard(listener)
    assert got == [ids[0], *ids[-LIMIT:]]
    assert lost == len(ids) - len(got)
    listener.check_order()
    line = "hear: 20 events were dropped: more than limits.queued_events (10) waited"
    assert line in site.log.read_text()
    # That was told once.
    more = create(client, 1)
    listener.wait_for(more)
    assert heard(listener)[1] == lost


def test_events_that_are_skipped_but_not_trimmed_count_too(server: Cluster, cores: Cores, listening) -> None:
    listener, site = listening
    client = cores.client(site)
    ids = create_too_many(listener, site, client)
    listener.release(site)
    listener.wait_for(ids[-1:])
    got, lost = heard(listener)
    assert got == [ids[0], *ids[-LIMIT:]]
    assert lost == len(ids) - len(got)


def test_few_events_wait_as_long_as_it_takes(server: Cluster, name: str, cores: Cores) -> None:
    """Of a plugin that waits for deletes only, while many other changes come and are trimmed."""
    listener = Listener(cores, kinds=("deleted",))
    site = cores.add(server.conninfo(name), limits={"queued_events": LIMIT, **NO_WATCHERS}, **Listener.SETTINGS)
    client = cores.client(site)
    client.plugin_start("hear")
    client.registry_define("page", b"{}")
    listener.hold(site)
    ids = create(client, 3)
    for each in ids:
        client.snippet_delete(each)
    create(client, 50)
    age(server, name)
    client.plugin_reload()
    wait_until(lambda: len(batches(server, name)) <= 4, "all but the lines that wait are trimmed")
    listener.release(site)
    listener.wait_for(ids)
    assert heard(listener) == (ids, 0)


def test_a_plugin_with_nothing_to_hear_does_not_keep_the_log(server: Cluster, name: str, cores: Cores) -> None:
    listener = Listener(cores, kinds=("deleted",))
    site = cores.add(server.conninfo(name), limits=NO_WATCHERS, **Listener.SETTINGS)
    client = cores.client(site)
    client.plugin_start("hear")
    client.registry_define("page", b"{}")
    create(client, 1100)
    last = age(server, name)
    snippet_id = create(client, 1)[0]
    wait_until(lambda: batches(server, name)[:1] > [last - 200], "the cursor of an idle plugin moves on")
    client.snippet_delete(snippet_id)
    listener.wait_for([snippet_id])
    assert json.loads(site.reed("store", "status", "--json").stdout)["subscribers"][0]["lost"] == 0


def test_a_commit_in_doubt_whose_line_was_trimmed_is_not_guessed(
    server: Cluster, name: str, network: Proxy, cores: Cores
) -> None:
    """As of a machine that was suspended for more than ten minutes in the middle of a COMMIT."""
    core = cores.add(server.conninfo(name, tcp=True, port=network.port))
    with Writers([core.socket_path], timeout=90) as writers:
        writers.wait_for(20)
        network.lose_commit()
        server.sql("DELETE FROM changes; DELETE FROM batches", database=name)
        server.sql(
            "UPDATE head SET last = (SELECT last FROM head WHERE what = 'batches') WHERE what = 'trimmed'",
            database=name,
        )
        network.accept()
        writers.wait_for_each()
    writers.verify(cores.client(core))
    assert writers.unknown
    assert "whether it took effect is not known" in core.log.read_text()
