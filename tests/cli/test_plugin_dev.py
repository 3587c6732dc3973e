"""`reed plugin dev`, and the report that it shares with `reed plugin test`, as a plugin's author sees them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import on_a_terminal

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "demo", version = "1.0.0" }
plugin.action("ask", function() reed.log.error("alarming, but expected") return { answer = 42 } end)
plugin.run()
"""
MANIFEST = "actions: {ask: {command_id: 1, input: json, example: 1}}\n"
TEST = 'describe("ask", function()\n  it("answers", function() assert.equal(call("ask").answer, 42) end)\nend)\n'
ROW = 'demo,lua,{},1.0.0,"snippet_read","admin",true,"under test"'


@pytest.fixture
def folder(site) -> Path:
    folder = site.add_lua_plugin("demo", MAIN, MANIFEST)
    (folder / "tests").mkdir()
    (folder / "tests/test_ask.lua").write_text(TEST)
    return folder


class Dev:
    """`reed plugin dev plugins/demo --json`: each round is one line."""

    def __init__(self, site) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reed", "plugin", "dev", "plugins/demo", "--json"],
            cwd=site.root,
            env=os.environ | {"REED_RUNTIME_DIR": str(site.runtime_dir), "REED_DATA_DIR": str(site.data_dir)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._deadline = threading.Timer(60, self.process.kill)
        self._deadline.start()

    def round(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read().decode()
        return json.loads(line)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        self._deadline.cancel()
        return code


@pytest.fixture
def dev(site, folder) -> Iterator[Dev]:
    started = Dev(site)
    yield started
    if started.process.poll() is None:
        started.end()
    started.process.stdout.close()
    started.process.stderr.close()


def results(found: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["result"] for check in found["checks"]}


def replace_by_rename(path: Path, text: str) -> None:
    """As an editor does: a new file of the same size may take the old one's place."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.rename(path)


def test_each_change_reloads_and_tests(site, folder, dev) -> None:
    """A private core, since the site's does not run; errors are shown, and the command goes on."""
    first = dev.round()
    assert results(first) == {"manifest": "ok", "reload": "ok", "tests/test_ask.lua": "ok"}
    assert first["changed"] == []
    assert "private core" in first["checks"][1]["detail"]

    replace_by_rename(folder / "main.lua", MAIN.replace("42", "43"))
    second = dev.round()
    assert second["changed"] == ["main.lua"]
    assert results(second) == {"manifest": "ok", "reload": "ok", "tests/test_ask.lua": "failed"}
    (case,) = second["checks"][2]["cases"]
    assert case["failure"] == "tests/test_ask.lua:2: expected 42, found 43"
    assert case["log"] == ["error: alarming, but expected"]

    (folder / "main.lua").write_text("local x = = 1")
    third = dev.round()
    assert results(third)["reload"] == "failed"
    assert "main.lua:1:" in third["checks"][1]["detail"]

    (folder / "plugin.yaml").write_text("name: demo\nversion: 1.0.0\nactoins: {}\n")
    fourth = dev.round()
    assert results(fourth) == {"manifest": "failed"}
    assert "did you mean 'actions'?" in fourth["checks"][0]["detail"]

    (folder / "plugin.yaml").write_text(f"name: demo\nversion: 1.0.1\n{MANIFEST}")
    (folder / "main.lua").write_text(MAIN.replace("1.0.0", "1.0.1"))
    while not (last := dev.round())["passed"]:  # a round may begin between the two files
        pass
    assert last["version"] == "1.0.1"
    assert dev.end() == 0


def test_a_running_core_gets_the_new_code(site, folder) -> None:
    site.set_rows(ROW)
    site.start()
    core = site.client()
    core.plugin_start("demo")
    dev = Dev(site)
    try:
        assert "READY in the core" in dev.round()["checks"][1]["detail"]
        (folder / "main.lua").write_text(MAIN.replace("42", "44"))
        dev.round()
        assert json.loads(core.plugin_send("demo", "ask", 1).body) == {"answer": 44}
    finally:
        assert dev.end() == 0
    assert json.loads(core.plugin_send("demo", "ask", 1).body) == {"answer": 44}


@pytest.mark.parametrize("command", [("test", "demo"), ("dev", "plugins/demo", "--once")])
def test_a_row_that_names_the_sites_own_socket_serves_a_private_core(site, folder, command) -> None:
    """Its path is not below /tmp/reed-cms, and a core with another runtime folder would refuse it."""
    site.set_rows(ROW.format(site.runtime_dir / "plugins/demo.sock"))
    ran = site.reed("plugin", *command, "--json")
    found = json.loads(ran.stdout)
    assert found["passed"], found
    assert {"manifest": "ok", "tests/test_ask.lua": "ok"}.items() <= results(found).items()


@pytest.mark.parametrize("command", [("test", "demo"), ("dev", "plugins/demo", "--once")])
def test_a_row_that_names_the_socket_of_another_site_is_an_error_with_its_line(site, folder, command) -> None:
    site.set_rows(ROW.format("/run/other/plugins/demo.sock"))
    ran = site.reed("plugin", *command)
    assert ran.returncode == 1
    assert re.search(r"plugin-registry\.csv:\d+:\d+: expected a socket_path such as", ran.stdout + ran.stderr)
    assert "Traceback" not in ran.stderr


def test_a_failed_build_keeps_the_running_plugin_and_goes_on(site, folder, monkeypatch) -> None:
    (folder / "main.lua").rename(folder / "demo")  # native by now
    (folder / "demo").write_text("#!/bin/sh\nexit 1\n")
    (folder / "Cargo.toml").write_text("")
    (folder / "src").mkdir()
    cargo = site.root / "bin/cargo"
    cargo.parent.mkdir()
    cargo.write_text("#!/bin/sh\necho 'error: expected `;`' >&2\nexit 101\n")
    cargo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{cargo.parent}:{os.environ['PATH']}")
    done = site.reed("plugin", "dev", "plugins/demo", "--once", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert results(found) == {"manifest": "ok", "build": "failed"}
    assert "expected `;`" in found["checks"][1]["detail"]


@pytest.mark.parametrize("given", ["demo", "plugins/demo", "./plugins/demo/"])
def test_a_plugin_is_named_by_its_name_or_its_folder(site, folder, given) -> None:
    for words in (["dev", "--once"], ["test"]):
        done = site.reed("plugin", *words, given)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "registration" in done.stdout or "reload" in done.stdout


def test_a_folder_that_is_missing(site) -> None:
    done = site.reed("plugin", "dev", "plugins/nothing")
    assert done.returncode == 1
    assert "no such folder" in done.stderr


def plugin_test(site) -> tuple[int, str]:
    env = {"REED_RUNTIME_DIR": str(site.runtime_dir), "REED_DATA_DIR": str(site.data_dir)}
    return on_a_terminal(200, "plugin", "test", "demo", env=env, cwd=site.root)


def test_only_failures_look_like_failures(site, folder) -> None:
    code, printed = plugin_test(site)
    assert code == 0, printed
    assert "  ask: answers" in printed
    assert "alarming" not in printed
    assert "\x1b[1;31m" not in printed  # red
    assert "error" not in printed.lower()
    assert "; 1 test, all passed; " in printed

    (folder / "tests/test_ask.lua").write_text(TEST.replace("42", "41"))
    code, printed = plugin_test(site)
    assert code == 1
    lines = [line.strip() for line in printed.splitlines()]
    at = next(number for number, line in enumerate(lines) if line.endswith("ask: answers"))
    assert "\x1b[1;31mfailed" in lines[at]
    expected = ["tests/test_ask.lua:2: expected 41, found 42", "log:", "error: alarming, but expected"]
    assert lines[at + 1 : at + 4] == expected


def test_a_pipe_gets_a_row_for_each_test(site, folder) -> None:
    rows = [line.split("\t") for line in site.reed("plugin", "test", "demo").stdout.splitlines()]
    assert ["ok", "tests/test_ask.lua: ask: answers", ""] in rows
    assert ["ok", "tests/test_ask.lua", "1 passed"] in rows


CARGO_TEST = """\
running 3 tests
test greet::says_hello ... ok
test greet::says_goodbye ... FAILED
test slow ... ignored, takes an hour

failures:

---- greet::says_goodbye stdout ----
asked for a word

thread 'greet::says_goodbye' panicked at src/main.rs:40:9:
assertion `left == right` failed
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    greet::says_goodbye

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
"""


def test_a_rust_plugin_has_a_line_for_each_test(site, monkeypatch) -> None:
    folder = site.root / "plugins/demo"
    (folder / "src").mkdir(parents=True)
    (folder / "plugin.yaml").write_text("name: demo\nversion: 1.0.0\n")
    (folder / "Cargo.toml").write_text("")
    (folder / "output").write_text(CARGO_TEST)
    cargo = site.root / "bin/cargo"
    cargo.parent.mkdir()
    cargo.write_text('#!/bin/sh\n[ "$1" = build ] || { cat output; exit 101; }\n')
    cargo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{cargo.parent}:{os.environ['PATH']}")
    done = site.reed("plugin", "dev", "plugins/demo", "--once", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert results(found) == {"manifest": "ok", "build": "ok", "reload": "failed", "cargo test": "failed"}
    hello, goodbye, slow = found["checks"][3]["cases"]
    assert (hello["title"], hello["result"], slow["result"]) == ("greet::says_hello", "ok", "skipped")
    assert goodbye["failure"].splitlines() == [
        "asked for a word",
        "",
        "thread 'greet::says_goodbye' panicked at src/main.rs:40:9:",
        "assertion `left == right` failed",
    ]
