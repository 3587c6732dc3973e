"""`reed plugin test` with working and broken plugins."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.cli.author.answers import difference
from reed.system_calls import pidfd_open
from tests import bare_plugin

GOOD = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "demo", version = "1.0.0" }
plugin.action("ask", function(payload) return { answer = 42, list = json.array() } end)
plugin.run()
"""
MANIFEST = """
actions:
  ask: {command_id: 1, input: json, timeout: 0.5s, example: {x: 1}, output: {answer: 1, list: [{name: ""}]}}
"""
ROW = 'demo,lua,{},1.0.0,"snippet_read","admin",true,"under test"'


def report(site, *flags: str, name: str = "demo") -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    done = site.reed("plugin", "test", name, "--json", *flags)
    assert not done.stderr, done.stderr
    result = json.loads(done.stdout)
    assert done.returncode == (0 if result["passed"] else 1)
    return result, {check["name"]: check for check in result["checks"]}


def failed(checks: dict[str, dict[str, str]]) -> list[str]:
    return [name for name, check in checks.items() if check["result"] == "failed"]


def test_a_good_plugin_passes_every_check(site) -> None:
    site.set_rows(ROW)
    folder = site.add_lua_plugin("demo", GOOD, MANIFEST)
    (folder / "tests").mkdir()
    (folder / "tests/test_ask.lua").write_text(
        'it("answers", function() assert.equal(call("ask", json.object()).answer, 42) end)'
    )
    result, checks = report(site)
    assert result["passed"], result
    assert failed(checks) == []
    expected = [
        "manifest",
        "row",
        "version",
        "code",
        "registration",
        "health",
        "action ask",
        "signal wake",
        "signal reload",
    ]
    assert list(checks) == [*expected, "messages", "memory", "shutdown", "start time", "tests/test_ask.lua"]
    assert {check["result"] for check in checks.values()} == {"ok"}
    assert result["version"] == "1.0.0"
    assert not site.runtime_dir.exists()
    assert not site.data_dir.exists()


def test_it_runs_while_the_sites_core_runs(core) -> None:
    core.set_rows(ROW)
    core.add_lua_plugin("demo", GOOD, MANIFEST)
    assert core.reed("plugin", "reload").returncode == 0
    assert core.reed("plugin", "start", "demo").returncode == 0
    before = core.reed("plugin", "health", "demo", "--json").stdout
    assert report(core)[0]["passed"]
    after = core.reed("plugin", "health", "demo", "--json").stdout
    assert json.loads(after)[0]["pid"] == json.loads(before)[0]["pid"]


def test_a_plugin_without_a_row_gets_read_permissions(site) -> None:
    site.add_lua_plugin("demo", GOOD, MANIFEST)
    result, checks = report(site)
    assert result["passed"]
    assert checks["row"]["result"] == "skipped"
    assert "snippet_read" in checks["row"]["detail"]


def test_it_uses_the_rows_permissions_and_the_sites_settings(site) -> None:
    main = GOOD.replace("return { answer = 42", "reed.snippet.list() return { answer = reed.settings.n")
    site.set_rows(ROW.replace("snippet_read", "search_read"))
    site.config.write_text("plugins: {demo: {settings: {n: 7}}}")
    site.add_lua_plugin("demo", main, MANIFEST + "settings: {n: x}\n")
    assert "snippet_read" in report(site)[1]["action ask"]["detail"]
    site.set_rows(ROW)
    assert report(site)[0]["passed"]  # n is the number 7 of reed.yaml, not the text x


def test_a_manifest_version_that_differs_from_the_row(site) -> None:
    site.set_rows(ROW.replace("1.0.0", "2.0.0"))
    site.add_lua_plugin("demo", GOOD, MANIFEST)
    _, checks = report(site)
    assert failed(checks) == ["row"]
    assert "1.0.0" in checks["row"]["detail"]
    assert "2.0.0" in checks["row"]["detail"]
    assert "registration" not in checks


def test_a_code_version_that_differs_from_the_manifest(site) -> None:
    site.set_rows(ROW)
    site.add_lua_plugin("demo", GOOD.replace("1.0.0", "3.0.0"), MANIFEST)
    _, checks = report(site)
    assert failed(checks) == ["version"]
    assert "main.lua:3: the version is 3.0.0, but plugin.yaml has 1.0.0" in checks["version"]["detail"]
    assert "registration" not in checks


def test_a_version_that_code_computes_is_compared_at_the_registration(site) -> None:
    site.set_rows(ROW)
    site.add_lua_plugin("demo", GOOD.replace('"1.0.0"', '"3.0" .. ".0"'), MANIFEST)
    _, checks = report(site)
    assert failed(checks) == ["registration"]
    assert "3.0.0" in checks["registration"]["detail"]


def test_without_a_row_it_gets_what_it_asks_for(site) -> None:
    site.add_lua_plugin("demo", GOOD, MANIFEST + "permissions: [search_read]\n")
    _, checks = report(site)
    assert checks["row"]["detail"].endswith("it runs with search_read")


def test_an_error_at_the_start_is_shown_without_traceback(site) -> None:
    site.set_rows(ROW)
    site.add_lua_plugin(
        "demo", "local function f() error('no database') end\nlocal function g() f() end\ng()", MANIFEST
    )
    _, checks = report(site)
    assert failed(checks) == ["registration"]
    assert "main.lua:1: no database" in checks["registration"]["detail"]
    assert "in main chunk" not in checks["registration"]["detail"]


def test_an_action_that_never_responds(site) -> None:
    site.set_rows(ROW)
    main = GOOD.replace("return { answer", "while true do end return { answer")
    site.add_lua_plugin("demo", main, MANIFEST + "  fine: {command_id: 2, example: 1}\n")
    with_fine = main.replace("plugin.run()", 'plugin.action("fine", function() return {} end)\nplugin.run()')
    (site.root / "plugins/demo/main.lua").write_text(with_fine)
    _, checks = report(site)
    assert failed(checks) == ["action ask"]
    assert "504" in checks["action ask"]["detail"] or "time limit" in checks["action ask"]["detail"]
    assert checks["action fine"]["result"] == "ok"  # the plugin was started again


def test_a_crash_at_the_start(site) -> None:
    site.set_rows(ROW)
    folder = site.add_lua_plugin("demo", GOOD + "\n", MANIFEST)
    (folder / "main.lua").write_text('error("no such table")')
    _, checks = report(site)
    assert failed(checks) == ["registration"]
    assert "main.lua:1" in checks["registration"]["detail"]
    assert "no such table" in checks["registration"]["detail"]
    assert "health" not in checks
    assert checks["tests"]["result"] == "skipped"  # its own tests run even then


def test_an_invalid_manifest(site) -> None:
    site.set_rows(ROW)
    site.add_lua_plugin("demo", GOOD, "actoins: {}\n")
    _, checks = report(site)
    assert failed(checks) == list(checks) == ["manifest"]
    assert "plugin.yaml:3:1" in checks["manifest"]["detail"]
    assert "actions" in checks["manifest"]["detail"]


def test_no_such_plugin(site) -> None:
    site.add_lua_plugin("demo", GOOD, MANIFEST)
    _, checks = report(site, name="dmeo")
    assert "did you mean 'demo'?" in checks["manifest"]["detail"]


def test_responses_that_differ_from_the_declared_output(site) -> None:
    more = """plugin.action("more", function() reed.fail(418, "no tea") end)
plugin.action("silent", function() return {} end)
plugin.run()"""
    manifest = MANIFEST + "  more: {command_id: 2, example: 1}\n  silent: {command_id: 4}\n"
    site.set_rows(ROW)
    site.add_lua_plugin("demo", GOOD.replace("answer = 42", 'answer = "42"').replace("plugin.run()", more), manifest)
    _, checks = report(site)
    assert failed(checks) == ["action ask", "action more"]
    assert checks["action ask"]["detail"].startswith("answer: ")
    assert "418" in checks["action more"]["detail"]
    assert "no tea" in checks["action more"]["detail"]
    assert checks["action silent"]["result"] == "skipped"  # no example


def test_snippets_come_from_the_plugins_fixtures_or_are_created(site) -> None:
    main = GOOD.replace(
        "return { answer = 42", "local page = json.decode(payload) return { answer = #page.content.title"
    )
    manifest = """
actions:
  ask: {command_id: 1, input: snippet, example: own, output: {answer: 1}}
  made: {command_id: 2, input: snippet, example: about, output: {name: about}}
  given: {command_id: 3, input: snippet, example: {title: "a title"}, output: {title: ""}}
"""
    more = """
plugin.action("made", function(payload) return { name = json.decode(payload).name } end)
plugin.action("given", function(payload) return { title = json.decode(payload).content.title } end)
plugin.run()"""
    site.set_rows(ROW)
    folder = site.add_lua_plugin("demo", main.replace("plugin.run()", more), manifest)
    (folder / "tests").mkdir()
    (folder / "tests/content.jsonl").write_text(
        '{"kind":"type","name":"page","definition":{"schema":{"type":"object","required":["title"]}}}\n'
        '{"kind":"snippet","type":"page","name":"own","content":{"title":"mine"}}\n'
    )
    result, checks = report(site)
    assert result["passed"], result
    (folder / "tests/content.jsonl").write_text('{"kind":"snippet","type":"none","name":"own","content":{}}\n')
    _, checks = report(site)
    assert "content.jsonl:1" in checks["content"]["detail"]


def test_failing_tests_of_the_plugin(site) -> None:
    site.set_rows(ROW)
    folder = site.add_lua_plugin("demo", GOOD, MANIFEST)
    (folder / "tests").mkdir()
    (folder / "tests/test_ask.lua").write_text(
        'it("is right", function() end)\nit("is wrong", function() assert.equal(1, 2) end)'
    )
    _, checks = report(site)
    assert failed(checks) == ["tests/test_ask.lua"]
    detail = checks["tests/test_ask.lua"]["detail"].splitlines()
    assert detail[0] == "1 passed"
    assert detail[1].startswith("is wrong: ")
    assert "expected 2, found 1" in detail[1]


@pytest.mark.parametrize(("ended_by", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupt_leaves_no_process_behind(site, ended_by: int, code: int) -> None:
    site.set_rows(ROW)
    site.config.write_text("timing: {stop_grace: 0.3s, term_grace: 0.3s}")
    main = GOOD.replace("return { answer", "while true do end return { answer")
    site.add_lua_plugin("demo", main, MANIFEST.replace("0.5s", "60s") + "limits: {cpu: 60s}\n")
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:  # a socket path has at most 107 bytes
        command = [sys.executable, "-m", "reed", "plugin", "test", "demo"]
        with subprocess.Popen(
            command,
            cwd=site.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": temporary},
        ) as process:
            assert process.stdout is not None
            while not process.stdout.readline().startswith(b"ok\thealth\t"):
                assert process.poll() is None
            (folder,) = Path(temporary).iterdir()
            core = pidfd_open(int((folder / "run/pid/core.pid").read_text().split()[0]))
            plugin = pidfd_open(int((folder / "run/pid/plugins/demo.pid").read_text().split()[0]))
            process.send_signal(ended_by)
            assert process.wait(20) == code
        for pidfd in (core, plugin):
            assert select.select([pidfd], [], [], 20)[0], "still running"
            os.close(pidfd)
        if ended_by == signal.SIGINT:
            assert not folder.exists()


NATIVE = """
register(other=1)
while True:
    command, flags, payload = receive()
    if flags & 2 and payload[0] in (0x13, 0x15):
        ready()
"""


def test_a_plugin_that_ignores_signals_and_misses_an_action(site) -> None:
    """It ignores RELOAD_CONFIG and SHUTDOWN_GRACEFUL, and does not register an action of plugin.yaml."""
    site.set_rows(ROW.replace("lua", "native"))
    site.config.write_text("timing: {stop_grace: 0.5s}")
    folder = site.root / "plugins/demo"
    folder.mkdir()
    (folder / "plugin.yaml").write_text("name: demo\nversion: 1.0.0\nactions: {lost: {command_id: 2, example: 1}}\n")
    bare_plugin.write(folder / "demo", NATIVE, "/usr/bin/python3")  # which the sandbox allows
    _, checks = report(site)
    assert failed(checks) == ["action lost", "signal reload", "shutdown"]
    assert checks["health"]["result"] == checks["signal wake"]["result"] == "ok"
    assert "SIGTERM" in checks["shutdown"]["detail"]
    assert checks["tests"]["result"] == "skipped"


def test_a_failed_build_shows_its_first_error(site, monkeypatch) -> None:
    site.set_rows(ROW.replace("lua", "native"))
    folder = site.root / "plugins/demo"
    (folder / "src").mkdir(parents=True)
    (folder / "plugin.yaml").write_text("name: demo\nversion: 1.0.0\n")
    (folder / "Cargo.toml").write_text("")
    cargo = site.root / "bin/cargo"
    cargo.parent.mkdir()
    cargo.write_text(
        "#!/bin/sh\nseq -f 'warning: unused %g' 50 >&2\necho 'error[E0425]: cannot find value `x`' >&2\n"
        "seq -f '  | %g' 50 >&2\necho 'error: could not compile `demo`' >&2\nexit 101\n"
    )
    cargo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{cargo.parent}:{os.environ['PATH']}")
    _, checks = report(site)
    assert checks["build"]["detail"].splitlines()[0] == "error[E0425]: cannot find value `x`"


def test_a_native_plugin_without_an_executable(site) -> None:
    site.set_rows(ROW.replace("lua", "native"))
    folder = site.root / "plugins/demo"
    folder.mkdir()
    (folder / "plugin.yaml").write_text("name: demo\nversion: 1.0.0\n")
    _, checks = report(site)
    assert failed(checks) == ["code"]
    assert "cargo build --release" in checks["code"]["detail"]


# Responses and the declared output.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=1) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(JSON)
def test_a_response_matches_itself_as_its_declaration(value: Any) -> None:
    assert difference(value, value) == ""
    assert difference(None, value) == ""


@given(JSON, JSON)
def test_values_of_different_kinds_differ(declared: Any, answered: Any) -> None:
    text = difference(declared, answered)
    if isinstance(declared, str) != isinstance(answered, str) and declared is not None:
        assert text


@pytest.mark.parametrize(
    ("declared", "answered", "path"),
    [
        ({"a": 1}, {"a": 2.5, "b": 0}, ""),
        ({"a": None}, {"a": []}, ""),
        ([], [1, "x"], ""),
        ([{"k": ""}], [], ""),
        (True, 1, "the answer"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b"),
        ([{"k": ""}], [{"k": "x"}, {"k": None}], "[1].k"),
        ({"l": [1]}, {"l": [1, "2"]}, "l[1]"),
    ],
)
def test_the_first_difference_is_named_by_its_path(declared: Any, answered: Any, path: str) -> None:
    assert difference(declared, answered).partition(":")[0] == path
