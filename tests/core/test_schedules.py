"""Schedules on injected clocks, with a real store: due times, missed runs, overlap, jumps of the wall clock."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from reed.core import schedules as module
from reed.core.schedules import LOOK_SECONDS, Schedules
from reed.errors import CallError, Conflict, NotFound, PluginBusy, PluginOffline, StoreFailed
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.lifecycle import State
from reed.supervision.manifest import Action
from reed.supervision.schedule import Schedule
from reed.wire.plugins import PluginAnswer
from tests.inline_store import inline_store

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = Schedule("snapshot", cron="0 3 * * *")
HOUR, DAY = 3600.0, 86400.0


def at(text: str) -> float:
    """Local time of Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


class FakeEndpoint:
    name = "backup"

    def __init__(self, **schedules: Schedule) -> None:
        self.plugin = SimpleNamespace(state=State.READY, spec=SimpleNamespace(schedules=schedules))
        self.asked: list[tuple[dict[str, Any], Any, Any]] = []
        self.refuses: CallError | None = None

    def action(self, name: str) -> Action:
        return Action(name=name, command_id=1)

    def call(self, action: Action, payload: bytes, answered: Any, failed: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        assert action.name == "snapshot"
        self.asked.append((json.loads(payload), answered, failed))

    def offline_error(self) -> PluginOffline:
        return PluginOffline("plugin backup is stopped")


class Core:
    """`wall` is the wall clock. Time passes by `wait`, in which every timer is run at its time."""

    def __init__(self, path: Any, start: str, **schedules: Schedule) -> None:
        self.now, self.wall = 1000.0, at(start)
        self.looks = 0
        self.loop = Loop(clock=lambda: self.now, on_exception=self._bug, commit=self._commit)
        self.store = inline_store(path, on_due=self.loop.request_commit)
        self.endpoint = FakeEndpoint(**schedules)
        self.endpoints = {"backup": self.endpoint}
        self.schedules = Schedules(
            self.store,
            self.endpoints,  # type: ignore[arg-type]
            self.endpoints.__contains__,
            self.loop,
            PeerLog(logging.getLogger("test"), self.loop),
            wall=lambda: self.wall,
            zone=BERLIN,
        )
        self.schedules.refresh()
        self.turn()

    def _bug(self, error: BaseException) -> None:
        raise error

    def _commit(self) -> None:
        self.store.commit()

    def turn(self) -> None:
        for _ in range(4):
            self.loop.turn(0)

    def pass_(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.loop._timers.next_deadline()) is not None and due <= end:
            self.looks += 1
            step = max(due - self.now, 0.0)
            self.now, self.wall = self.now + step, self.wall + step
            self.turn()
        self.now, self.wall = end, self.wall + end - self.now
        self.turn()

    def until(self, text: str) -> None:
        self.pass_(at(text) - self.wall)

    def take(self) -> tuple[str, Any, Any]:
        """The `due` of the only call, and its callbacks."""
        assert len(self.endpoint.asked) == 1
        payload, answered, failed = self.endpoint.asked.pop()
        return payload["due"], answered, failed

    def answer(self, status: int = 200, body: bytes = b"{}") -> str:
        due, answered, _ = self.take()
        answered(PluginAnswer(status, body).pack())
        self.turn()
        return due

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.schedules.describe("backup")
        return row

    def close(self) -> None:
        self.schedules.close()
        self.loop.close()
        self.store.close()


@pytest.fixture
def open_core(tmp_path):
    cores = []

    def open_it(start: str, **schedules: Schedule) -> Core:
        cores.append(Core(tmp_path / "reed.db", start, **(schedules or {"nightly": NIGHTLY})))
        return cores[-1]

    yield open_it
    for core in cores:
        core.close()


def test_a_cron_schedule_runs_at_its_local_time(open_core):
    core = open_core("2026-05-01T12:00")
    assert (core.row["state"], core.row["due"]) == ("waiting", "2026-05-02T03:00:00+02:00")
    core.until("2026-05-02T02:59:59")
    assert core.endpoint.asked == []
    core.until("2026-05-02T03:00:01")
    assert core.row["state"] == "running"
    assert core.endpoint.asked[0][0] == {"schedule": "nightly", "due": "2026-05-02T03:00:00+02:00"}
    core.pass_(2)
    core.answer()
    row = core.row
    assert (row["state"], row["due"], row["last_due"]) == (
        "waiting", "2026-05-03T03:00:00+02:00", "2026-05-02T03:00:00+02:00",
    )  # fmt: skip
    assert (row["runs"], row["failures"], row["last_error"], row["last_seconds"]) == (1, 0, "", 3.0)


@pytest.mark.parametrize(
    ("line", "start", "expected"),
    [
        # The clock goes from 2:00 to 3:00 on 29 March 2026: 2:30 is left out, and its run follows at once.
        ("30 2 * * *", "2026-03-28T03:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("0 3 * * *", "2026-03-28T04:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"]),
        ("0 * * * *", "2026-03-29T00:30", ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]),
        # It goes from 3:00 to 2:00 on 25 October 2026: 2:30 is twice, and the schedule runs once.
        ("30 2 * * *", "2026-10-25T01:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("0 3 * * *", "2026-10-25T01:00", ["2026-10-25T03:00:00+01:00", "2026-10-26T03:00:00+01:00"]),
        (
            "30 * * * *", "2026-10-25T02:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"],
        ),
    ],
)  # fmt: skip
def test_daylight_saving_time(open_core, line, start, expected):
    core = open_core(start, nightly=Schedule("snapshot", cron=line))
    found = []
    while len(found) < len(expected):
        core.pass_(60)
        if core.endpoint.asked:
            found.append(core.answer())
            assert abs(core.wall - datetime.fromisoformat(found[-1]).timestamp()) <= 60
    assert found == expected


def test_it_starts_in_the_second_of_two_equal_hours(open_core):
    """2:10 is there for the second time; 2:30 of the day is over."""
    core = open_core("2026-10-25T00:00", nightly=Schedule("snapshot", cron="30 2 * * *"))
    core.close()
    core = open_core("2026-10-25T01:59", other=Schedule("snapshot", cron="30 2 * * *"))
    core.pass_(71 * 60)  # 2:10 for the second time
    core.answer()
    assert core.row["due"] == "2026-10-26T02:30:00+01:00"


def test_a_missed_run_is_caught_up_once_after_a_long_outage(open_core):
    core = open_core("2026-05-01T12:00")
    core.close()
    core = open_core("2026-05-20T09:00")
    assert core.answer() == "2026-05-02T03:00:00+02:00"
    core.pass_(HOUR)
    assert core.endpoint.asked == []
    assert core.row["due"] == "2026-05-21T03:00:00+02:00"


def test_an_interval_begins_anew_after_a_run_that_was_late(open_core):
    schedule = Schedule("snapshot", every=6 * HOUR)
    core = open_core("2026-05-01T12:00", cleanup=schedule)
    assert core.row["due"] == "2026-05-01T18:00:00+02:00"
    core.until("2026-05-01T18:00:01")
    core.answer()
    assert core.row["due"] == "2026-05-02T00:00:00+02:00", "no drift"
    core.close()
    core = open_core("2026-05-02T05:59", cleanup=schedule)
    core.answer()
    assert core.row["due"] == "2026-05-02T11:59:00+02:00"


def test_a_run_that_the_core_did_not_see_end_is_begun_again(open_core):
    core = open_core("2026-05-01T12:00")
    core.until("2026-05-02T03:00:01")
    core.take()
    core.close()
    core = open_core("2026-05-02T03:01")
    assert core.answer() == "2026-05-02T03:00:00+02:00"
    assert core.row["runs"] == 1


def test_due_times_during_a_run_are_skipped(open_core, caplog):
    core = open_core("2026-05-01T12:00", often=Schedule("snapshot", every=60))
    core.pass_(61)
    core.pass_(200)
    core.answer()
    assert core.endpoint.asked == []
    assert (core.row["skipped"], core.row["due"]) == (1, "2026-05-01T12:05:00+02:00")
    assert "was due again while it ran" in caplog.text
    core.pass_(60)
    assert core.answer() == "2026-05-01T12:05:00+02:00"
    assert core.row["skipped"] == 1


@pytest.mark.parametrize(
    ("fail", "text"),
    [
        (lambda core: core.take()[2](CallError("no response within 5 s")), "no response within 5 s"),
        (lambda core: core.answer(507, b'"no disk"'), 'status 507: "no disk"'),
    ],
)
def test_a_failed_run_is_logged_and_counted(open_core, caplog, fail, text):
    core = open_core("2026-05-01T12:00")
    core.until("2026-05-02T03:00:01")
    fail(core)
    core.turn()
    row = core.row
    assert (row["runs"], row["failures"], row["last_error"]) == (1, 1, text)
    assert row["due"] == "2026-05-03T03:00:00+02:00"
    assert f"backup: the schedule nightly failed: {text}" in caplog.text
    assert core.schedules.stats()["failures"] == 1


def test_a_full_queue_is_a_failure(open_core):
    core = open_core("2026-05-01T12:00")
    core.endpoint.refuses = PluginBusy("1000 calls wait")
    core.until("2026-05-02T03:00:01")
    assert core.row["last_error"] == "1000 calls wait"


def test_a_stopped_plugin_pauses_its_schedule_and_catches_up(open_core):
    core = open_core("2026-05-01T12:00")
    core.endpoint.plugin.state = State.STOPPED
    core.schedules.state_changed("backup")
    core.pass_(3 * DAY)
    assert (core.endpoint.asked, core.row["state"]) == ([], "paused")
    core.endpoint.plugin.state = State.READY
    core.schedules.state_changed("backup")
    core.pass_(0)
    due, _, failed = core.take()
    core.endpoint.plugin.state = State.STOPPED
    failed(PluginOffline("it is being stopped"))  # the call waited
    core.pass_(DAY)
    core.endpoint.plugin.state = State.SLEEPING
    core.schedules.state_changed("backup")
    core.pass_(0)
    assert core.answer() == due
    assert (core.row["runs"], core.row["failures"]) == (1, 0)


def test_the_wall_clock_is_set_back(open_core):
    """By ten minutes, after the run: the same time of day is not run again. By a year: the due time comes back."""
    core = open_core("2026-05-01T12:00")
    core.until("2026-05-02T03:00:01")
    core.answer()
    core.wall -= 600
    core.pass_(2 * HOUR)
    assert core.endpoint.asked == []
    assert core.row["due"] == "2026-05-03T03:00:00+02:00"
    core.wall = at("2025-05-01T12:00")
    core.pass_(2 * LOOK_SECONDS)
    assert core.row["due"] == "2025-05-02T03:00:00+02:00"


def test_the_wall_clock_is_set_forward(open_core):
    core = open_core("2026-05-01T12:00")
    core.wall = at("2026-05-04T12:00")
    core.pass_(LOOK_SECONDS)
    assert core.answer() == "2026-05-02T03:00:00+02:00"
    assert core.row["due"] == "2026-05-05T03:00:00+02:00"


def test_the_timer_ends_at_the_next_due_time_and_without_schedules_there_is_none(open_core):
    core = open_core("2026-05-01T12:00", often=Schedule("snapshot", every=10))
    core.pass_(10)
    assert (core.looks, len(core.endpoint.asked)) == (1, 1)
    core.endpoint.plugin.spec = SimpleNamespace(schedules={"nightly": replace(NIGHTLY, enabled=False)})
    core.schedules.refresh()
    core.turn()
    assert core.row["state"] == "off"
    assert len(core.loop._timers) == 0


def test_a_schedule_is_run_by_hand(open_core):
    core = open_core("2026-05-01T12:00")
    answers: list[bytes] = []
    failures: list[CallError] = []
    core.schedules.run_by_hand(core.endpoint, "nightly", lambda body: answers.append(bytes(body)), failures.append)
    with pytest.raises(Conflict):
        core.schedules.run_by_hand(core.endpoint, "nightly", answers.append, failures.append)
    assert core.answer(200, b"{}") == "2026-05-01T12:00:00+02:00"
    assert answers == [PluginAnswer(200, b"{}").pack()]
    assert (core.row["runs"], core.row["due"]) == (1, "2026-05-02T03:00:00+02:00")
    with pytest.raises(NotFound, match="nightly"):
        core.schedules.run_by_hand(core.endpoint, "nightli", answers.append, failures.append)
    core.endpoint.plugin.state = State.STOPPED
    with pytest.raises(PluginOffline):
        core.schedules.run_by_hand(core.endpoint, "nightly", answers.append, failures.append)


def test_a_changed_rule_gives_another_due_time_and_keeps_the_outcome(open_core):
    core = open_core("2026-05-01T12:00")
    core.until("2026-05-02T03:00:01")
    core.answer()
    for schedule, due in (
        (Schedule("snapshot", every=HOUR), "2026-05-02T04:00:01+02:00"),
        (Schedule("snapshot", every=HOUR, enabled=False), None),
        (NIGHTLY, "2026-05-03T03:00:00+02:00"),
    ):
        core.endpoint.plugin.spec = SimpleNamespace(schedules={"nightly": schedule})
        core.schedules.refresh()
        core.turn()
        assert (core.row["due"], core.row["runs"]) == (due, 1)


def test_rows_of_a_removed_plugin_are_forgotten(open_core):
    core = open_core("2026-05-01T12:00")
    del core.endpoints["backup"]
    core.schedules.refresh()
    core.turn()
    found: list[Any] = []
    core.store.schedules.load(found.extend, pytest.fail)
    assert found == []


def test_a_missing_library_is_the_problem_of_that_schedule(open_core, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "cronsim", None)
    core = open_core("2026-05-01T12:00", nightly=NIGHTLY, cleanup=Schedule("snapshot", every=60))
    nightly, cleanup = core.schedules.describe("backup")
    assert (nightly["state"], cleanup["state"]) == ("error", "waiting")
    assert "pip install 'reed-cms[schedules]'" in nightly["problem"]
    assert "the schedule nightly does not run" in caplog.text


def test_an_outcome_that_the_store_refused_is_written_later(open_core, monkeypatch):
    core = open_core("2026-05-01T12:00")
    core.until("2026-05-02T03:00:01")

    def no_disk(*_: Any) -> None:
        raise StoreFailed("no disk")

    with monkeypatch.context() as broken:
        broken.setattr(core.schedules, "_table", SimpleNamespace(end=no_disk))
        core.answer()
        assert core.row["state"] == "running"
    core.pass_(module.RETRY_SECONDS)
    assert (core.row["state"], core.row["runs"]) == ("waiting", 1)
    core.close()
    assert open_core("2026-05-02T04:00").endpoint.asked == []
