"""Schedules of plugin.yaml and reed.yaml: what is read, what is refused, and when a rule is due."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from reed import config
from reed.errors import ConfigError, ManifestError
from reed.supervision import manifest
from reed.supervision.schedule import LOCAL_TIME, LibraryMissing, Rule, Schedule, effective, iso, problems

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def load(folder: Path, schedules: str) -> manifest.Manifest:
    actions = (
        "name: clock\nversion: 1.0.0\nactions:\n  tick: {command_id: 1}\n  page: {command_id: 2, input: snippet}\n"
    )
    (folder / "plugin.yaml").write_text(f"{actions}schedules:\n  {schedules}\n")
    return manifest.load(folder)


def changed(folder: Path, schedules: str, change: str) -> dict[str, Schedule]:
    (folder / "reed.yaml").write_text(f"plugins: {{clock: {{schedules: {change}}}}}\n")
    own = config.load(folder / "reed.yaml", {}, {}).plugin("clock")
    return effective(load(folder, schedules).schedules, own)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


# Reading -------------------------------------------------------------------------------------------------------------


def test_schedules_are_read(tmp_path: Path) -> None:
    found = load(
        tmp_path, 'a: {cron: "0  3 * * mon-fri", action: tick}\n  b-2: {every: 1d, action: tick, enabled: false}'
    )
    assert found.schedules == {
        "a": Schedule("tick", cron="0 3 * * mon-fri"),
        "b-2": Schedule("tick", every=24 * HOUR, enabled=False),
    }
    assert [str(each.rule) for each in found.schedules.values()] == ["cron 0 3 * * mon-fri", "every 1d"]


@pytest.mark.parametrize(
    ("schedules", "says"),
    [
        ('a: {cron: "61 3 * * *", action: tick}', "plugin.yaml:7:13: schedules.a.cron: no cron line: Bad minute"),
        ('a: {cron: "0 3 * *", action: tick}', "schedules.a.cron: expected five fields, found 4"),
        ('a: {cron: "0 0 30 2 *", action: tick}', "schedules.a.cron: no cron line: Bad day-of-month"),
        ("a: {every: 500ms, action: tick}", "plugin.yaml:7:14: schedules.a.every: expected 1s to 366d, found '500ms'"),
        ("a: {every: 1h, action: tack}", "plugin.yaml:7:26: schedules.a.action: no action 'tack' here"),
        ("a: {every: 1h, action: page}", "schedules.a.action: the action 'page' takes a snippet"),
        ("a: {action: tick}", "plugin.yaml:7:6: schedules.a: expected either `cron` or `every`"),
        ('a: {cron: "0 3 * * *", every: 1h, action: tick}', "schedules.a: expected either `cron` or `every`"),
        ("a: {every: 1h}", "schedules.a: the key 'action' is missing"),
        ("a: {every: 1h, action: tick, enabled: maybe}", "schedules.a.enabled: expected true or false"),
        ("A: {every: 1h, action: tick}", "expected the name of a schedule"),
    ],
)
def test_an_invalid_schedule_is_refused_with_its_place(tmp_path: Path, schedules: str, says: str) -> None:
    with pytest.raises(ManifestError) as refused:
        load(tmp_path, schedules)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("{a: off}", Schedule("tick", every=HOUR, enabled=False)),
        ("{a: on}", Schedule("tick", every=HOUR)),
        ("{a: {enabled: false}}", Schedule("tick", every=HOUR, enabled=False)),
        ('{a: {cron: "30 4 * * *"}}', Schedule("tick", cron="30 4 * * *")),
        ("{a: {every: 90s}}", Schedule("tick", every=90)),
    ],
)
def test_reed_yaml_changes_a_schedule(tmp_path: Path, change: str, expected: Schedule) -> None:
    found = changed(tmp_path, "a: {every: 1h, action: tick}", change)["a"]
    assert found.changed_by == f"{tmp_path}/reed.yaml:1"
    assert found == Schedule(expected.action, expected.cron, expected.every, expected.enabled, found.changed_by)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ("{b: off}", ManifestError, "plugins.clock.schedules.b: no such schedule; its plugin.yaml has: a"),
        ('{a: {cron: "x 4 * * *"}}', ManifestError, "reed.yaml:1:41: plugins.clock.schedules.a.cron: no cron line"),
        ("{a: {every: 0s}}", ConfigError, "plugins.clock.schedules.a.every: expected 1s to 366d"),
        ("{a: maybe}", ConfigError, "plugins.clock.schedules.a: expected true or false"),
        ('{a: {cron: "0 4 * * *", every: 1h}}', ConfigError, "expected `cron` or `every`, found both"),
    ],
)
def test_an_invalid_change_is_refused(tmp_path: Path, change: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=r"reed\.yaml:1") as refused:
        changed(tmp_path, "a: {every: 1h, action: tick}", change)
    assert says in str(refused.value)


def test_a_cron_line_is_read_without_the_library_but_is_never_due(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    schedule = load(tmp_path, 'a: {cron: "0 3 * * *", action: tick}').schedules["a"]
    assert "pip install 'reed-cms[schedules]'" in problems({"a": schedule})[0]
    with pytest.raises(LibraryMissing, match=r"reed-cms\[schedules\]"):
        schedule.rule.first_due(0.0)


def test_the_library_is_imported_only_for_cron(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "cronsim", raising=False)
    load(tmp_path, "a: {every: 1h, action: tick}").schedules["a"].rule.first_due(0.0)
    assert "cronsim" not in sys.modules


# Due times -----------------------------------------------------------------------------------------------------------


def test_the_local_time_is_that_of_the_c_library(monkeypatch) -> None:
    import time

    try:
        for zone in ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            for day in ("2026-03-29", "2026-10-25"):
                for minutes in range(0, 6 * 60, 10):
                    moment = at(f"{day}T00:00") + minutes * 60
                    assert iso(moment, LOCAL_TIME) == iso(moment, BERLIN)
                    assert datetime.fromtimestamp(moment, LOCAL_TIME).timestamp() == moment
            assert Rule("30 2 * * *").first_due(at("2026-03-28T12:00")) == at("2026-03-29T03:00")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_next_time_is_never_in_the_past() -> None:
    """Local times that are there twice: the library may begin with the first of the two."""
    for minutes in range(0, 5 * 60, 7):
        now = at("2026-10-25T00:30") + minutes * 60
        for line in ("30 2 * * *", "*/15 * * * *", "0 2,3 * * *"):
            assert now < Rule(line).first_due(now, BERLIN) <= now + 26 * HOUR


@pytest.mark.parametrize(
    ("due", "began", "now", "expected"),
    [
        (1000, 1000, 1010, 1060),
        (1000, 1029, 1030, 1060),
        (1000, 1001, 1500, 1540),  # the run was longer than the interval
        (1000, 5000, 5010, 5060),  # after an outage
        (9000, 1000, 1010, 1060),  # by hand
        (1000, 1000, 900, 960),  # the clock was set back during the run
    ],
)
def test_an_interval(due: float, began: float, now: float, expected: float) -> None:
    assert Rule(every=60).next_due(due, began, now) == expected


def test_a_clock_that_is_set_back_repeats_no_run_and_hides_none() -> None:
    """A weekly run was done at 3:00 on Sunday; the next one is due a week later."""
    rule, done, due = Rule("0 3 * * sun"), at("2026-05-03T03:00"), at("2026-05-10T03:00")
    assert rule.corrected(due, done - 600, done, BERLIN) == due
    assert rule.corrected(due, at("2026-04-01T12:00"), done, BERLIN) == at("2026-04-05T03:00")
    assert Rule(every=60).corrected(1000, 100, 940) == 160
