"""Histories of concurrent operations, checked by porcupine. REED_HISTORIES=N checks N operations in each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.postgres.history import Operation, Report, Workload, check

OPERATIONS = int(os.environ.get("REED_HISTORIES") or 3000)
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
    with pytest.raises(AssertionError, match="not linearizable"):
        judge([created(0, 1), updated(2, 3, 2, core=1, connection=3), old], owners=0)
    assert judge([created(0, 1), updated(2, 3, 2, core=1, connection=4), old], owners=0).operations == 3


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
