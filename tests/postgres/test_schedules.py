"""Schedules of a plugin that two cores have: each run is done by one of them, one at a time."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import pytest

from reed.errors import Conflict
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import LISTENER, Cores, Listener

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
MANIFEST = "actions: {{do: {{command_id: 1, timeout: 60s}}}}\nschedules: {{often: {{every: {every}, action: do}}}}\n"


class Clock(Listener):
    """A plugin with a schedule that notes each run (`heard`), with the core."""

    def __init__(self, cores: Cores, every: str) -> None:
        self._root = cores.root
        cores.native("clock", LISTENER, MANIFEST.format(every=every))


def schedule(client: Any) -> dict[str, Any]:
    return client.plugin_health("clock")[0]["schedules"][0]


def test_one_core_runs_it_at_a_time(server: Cluster, cores: Cores) -> None:
    clock, conninfo = Clock(cores, "1s"), server.conninfo(server.create_database())
    sites = [cores.add(conninfo, **Clock.SETTINGS) for _ in range(2)]
    for site in sites:
        cores.client(site).plugin_start("clock")
    wait_until(lambda: len(clock.heard) >= 4, "four runs")
    dues = [each["due"] for each in clock.heard]
    assert len(set(dues)) == len(dues), "each run was done once"
    ends = [(each["begin"], each["end"]) for each in clock.heard]
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ends)), "none overlap"
    first, other = cores.client(sites[0]), cores.client(sites[1])
    wait_until(lambda: schedule(first)["runs"] >= 4 or schedule(other)["runs"] >= 4, "the count of all cores")


@pytest.mark.skipif(not os.environ.get("REED_SLOW_TESTS"), reason="waits for the end of a lease; REED_SLOW_TESTS=1")
def test_another_core_begins_the_run_of_one_that_was_killed(server: Cluster, cores: Cores) -> None:
    clock, conninfo = Clock(cores, "2s"), server.conninfo(server.create_database())
    sites = [cores.add(conninfo, start=False, **Clock.SETTINGS) for _ in range(2)]
    for site in sites:
        clock.hold(site)
        site.start()
    clients = [cores.client(site) for site in sites]
    for client in clients:
        client.plugin_start("clock")

    def runs(number: int) -> bool:
        return bool(clients[number].plugin_health("clock")[0]["calls_in_flight"])

    wait_until(lambda: runs(0) or runs(1), "a run")
    victim = 0 if runs(0) else 1
    other = 1 - victim
    with pytest.raises(Conflict, match="is running"):  # on another core, or this one asks for the lease
        clients[other].plugin_run_schedule("clock", "often")
    due = schedule(clients[victim])["due"]
    sites[victim].kill()
    clock.release(sites[other])
    wait_until(lambda: clock.heard, "the run on the other core")
    assert (clock.heard[0]["core"], clock.heard[0]["due"]) == (sites[other].root.name, due)
    clock.release(sites[victim])
