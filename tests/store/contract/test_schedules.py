"""The table of schedules: due times and outcomes survive a restart, and a run has one lease."""

from __future__ import annotations

import pytest

from reed.store.schedules import ScheduleState


@pytest.fixture
def table(driver):
    """Calls an operation of the table, and returns what it gives."""

    def call(operation, *args, of=driver):
        given, failures = [], []
        getattr(of.store.schedules, operation)(*args, given.append, failures.append)
        of.run_until(lambda: given or failures, operation)
        assert not failures, failures
        return given[0]

    return call


def test_a_schedule_is_planned_once(table):
    assert table("load") == []
    first = table("plan", "backup", "nightly", "cron 0 3 * * *", 500, 0)
    assert first == ScheduleState("backup", "nightly", "cron 0 3 * * *", 500)
    assert table("plan", "backup", "nightly", "cron 0 3 * * *", 900, 0) == first, "its due time stays"
    assert table("plan", "backup", "nightly", "every 60s", 700, 0).due == 700, "another rule"
    assert table("plan", "backup", "nightly", "every 60s", 600, 700).due == 600, "instead of 700"
    assert table("plan", "backup", "nightly", "every 60s", 650, 700).due == 600, "it is no longer 700"
    assert [state.rule for state in table("load")] == ["every 60s"]


def test_a_run_has_a_lease_until_it_ends(table):
    table("plan", "backup", "nightly", "every 60s", 500, 0)
    assert table("begin", "backup", "nightly", 400).is_running is False, "it is due at another time"
    run = table("begin", "backup", "nightly", 500)
    assert (run.is_running, run.due) == (True, 500)
    assert table("load")[0].is_running
    after = run._replace(due=560, last_due=500, began=501, ended=502, runs=1, failures=1, skipped=2, error="no disk")
    table("end", after)
    assert table("load") == [after._replace(is_running=False, generation=table("load")[0].generation)]
    assert table("begin", "backup", "nightly", 500).is_running is False
    by_hand = table("begin", "backup", "nightly", 0)
    assert by_hand.is_running
    table("end", run._replace(due=999))
    assert table("load")[0].due == 560, "the lease of that run is over"
    assert table("begin", "backup", "other", 0) is None


def test_state_survives_a_restart_and_an_interrupted_run_is_still_due(table, driver, open_store):
    table("plan", "backup", "nightly", "every 60s", 500, 0)
    run = table("begin", "backup", "nightly", 500)
    table("end", run._replace(due=560, ended=502, error="no", runs=3))
    table("begin", "backup", "nightly", 560)
    driver.close()
    (found,) = table("load", of=open_store())
    assert (found.due, found.error, found.runs) == (560, "no", 3)


def test_rows_that_nobody_needs_are_forgotten(table):
    for name in ("nightly", "hourly"):
        table("plan", "backup", name, "every 60s", 500, 0)
    table("plan", "seo", "nightly", "every 60s", 500, 0)
    table("forget", "backup", ["hourly"])
    assert {(state.plugin, state.name) for state in table("load")} == {("backup", "hourly"), ("seo", "nightly")}
    table("forget", "backup", [])
    assert [state.plugin for state in table("load")] == ["seo"]
