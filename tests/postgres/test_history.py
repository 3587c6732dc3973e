"""Histories of concurrent operations, checked by porcupine. REED_HISTORIES=N checks N operations in each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Site
from tests.postgres.checker import Report, check
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores, freeze, thaw
from tests.postgres.history import Operation, Workload
from tests.postgres.proxy import Proxy

OPERATIONS = int(os.environ.get("REED_HISTORIES") or 3000)
WRITER = "UPDATE head SET last"  # in the last statement of every transaction that writes
MS = 1_000_000
ID, OTHER = "019a0000-0000-7000-8000-000000000001", "019a0000-0000-7000-8000-000000000002"
Check = Callable[..., Report]


@pytest.fixture
def judge(history_checker: Callable[[], Path], tmp_path: Path) -> Check:
    def judge(history: Sequence[Operation], owners: int = 1) -> Report:
        return check(history, history_checker, tmp_path / "drawings", owners=owners)

    return judge


# The checker itself: histories of one name, with times in milliseconds.


def created(begin: int, end: int, **more: object) -> Operation:
    return replace(Operation("h/0/0", "create", "ok", begin * MS, end * MS, a=1, id=ID), **more)  # type: ignore[arg-type]


def updated(begin: int, end: int, value: int, **more: object) -> Operation:
    return replace(Operation("h/0/0", "update", "ok", begin * MS, end * MS, a=value, id=ID), **more)  # type: ignore[arg-type]


def got(begin: int, end: int, version: int, value: int, **more: object) -> Operation:
    operation = Operation("h/0/0", "get", "ok", begin * MS, end * MS, a=value, id=ID, version=version, connection=9)
    return replace(operation, **more)  # type: ignore[arg-type]


def deleted(begin: int, end: int, **more: object) -> Operation:
    return replace(Operation("h/0/0", "delete", "ok", begin * MS, end * MS, id=ID), **more)  # type: ignore[arg-type]


GOOD = {
    "in order": [created(0, 1), got(2, 3, 1, 1), updated(4, 5, 2), got(6, 7, 2, 2), deleted(8, 9)],
    "at the same time, in either order": [
        created(0, 1),
        updated(2, 9, 2),
        updated(2, 9, 3, client=1),
        got(10, 11, 3, 2),
    ],
    "a read during a write": [created(0, 1), updated(2, 9, 2), got(3, 4, 1, 1), got(5, 6, 2, 2)],
    "unknown, and it happened later": [
        created(0, 1),
        updated(2, 3, 2, outcome="unknown", id=""),
        got(4, 5, 1, 1),
        got(6, 7, 2, 2),
    ],
    "unknown, and it never happened": [created(0, 1), deleted(2, 3, outcome="unknown", id=""), got(4, 5, 1, 1)],
    "an unknown create": [created(0, 1, outcome="unknown", id=""), got(2, 3, 1, 1), deleted(4, 5)],
    "refused": [created(0, 1), updated(2, 3, 2, outcome="refused", id=""), got(4, 5, 1, 1)],
    "a version that was overtaken": [
        created(0, 1),
        updated(2, 3, 2, if_version=1),
        updated(4, 5, 3, if_version=1, outcome="conflict", id=""),
        got(6, 7, 2, 2),
    ],
    "another snippet of the name": [created(0, 1), deleted(2, 3), created(4, 5, id=OTHER), got(6, 7, 1, 1, id=OTHER)],
}
BAD = {
    "a lost update": [created(0, 1), updated(2, 3, 2), updated(4, 5, 3, client=1), got(6, 7, 2, 3)],
    "a lost field": [created(0, 1), updated(2, 3, 2), updated(4, 5, 3, a=None, b=3), got(6, 7, 3, 1, b=3)],
    "both with the same version": [
        created(0, 1),
        updated(2, 9, 2, if_version=1),
        updated(2, 9, 3, if_version=1, client=1),
    ],
    "a stale read": [created(0, 1), updated(2, 3, 2), got(4, 5, 1, 1)],
    "a write that was acknowledged and lost": [created(0, 1), got(2, 3, 0, 0, outcome="not_found", id="")],
    "a refused write that happened": [created(0, 1), updated(2, 3, 2, outcome="refused", id=""), got(4, 5, 2, 2)],
    "two creates of one name": [created(0, 9), created(1, 8, id=OTHER, client=1)],
    "a conflict without a reason": [created(0, 1), updated(2, 3, 2, if_version=1, outcome="conflict", id="")],
    "a snippet that returns": [created(0, 1), deleted(2, 3), got(4, 5, 1, 1)],
    "an unknown write that happened before it began": [
        created(0, 1),
        got(2, 3, 2, 2),
        updated(4, 5, 2, outcome="unknown", id=""),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_accepted(judge: Check, name: str) -> None:
    assert judge(GOOD[name]).operations == len(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_rejected(judge: Check, name: str) -> None:
    with pytest.raises(AssertionError, match="not linearizable"):
        judge(BAD[name])


def test_a_read_through_another_core_may_be_a_second_old(judge: Check) -> None:
    history = [created(0, 1), updated(2, 3, 2), got(900, 901, 1, 1, core=1)]
    assert judge(history).operations == 3
    with pytest.raises(AssertionError, match="not linearizable"):
        judge([*history[:2], got(1100, 1101, 1, 1, core=1)])


def test_a_connection_sees_its_own_writes_on_any_core(judge: Check) -> None:
    old = got(5, 6, 1, 1, core=1, connection=3)
    with pytest.raises(AssertionError, match="version 2 was seen before"):
        judge([created(0, 1), updated(2, 3, 2, core=1, connection=3), old], owners=0)
    assert judge([created(0, 1), updated(2, 3, 2, core=1, connection=4), old], owners=0).operations == 3


def test_an_own_write_may_have_been_overtaken_unseen(judge: Check) -> None:
    """Its answer came late: another core had made the next version before, which this one need not know yet."""
    history = [
        created(0, 1),
        updated(2, 9, 2, b=3, core=1, connection=3),
        updated(3, 4, 5, client=1),
        got(5, 6, 3, 5, b=3),
    ]
    assert judge([*history, got(10, 11, 2, 2, b=3, core=1, connection=3)], owners=0).operations == 5


def test_versions_of_a_connection_do_not_go_back(judge: Check) -> None:
    history = [created(0, 1), updated(2, 3, 2), got(4, 5, 2, 2, core=1), got(6, 7, 1, 1, core=1)]
    with pytest.raises(AssertionError, match="version 2 was seen before"):
        judge(history, owners=0)
    assert judge([*history[:3], replace(history[3], connection=10)], owners=0).operations == 4


def test_a_deleted_snippet_does_not_return_to_a_connection(judge: Check) -> None:
    history = [
        created(0, 1),
        deleted(2, 3),
        got(4, 5, 0, 0, core=1, outcome="not_found", id=""),
        got(6, 7, 1, 1, core=1),
    ]
    history.insert(1, got(1, 2, 1, 1, core=1))
    with pytest.raises(AssertionError, match="it was gone before"):
        judge(history, owners=0)


def test_an_unexpected_error_is_an_error(judge: Check) -> None:
    with pytest.raises(AssertionError, match="1 errors"):
        judge([created(0, 1), updated(2, 3, 2, outcome="failed", error="500 40002 broken")])


def test_a_history_of_sqlite(core, judge: Check) -> None:
    """The clients and the checker on the store that has one core."""
    with Workload([core.socket_path], seed=1, owners=True) as workload:
        workload.wait_for(OPERATIONS)
    report = judge(workload.history)
    assert report.operations >= OPERATIONS
    assert set(report.counts) == {"ok", "conflict", "not_found"}


# Cores on PostgreSQL.

postgres = pytest.mark.skipif(bool(missing()), reason=missing())


class Faults:
    """A server, two networks and cores on them, and everything that can happen to these."""

    def __init__(self, server: Cluster, cores: Cores, networks: Sequence[Proxy], count: int) -> None:
        self._server = server
        self._name = server.create_database()
        self._networks = networks
        conninfos = [server.conninfo(self._name)] + [
            server.conninfo(self._name, tcp=True, port=network.port) for network in networks
        ]
        self.sites: list[Site] = [cores.add(conninfos[number % len(conninfos)]) for number in range(count)]
        self.kills = 0

    def run(self, workload: Workload, operations: int) -> None:
        """Every fault once and again until there are so many operations."""
        faults: list[Callable[[Workload, int], None]] = [
            self.kill9_backend,
            self.lose_commits,
            self.terminate,
            self.stop_backend,
            self.kill9_server,
            self.partition,
            self.restart,
            self.kill9_core,
            self.freeze_core,
            self.reset,
        ]
        pause = max(50, operations // (2 * len(faults)))
        number = 0
        while number < len(faults) or len(workload.history) < operations:
            faults[number % len(faults)](workload, number)
            workload.wait_for_each(lambda each: each.outcome in {"ok", "conflict", "not_found"})
            workload.wait_for(pause)
            number += 1

    def kill9_backend(self, _workload: Workload, _number: int) -> None:
        self._server.kill9_backend(self._writers()[0])
        self.kills += 1

    def terminate(self, _workload: Workload, _number: int) -> None:
        for backend in self._server.backends(database=self._name):
            self._server.terminate_backend(backend.pid)

    def lose_commits(self, workload: Workload, _number: int) -> None:
        for network in self._networks[: len(self.sites) - 1]:
            for when in ("before", "after"):
                network.cut_at(b"end_batch", when)
                network.wait_cut(60)
                workload.wait_for(20)

    def stop_backend(self, workload: Workload, number: int) -> None:
        writers = self._writers()
        pid = writers[number % len(writers)]
        self._server.sigstop(pid)
        workload.wait_for(10)
        self._server.sigcont(pid)

    def kill9_server(self, _workload: Workload, number: int) -> None:
        (self._server.kill9_all if number % 20 < 10 else self._server.kill9_postmaster)()
        self._server.start()
        self.kills += 1

    def restart(self, _workload: Workload, _number: int) -> None:
        self._server.restart()

    def partition(self, workload: Workload, number: int) -> None:
        network = self._networks[number % max(1, len(self.sites) - 1)]
        ways = ((), ("to_server",), ("to_client",))[number // 10 % 3]
        network.drop(*ways)  # type: ignore[arg-type]
        workload.wait_for(100 if len(self.sites) > 1 else 0)
        network.heal(reset=number // 10 % 2 == 1)

    def kill9_core(self, workload: Workload, number: int) -> None:
        site = self.sites[number % len(self.sites)]
        site.kill()
        workload.wait_for(30 if len(self.sites) > 1 else 0)
        site.start()
        self.kills += 1

    def freeze_core(self, workload: Workload, number: int) -> None:
        site = self.sites[number % len(self.sites)]
        freeze(site)
        workload.wait_for(300 if len(self.sites) > 1 else 0)
        thaw(site)

    def reset(self, _workload: Workload, _number: int) -> None:
        for network in self._networks:
            network.reset()

    def _writers(self) -> list[int]:
        def found() -> list[int]:
            return [each.pid for each in self._server.backends(database=self._name) if WRITER in each.query]

        return wait_until(found, "a core writes")


@pytest.fixture
def networks(server: Cluster) -> Iterator[list[Proxy]]:
    with Proxy("127.0.0.1", server.port) as first, Proxy("127.0.0.1", server.port) as second:
        yield [first, second]


@postgres
@pytest.mark.parametrize(("count", "owners"), [(1, 1), (2, 2), (3, 3), (2, 0), (3, 0)])
def test_a_history_under_faults(
    server: Cluster, cores: Cores, networks: list[Proxy], judge: Check, count: int, owners: int
) -> None:
    """`owners`: each name is written through one core, and read as it is there; 0: every core writes every name."""
    faults = Faults(server, cores, networks, count)
    sockets = [site.socket_path for site in faults.sites]
    with Workload(sockets, seed=OPERATIONS + count, owners=bool(owners)) as workload:
        faults.run(workload, OPERATIONS)
    report = judge(workload.history, owners)
    print(f"{count} cores, {owners} owners, {faults.kills} kills: {report}")


@postgres
@pytest.mark.parametrize("owners", [2, 0])
def test_a_history_of_two_cores_at_peace(
    cluster: Cluster, database: str, cores: Cores, judge: Check, owners: int
) -> None:
    sites = [cores.add(database) for _ in range(2)]
    with Workload([site.socket_path for site in sites], seed=1, owners=bool(owners)) as workload:
        workload.wait_for(OPERATIONS)
    report = judge(workload.history, owners)
    print(report)
    assert set(report.counts) == {"ok", "conflict", "not_found"}


@postgres
def test_a_history_with_a_slow_network(server: Cluster, cores: Cores, networks: list[Proxy], judge: Check) -> None:
    """News of the other core come late, but what is older than a second is not given."""
    faults = Faults(server, cores, networks, 2)
    with Workload([site.socket_path for site in faults.sites], seed=2) as workload:
        workload.wait_for(200)
        for seconds in (0.1, 0.45):
            networks[0].delay(seconds)
            workload.wait_for(max(200, OPERATIONS // 10))
        networks[0].heal()
        workload.wait_for(200)
    print(judge(workload.history, 0))
