"""Schedules on a real core: runs by the clock, by hand, after kill -9; what status and errors say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reed.client import Client
from reed.errors import CallError, NotFound, PermissionDenied, PluginOffline
from tests.waiting import until

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin{name = "clock", version = "1.0.0"}
plugin.action("tick", function(text)
  local file = assert(io.open("ticks", "a"))
  file:write(text .. "\\n")
  file:close()
  return {ok = true}
end)
plugin.action("fail", function() reed.fail(507, "no room") end)
plugin.run()
"""
MANIFEST = """
actions:
  tick: {command_id: 1}
  fail: {command_id: 2}
sleep: {after: 200ms, mode: deep}
schedules:
  often: {every: 1s, action: tick}
  bad: {every: 1s, action: fail}
  nightly: {cron: "0 3 * * *", action: tick, enabled: false}
"""
ROW = 'clock,lua,{},1.0.0,"file_write","editor,admin",true,"a test"'
TIMEOUT = 30.0


def ticks(site: Any) -> list[dict[str, str]]:
    path: Path = site.data_dir / "plugins" / "clock" / "ticks"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def schedule(client: Client, name: str) -> dict[str, Any]:
    (plugin,) = client.plugin_health("clock")
    return next(each for each in plugin["schedules"] if each["name"] == name)


@pytest.fixture
def clock(site):
    site.add_lua_plugin("clock", MAIN, MANIFEST)
    site.set_rows(ROW)
    return site


def test_schedules_run_wake_a_sleeping_plugin_and_survive_kill(clock) -> None:
    clock.start()
    client = clock.client()
    until(lambda: len(ticks(clock)) >= 2, "two runs")
    first = ticks(clock)[0]
    assert first["schedule"] == "often"
    assert until(lambda: schedule(client, "bad")["failures"], "a failure")
    bad = schedule(client, "bad")
    assert "no room" in bad["last_error"]
    assert bad["runs"] == bad["failures"]
    assert client.stats()["schedules"]["failures"] >= 1
    assert "clock: the schedule bad failed" in clock.log.read_text()
    assert schedule(client, "nightly")["state"] == "off"
    runs = schedule(client, "often")["runs"]
    clock.kill()
    clock.start()
    client = clock.client()
    assert until(lambda: schedule(client, "often")["runs"] > runs, "a run after the crash")
    dues = [each["due"] for each in ticks(clock)]
    assert dues == sorted(dues)
    clock.no_tracebacks()


def test_a_schedule_is_run_by_hand(clock) -> None:
    clock.config.write_text("plugins: {clock: {schedules: {often: off, bad: {every: 1h}}}}\n")
    clock.start()
    client = clock.client()
    client.plugin_start("clock")
    done = clock.reed("plugin", "run-schedule", "clock", "nightly")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ok": True}), done.stderr
    assert [each["schedule"] for each in ticks(clock)] == ["nightly"]
    assert schedule(client, "nightly")["runs"] == 1
    failed = clock.reed("plugin", "run-schedule", "clock", "bad")
    assert (failed.returncode, "no room" in failed.stderr) == (1, True), failed
    assert schedule(client, "bad")["changed_by"].endswith("reed.yaml:1")
    with pytest.raises(NotFound, match="did you mean"):
        client.plugin_run_schedule("clock", "nightli")
    client.plugin_stop("clock")
    with pytest.raises(PluginOffline):
        client.plugin_run_schedule("clock", "nightly")
    explained = json.loads(clock.reed("plugin", "explain", "clock", "--json").stdout)
    assert {each["name"]: each["state"] for each in explained["schedules"]} == {
        "often": "off",
        "bad": "paused",
        "nightly": "off",
    }


def test_whoever_may_call_the_plugin_may_run_its_schedules(clock) -> None:
    clock.config.write_text(
        "groups: {editor: {permissions: [plugin_send]}, reader: {permissions: [plugin_send]}}\n"
        "plugins: {clock: {schedules: {often: off, bad: off}}}\n"
    )
    clock.start()
    clock.client().plugin_start("clock")
    editor, reader = clock.client(), clock.client()
    editor.assume("anna", "editor")
    reader.assume("otto", "reader")
    assert editor.plugin_run_schedule("clock", "nightly").status == 200
    with pytest.raises(PermissionDenied):
        reader.plugin_run_schedule("clock", "nightly")


def test_an_invalid_change_in_reed_yaml_is_the_error_of_that_plugin(clock) -> None:
    clock.config.write_text('plugins:\n  clock:\n    schedules:\n      often: {cron: "0 25 * * *"}\n')
    clock.start()
    with pytest.raises(CallError, match=r"reed.yaml:4:\d+: plugins.clock.schedules.often.cron: no cron line: Bad hour"):
        clock.client().plugin_start("clock")


def test_consent_names_the_schedules(site) -> None:
    site.set_rows()
    folder = Path(__file__).parents[2] / "contrib" / "plugins" / "backup"
    shown = site.reed("plugin", "add", str(folder), "--dry-run", "--json", f"--registry={site.registry}")
    assert json.loads(shown.stdout)["asks_for"]["schedules"] == ["schedule nightly"], shown.stderr
