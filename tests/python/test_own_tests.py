"""The tests that a Python plugin brings, tests/test_*.py: what they can do, and what their failures say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reed.errors import NotFound
from reed.own_tests import Case, Project
from reed.plugin_types.python import PYTHON
from reed.python.test_run import run
from reed.sandbox import landlock
from reed.sandbox.kernel import Kernel
from reed.scaffold import write
from reed.supervision import manifest
from tests.python.site import write_plugin

PLUGINS = Path(__file__).parents[2] / "contrib/plugins"


def cases(folder: Path, permissions: frozenset[str] | None = None) -> list[Case]:
    found = manifest.load(folder)
    project = Project(
        folder=folder,
        name=found.name,
        entry="main.py",
        settings=found.settings,
        actions={name: action.command_id for name, action in found.actions.items()},
        hooks=found.hooks(),
        permissions=permissions,
    )
    return list(run(project, PYTHON.profile.read_paths))


def failures(folder: Path, **options: Any) -> dict[str, str]:
    return {case.title: case.failure for case in cases(folder, **options)}


def test_those_of_the_template_and_of_the_bundled_plugin_pass(tmp_path: Path) -> None:
    pytest.importorskip("markdown_it", reason="the bundled plugin needs it")
    folder, _files = write("new-python-plugin", "python", tmp_path)
    for each, count in ((folder, 5), (PLUGINS / "markdown", 8)):
        found = cases(each)
        assert [case for case in found if case.failure] == []
        assert len(found) == count


CODE = """
@plugin.on_start
def begin():
    reed.snippet.create("page", "index", {"title": "Index"})


@plugin.on_filter("snippet.create")
def check(event):
    if "title" not in event["content"]:
        return {"refuse": ["no title"]}


@plugin.on_event("snippet.deleted")
def gone(event):
    reed.log.info("%s is gone", event["name"])
    return {"last": event["content"]}


@plugin.on_message(1)
def heard(data, source, message_type):
    plugin.send_message("other", 2, data)
    return plugin.request("other", 3, {"n": 1})


@plugin.on_schedule("nightly")
def night(data):
    return Answer(data["schedule"], 202)


@plugin.on_signal
def signal(signal_type, data):
    plugin.send_signal(reed.signals.BUSY, data)


@plugin.on_sleep
def sleep():
    reed.log.info("good night")


@plugin.action("update")
def update(payload, data):
    with reed.batch() as batch:
        for page in reed.snippet.each(type="page"):
            batch.snippet.update(page.id, {"seen": True})
    return reed.settings
"""
MANIFEST = """
actions:
  check: {command_id: 1}
  gone: {command_id: 2}
  night: {command_id: 3}
  update: {command_id: 4}
filters: {snippet.create: check}
events: {snippet.deleted: gone}
schedules: {nightly: {cron: "0 3 * * *", action: night}}
settings: {words: 200}
"""
TESTS = """
from main import begin
from reed.plugin import Error, reed, signals
from reed.plugin.testing import call, core, fails


def test_the_core_is_played():
    core.start()
    assert core.get("index").content == {"title": "Index"}
    assert core.filter("snippet.create", {"title": "x"}, type="page") == {"title": "x"}
    with fails("no title"):
        core.filter("snippet.create", {}, type="page")
    assert call("update", {}) == {"words": 200}
    assert core.get("index").content["seen"] is True
    reed.snippet.delete("index")
    assert core.event("snippet.deleted", "index") == {"last": {"title": "Index", "seen": True}}
    assert [write["command"] for write in core.writes] == ["snippet.create", "snippet.update", "snippet.delete"]
    assert core.log == [{"level": "info", "text": "index is gone"}]


def test_other_plugins_are_played():
    core.answer("other", 3, [1, 2])
    assert core.message("friend", 1, {"word": "x"}) == [1, 2]
    assert [each["type"] for each in core.messages] == [2, 3]
    core.answer_error("other", 3, 404, "nothing there")
    with fails("404: other: nothing there"):
        core.message("friend", 1)


def test_signals_schedules_and_sleep():
    core.signal(signals.RELOAD_CONFIG, {"words": 1})
    assert reed.settings == {"words": 1}
    assert core.signals[0]["type"] == signals.BUSY
    assert core.schedule("nightly") == "nightly"
    assert core.status == 202
    core.sleep()
    assert core.log[-1]["text"] == "good night"


def test_every_test_begins_empty():
    assert (core.writes, core.log, reed.settings, core.get("index")) == ([], [], {"words": 200}, None)


def test_a_failed_command():
    core.add("page", "p", {"n": 1})
    core.fail("snippet.update", 507, "disk full")
    with fails("disk full") as failure:
        call("update")
    assert failure.error.failed[0]["status"] == 507
"""
FAILING = """
from reed.plugin import reed
from reed.plugin.testing import call, fails


def test_values_are_shown():
    found = [1, 2]
    assert found == [1, 3]


def test_other_conditions_are_shown():
    assert not "text".startswith("t")


def test_a_missing_error():
    with fails("x"):
        pass


def test_an_endless_loop():
    while True:
        pass


def test_a_file():
    open("/etc/passwd")


def test_an_exit():
    import os
    reed.log.info("before")
    os._exit(3)


def test_after_it(): ...
"""


def test_a_test_plays_the_core_and_the_other_plugins(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "played", CODE, MANIFEST, tests__test_all_py=TESTS)
    assert {title: failure for title, failure in failures(folder).items() if failure} == {}


def test_failures_say_what_was_found_and_where(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "played", CODE, MANIFEST, tests__test_bad_py=FAILING)
    ran = cases(folder)
    found = {case.title: case.failure for case in ran}
    assert found["test_values_are_shown"].startswith("tests/test_bad.py:8: AssertionError: [1, 2] == [1, 3]")
    assert "it does not hold: not 'text'.startswith('t')" in found["test_other_conditions_are_shown"]
    assert "no Error was raised" in found["test_a_missing_error"]
    line = r"tests/test_bad\.py:2[12]: time limit of 2 s reached"  # of the loop's head or body: Pythons differ
    assert re.search(line, found["test_an_endless_loop"])
    assert "PermissionError" in found["test_a_file"] or not landlock.abi(Kernel())
    (last,) = [case for case in ran if case.title == "the next test"]
    assert "exit status 3" in last.failure
    assert "test_after_it" not in found


def test_a_command_without_permission_fails(tmp_path: Path) -> None:
    text = "from reed.plugin import reed\n\ndef test_it():\n    reed.snippet.delete('x')\n"
    folder = write_plugin(tmp_path / "played", CODE, MANIFEST, tests__test_it_py=text)
    found = failures(folder, permissions=frozenset({"snippet_read"}))
    assert "may not SNIPPET_DELETE" in found["test_it"]


def test_a_plugin_without_tests(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"tests are tests/test_\*\.py"):
        cases(write_plugin(tmp_path / "bare", CODE, MANIFEST))
