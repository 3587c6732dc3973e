"""A synchronous standby takes over while two cores write: nothing acknowledged is lost, and both cores go on."""

from __future__ import annotations

import os

import pytest

from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores
from tests.postgres.writers import Writers

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))
GOES_ON = 10.0  # seconds after the promotion


def both(name: str, primary: Cluster, standby: Cluster) -> str:
    ports = f"{primary.port},{standby.port}"
    hosts = {"host": "127.0.0.1,127.0.0.1", "port": ports, "target_session_attrs": "read-write"}
    return primary.conninfo(name, tcp=True, **hosts)


@pytest.mark.parametrize("how", ["kill9_all", "kill9_postmaster", "stop", "freeze"])
def test_failover(server: Cluster, cores: Cores, how: str) -> None:
    name = server.create_database()
    standby = server.standby()
    conninfo = both(name, server, standby)
    sites = [cores.add(conninfo), cores.add(conninfo)]
    with Writers([site.socket_path for site in sites], timeout=60) as writers:
        writers.wait_for(100)
        getattr(server, how)()
        standby.promote()
        took = writers.wait_for_each(GOES_ON)
        writers.wait_for(100)
    print(f"{how}: both cores went on after {took:.1f} s")
    for site in sites:
        print(writers.verify(cores.client(site)))


def test_there_and_back(server: Cluster, cores: Cores) -> None:
    """The standby of the standby takes over next: cores find a server that they know as the old primary's place."""
    name = server.create_database()
    current = server
    for _ in range(FACTOR):
        following = current.standby()
        conninfo = both(name, current, following)
        core = cores.add(conninfo)
        with Writers([core.socket_path], timeout=60) as writers:
            writers.wait_for(50)
            current.stop("immediate")
            following.promote()
            writers.wait_for_each(GOES_ON)
            writers.wait_for(50)
        writers.verify(cores.client(core))
        current = following


def test_a_standby_alone_is_refused_as_a_server(server: Cluster, cores: Cores) -> None:
    """A core that only finds a read-only server waits until it is promoted."""
    name = server.create_database()
    standby = server.standby()
    core = cores.add(both(name, server, standby))
    client = cores.client(core)
    client.registry_define("page", b"{}")
    with Writers([core.socket_path], timeout=60) as writers:
        writers.wait_for(20)
        server.stop("immediate")
        writers.wait_for_refused()
        standby.promote()
        writers.wait_for_each(GOES_ON)
    writers.verify(client)


def test_a_commit_that_waits_for_the_standby_is_not_acknowledged(server: Cluster, cores: Cores) -> None:
    """Without the standby no write ends; when it is back they all do."""
    name = server.create_database()
    standby = server.standby()
    core = cores.add(server.conninfo(name))
    with Writers([core.socket_path], timeout=60) as writers:
        writers.wait_for(20)
        standby.stop()
        wait_until(
            lambda: any(each.wait_event == "SyncRep" for each in server.backends(database=name)),
            "a COMMIT waits for the standby",
        )
        standby.start()
        writers.wait_for_each()
    writers.verify(cores.client(core))
    assert not writers.unknown
    assert not writers.refused
