"""Events of a plugin that two cores have: each is delivered by one of them, in order, also when a core is killed,
frozen or stopped. Every core shows the others.

REED_FAULTS=N repeats N times as often.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from reed.errors import PluginNotFound
from tests.conftest import Site
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores, Listener, freeze, thaw
from tests.postgres.writers import Writers

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))


@pytest.fixture
def listening(server: Cluster, cores: Cores) -> tuple[Listener, list[Site], str]:
    listener = Listener(cores)
    name = server.create_database()
    sites = [cores.add(server.conninfo(name), **Listener.SETTINGS) for _ in range(2)]
    for site in sites:
        cores.client(site).plugin_start("hear")
    return listener, sites, name


def leader(server: Cluster, name: str) -> tuple[Any, int]:
    """The core that delivers to the plugin, and the generation of its lease."""
    rows = server.sql("SELECT leader, generation FROM subscribers WHERE name = 'hear'", database=name)
    return rows[0] if rows else (None, 0)


def test_events_come_one_at_a_time_in_order(server: Cluster, listening) -> None:
    listener, sites, name = listening
    with Writers([site.socket_path for site in sites]) as writers:
        writers.wait_for(100 * FACTOR)
    listener.wait_for(writers.acked.values())
    listener.check_order()
    assert len({each["core"] for each in listener.heard}) == 1, "one core delivers while nothing happens to it"
    print(f"generation {leader(server, name)[1]}, {len(listener.heard)} events")


def test_another_core_takes_the_events_of_one_that_was_killed(server: Cluster, listening, cores: Cores) -> None:
    """In the middle of a call, and while it writes."""
    listener, sites, name = listening
    with Writers([site.socket_path for site in sites]) as writers:
        writers.wait_for(50)
        wait_until(lambda: listener.heard, "events")
        generation = leader(server, name)[1]
        victim = next(site for site in sites if site.root.name == listener.heard[-1]["core"])
        other = next(site for site in sites if site is not victim)
        victim.kill()
        writers.wait_for(50)
    listener.wait_for(writers.acked.values())
    listener.check_order(repeats=True)
    assert {each["core"] for each in listener.heard} == {victim.root.name, other.root.name}
    assert leader(server, name)[1] > generation
    print(writers.verify(cores.client(other)))
    victim.start()


def test_a_core_that_was_frozen_delivers_nothing_from_before(server: Cluster, listening, cores: Cores) -> None:
    """Its lease ended; another core went on. Awake again, it neither moves the cursor nor delivers what was heard."""
    listener, sites, name = listening
    client = cores.client(sites[0])
    client.registry_define("page", b"{}")
    first = client.snippet_create("page", "", {"n": 0})
    listener.wait_for([first])
    generation = leader(server, name)[1]
    frozen = next(site for site in sites if site.root.name == listener.heard[-1]["core"])
    other = next(site for site in sites if site is not frozen)
    freeze(frozen)
    client = cores.client(other)
    ids = [client.snippet_create("page", "", {"n": number}) for number in range(20)]
    listener.wait_for(ids)
    assert leader(server, name)[1] > generation
    thaw(frozen)
    client = cores.client(frozen)
    ids += [client.snippet_create("page", "", {"n": number}) for number in range(20)]
    listener.wait_for(ids)
    listener.check_order()
    assert len(listener.heard) == 41


def test_a_core_that_is_frozen_in_the_middle_of_a_call(server: Cluster, listening, cores: Cores) -> None:
    """The other core delivers the event again, and the rest; the answer that comes late moves nothing back."""
    listener, sites, _ = listening
    client = cores.client(sites[0])
    client.registry_define("page", b"{}")
    listener.wait_for([client.snippet_create("page", "", {"n": 0})])
    frozen = next(site for site in sites if site.root.name == listener.heard[-1]["core"])
    other = next(site for site in sites if site is not frozen)
    client = cores.client(other)
    listener.hold(frozen)
    ids = [client.snippet_create("page", "", {"n": number}) for number in range(10)]
    wait_until(lambda: cores.client(frozen).plugin_health("hear")[0]["calls"] > 1, "the plugin has the call")
    freeze(frozen)
    listener.wait_for(ids)
    assert {each["core"] for each in listener.heard[1:]} == {other.root.name}
    listener.release(frozen)
    wait_until(lambda: listener.heard[-1]["core"] == frozen.root.name, "the plugin ends the old call")
    thaw(frozen)
    more = [cores.client(frozen).snippet_create("page", "", {"n": number}) for number in range(10)]
    listener.wait_for(more)
    listener.check_order(repeats=True)
    repeats = len(listener.heard) - len({each["id"] for each in listener.heard})
    assert repeats == 1, "only the event that was held"


def test_a_core_that_is_stopped_gives_its_events_to_another_at_once(listening, cores: Cores) -> None:
    listener, sites, _ = listening
    client = cores.client(sites[0])
    client.registry_define("page", b"{}")
    listener.wait_for([client.snippet_create("page", "", {"n": 0})])
    stopped = next(site for site in sites if site.root.name == listener.heard[-1]["core"])
    other = next(site for site in sites if site is not stopped)
    stopped.stop()
    client = cores.client(other)
    ids = [client.snippet_create("page", "", {"n": number}) for number in range(10)]
    listener.wait_for(ids)
    listener.check_order()
    stopped.start()


def test_events_of_a_plugin_that_one_core_lost_are_kept(server: Cluster, listening, cores: Cores) -> None:
    """A row that is removed on one core ends delivery there, and no event is lost for the other."""
    listener, sites, _ = listening
    clients = [cores.client(site) for site in sites]
    clients[0].registry_define("page", b"{}")
    listener.wait_for([clients[0].snippet_create("page", "", {"n": 0})])
    number = next(number for number, site in enumerate(sites) if site.root.name == listener.heard[-1]["core"])
    listener.hold(sites[number])
    ids = [clients[0].snippet_create("page", "", {"n": number}) for number in range(5)]
    sites[number].set_rows()
    clients[number].plugin_reload()
    listener.release(sites[number])
    listener.wait_for(ids)
    listener.check_order(repeats=True)


def test_an_error_for_a_plugin_that_is_elsewhere_names_its_cores(database: str, cores: Cores) -> None:
    Listener(cores)
    cores.add(database, **Listener.SETTINGS)
    other = cores.add(database, plugins=False)

    def told() -> str:
        with pytest.raises(PluginNotFound) as caught:
            cores.client(other).plugin_send("hear", "do", {})
        return str(caught.value)

    wait_until(lambda: "core" in told(), f"the error names the core that has it: {told()}", 20)


def test_the_status_shows_the_cores_and_where_their_registries_differ(database: str, cores: Cores) -> None:
    Listener(cores)
    first = cores.add(database, **Listener.SETTINGS)
    cores.add(database, plugins=False)
    wait_until(lambda: "hear" in first.reed("status").stdout, "reed status names the plugin that only one core has", 30)


def test_kill9_of_a_core_in_the_middle_of_commits(server: Cluster, cores: Cores) -> None:
    """Again and again: the other core goes on, and the killed one finds everything when it starts again."""
    conninfo = server.conninfo(server.create_database())
    sites = [cores.add(conninfo) for _ in range(2)]
    with Writers([site.socket_path for site in sites]) as writers:
        for number in range(4 * FACTOR):
            writers.wait_for(50)
            victim = sites[number % 2]
            victim.kill()
            writers.wait_for(20)
            victim.start()
            writers.wait_for_each()
    for site in sites:
        print(writers.verify(cores.client(site)))
