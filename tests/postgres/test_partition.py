"""A network between cores and PostgreSQL that drops, delays or resets.

Nothing acknowledged is lost or written twice, no core answers with what it cannot know any more, and all go on by
themselves when the network does.
"""

from __future__ import annotations

import os
import threading

import pytest

from reed.client import Client
from reed.errors import NotFound
from tests.conftest import Site
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores, StoreUnavailable
from tests.postgres.proxy import WAYS, Proxy, Way
from tests.postgres.writers import Writers

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))


@pytest.fixture
def name(server: Cluster) -> str:
    return server.create_database()


@pytest.fixture
def remote(server: Cluster, name: str, network: Proxy, cores: Cores) -> Site:
    """A core beyond the network."""
    return cores.add(server.conninfo(name, tcp=True, port=network.port))


@pytest.mark.parametrize("ways", [WAYS, ("to_server",), ("to_client",)], ids="+".join)
@pytest.mark.parametrize("reset", [False, True], ids=["goes on", "resets"])
def test_a_partition(network: Proxy, remote: Site, cores: Cores, ways: tuple[Way, ...], reset: bool) -> None:
    """Until it ends, writes are refused after their deadline; afterwards they work again."""
    client = cores.client(remote, timeout=90)
    client.registry_define("refused", b"{}")
    with Writers([remote.socket_path], timeout=90) as writers:
        for _ in range(FACTOR):
            writers.wait_for(20)
            before = network.connections
            network.drop(*ways)
            assert client.stats()["pid"]
            # What was under way is in doubt from then on; what is begun later waits.
            wait_until(lambda before=before: network.connections > before, "the core tries another connection")
            with pytest.raises(StoreUnavailable):
                client.snippet_create("refused", "", {"n": 1})
            network.heal(reset=reset)
            writers.wait_for_each()
    writers.verify(client)


@pytest.mark.parametrize("ways", [WAYS, ("to_server",), ("to_client",)], ids="+".join)
def test_a_short_partition_shows_to_no_writer(
    network: Proxy, remote: Site, cores: Cores, ways: tuple[Way, ...]
) -> None:
    with Writers([remote.socket_path]) as writers:
        for _ in range(3 * FACTOR):
            writers.wait_for(20)
            before = network.connections
            network.drop(*ways)
            wait_until(lambda before=before: network.connections > before, "the core tries another connection")
            network.heal()
            writers.wait_for_each()
    writers.verify(cores.client(remote))
    assert not writers.unknown
    assert not writers.refused


def test_resets_show_to_no_writer(network: Proxy, remote: Site, cores: Cores) -> None:
    with Writers([remote.socket_path]) as writers:
        for _ in range(10 * FACTOR):
            writers.wait_for(10)
            network.reset()
            writers.wait_for_each()
    writers.verify(cores.client(remote))
    assert not writers.unknown
    assert not writers.refused


def test_a_core_that_is_cut_off_gives_nothing_old(
    server: Cluster, name: str, network: Proxy, remote: Site, cores: Cores
) -> None:
    """It has the snippet in memory; another core changes it. It then says that it cannot know, later what is new."""
    near = cores.add(server.conninfo(name))
    here, there = cores.client(near), cores.client(remote)
    here.registry_define("page", b"{}")
    here.snippet_create("page", "a/page", {"n": 1})
    wait_until(lambda: _version(there, "a/page") == 1, "the other core has it")
    for version in range(2, 2 + FACTOR):
        assert there.snippet_get("a/page").version == version - 1
        network.drop()
        here.snippet_update("a/page", {"n": version})
        # Within a second of the last news it may give the old one; after that it may not.
        wait_until(lambda: _version(there, "a/page") is None, "the core that is cut off stops giving what it remembers")
        network.heal()
        wait_until(lambda version=version: _version(there, "a/page") == version, "it gives the new version")
        assert there.snippet_get("a/page").version == version


def _version(client, ref: str) -> int | None:
    try:
        return int(client.snippet_get(ref).version)
    except StoreUnavailable:
        return None
    except NotFound:
        return 0


def test_the_other_core_goes_on_during_a_partition(
    server: Cluster, name: str, network: Proxy, remote: Site, cores: Cores
) -> None:
    """Although half of a transaction of the core that is cut off is open in the server."""
    near = cores.add(server.conninfo(name))
    with Writers([near.socket_path]) as writers, Writers([remote.socket_path], timeout=90) as cut_off:
        for _ in range(FACTOR):
            cut_off.wait_for(20)
            network.cut_at(b"end_batch", "half")
            network.wait_cut()
            network.drop()
            writers.wait_for_each()
            writers.wait_for(50)
            network.heal(reset=True)
            cut_off.wait_for_each()
    writers.verify(cores.client(near), cut_off)
    assert not writers.refused
    assert not writers.unknown


@pytest.mark.parametrize("change", ["update", "rename", "delete"])
def test_an_answer_that_comes_late_hides_no_later_change(
    server: Cluster, name: str, network: Proxy, remote: Site, cores: Cores, change: str
) -> None:
    """A read is answered with what was there when it was asked. What another core did since, and this one has read in
    the log, must not be forgotten by that."""
    reader, writer = cores.client(remote), cores.client(cores.add(server.conninfo(name)))
    writer.registry_define("page", b"{}")
    for number in range(3 * FACTOR):
        ref = f"late/{number}"
        snippet_id = writer.snippet_create("page", ref, {"n": 1})
        network.cut_at(snippet_id.encode(), "answer")
        early = threading.Thread(target=reader.snippet_get, args=(snippet_id,))
        early.start()
        network.wait_cut()
        if change == "update":
            writer.snippet_update(ref, {"n": 2})
        elif change == "rename":
            writer.snippet_rename(ref, f"{ref}/renamed")
        else:
            writer.snippet_delete(ref)
        wait_until(lambda: _has_seen(server, name, remote), "the log was read")
        network.heal()
        early.join(20)
        assert not early.is_alive()
        if change == "delete":
            with pytest.raises(NotFound):
                reader.snippet_get(snippet_id)
        else:
            assert reader.snippet_get(snippet_id).version == 2


def _has_seen(server: Cluster, name: str, core: Site) -> bool:
    [(head,)] = server.sql("SELECT last FROM head WHERE what = 'batches'", database=name)
    with Client(core.socket_path) as client:
        return int(client.stats()["store"]["batch"]) >= head
