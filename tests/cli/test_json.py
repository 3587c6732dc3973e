"""--json: one JSON document on standard output from every command, whether it succeeds or fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reed.cli import COMMANDS, subcommands
from reed.cli.snippet import _update_versioned
from reed.client import Client
from reed.store.sqlite.side import SqliteSide

from .conftest import ENVIRON

SEO = Path(__file__).parents[2] / "contrib/plugins/simple-seo"
STREAMS = {
    "export",
    "monitor",
    "top",
    "serve",
    "web",
    "logs",
    "plugin dev",
    "plugin logs",
    "watch",
}  # print one document per line, or do not end
SITE = ["--registry", "{site}/plugin-registry.csv", "--plugin-dir", "{site}/plugins"]

# Successful commands, in this order on one core.
SUCCESSES = [
    ["registry", "define", "page", '{"description": "a page"}'],
    ["registry", "get", "page"],
    ["registry", "list"],
    ["registry", "define", "draft", "{}"],
    ["registry", "delete", "draft"],
    ["snippet", "create", "page", "--name", "home", '{"title": "Home"}'],
    ["snippet", "create", "page", "--name", "about", '{"title": "About", "body": "Us", "description": "x"}'],
    ["snippet", "get", "home"],
    ["snippet", "list"],
    ["snippet", "edit", "home"],
    ["snippet", "update", "home", '{"title": "Start"}'],
    ["schema", "bond", "home", "about"],
    ["schema", "tree"],
    ["schema", "unbond", "home", "about"],
    ["snippet", "rename", "home", "start"],
    ["search", "start"],
    ["index"],
    ["plugin", "reload"],
    ["plugin", "reload", "simple-seo"],
    ["plugin", "start", "simple-seo"],
    ["plugin", "list"],
    ["plugin", "status"],
    ["plugin", "health", "simple-seo"],
    ["plugin", "explain", "simple-seo"],
    ["plugin", "send", "simple-seo", "validate", "about"],
    ["plugin", "signal", "simple-seo", "health"],
    ["plugin", "restart", "simple-seo"],
    ["plugin", "stop", "simple-seo"],
    ["plugin", "list", "--available"],
    ["plugin", "add", "backup", "--yes", *SITE],
    ["plugin", "start", "backup"],
    ["plugin", "run-schedule", "backup", "nightly"],
    ["plugin", "upgrade", "backup", *SITE],
    ["plugin", "remove", "backup", "--yes", *SITE],
    ["plugin", "pack", str(SEO)],
    ["plugin", "scaffold", "new-lua-plugin"],
    ["plugin", "test", "new-lua-plugin", "--plugin-dir", "plugins"],
    ["snippet", "delete", "about"],
    ["status"],
    ["metrics"],
    ["config", "show"],
    ["doctor"],
    ["init", "another"],
    ["import", "plain.jsonl", "--type", "page"],
    ["store", "migrate", "sqlite:other"],
    ["store", "status", "sqlite:other"],
    ["store", "copy", "sqlite:other", "sqlite:third"],
    ["store", "check", "sqlite:other", "sqlite:third"],
    ["backup", "create", "site.tar"],
    ["backup", "restore", "site.tar", "--data-dir", "restored"],
    ["completion", "bash"],
    ["restart"],
    ["-v"],
]  # fmt: skip


def test_json_of_successful_commands(on_site, site_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("VISUAL", "true")
    shutil.copytree(SEO, site_folder / "plugins/simple-seo")
    (tmp_path / "plain.jsonl").write_text('{"title": "Plain"}\n')
    SqliteSide(tmp_path / "other", create=True).close()
    for words in SUCCESSES:
        ran = on_site(*(word.replace("{site}", str(site_folder)) for word in words), "--json")
        warnings = [line for line in ran.err.splitlines() if "need the library cronsim" not in line]
        assert (ran.code, warnings) == (0, []), words
        json.loads(ran.out)


def test_every_command_is_tested_with_json():
    """Streams are tested with an error, start and stop below."""
    tried = {" ".join(words[: 1 if words[0] in STREAMS | {"index", "search", "status"} else 2]) for words in SUCCESSES}
    known = {name for noun in COMMANDS for name in subcommands(noun)}
    for name in known - STREAMS - {"start", "stop"}:
        assert any(each == name or each.startswith(f"{name} ") for each in tried), f"{name}: not tried with --json"


@pytest.mark.parametrize(
    ("words", "code", "status", "error_code"),
    [
        (["snippet", "get", "nothing"], 1, 404, 30001),
        (["snippet", "create", "nothing", "{}"], 1, 422, 30003),
        (["snippet", "create", "page", "{"], 1, 400, 20001),
        (["schema", "tree", "nothing"], 1, 404, 30001),
        (["plugin", "send", "nobody", "x"], 1, 404, 10001),
        (["plugin", "signal", "nobody", "wake"], 1, 404, 10001),
        (["plugin", "explain", "nobody"], 1, 404, 10001),
        (["plugin", "logs", "nobody"], 1, 404, 10001),
        (["monitor", "nobody"], 1, 404, 10001),
        (["export", "--type", "nothing", "-"], 1, 404, 30001),
        (["import", "missing.jsonl"], 1, None, None),
        (["snippet", "create"], 2, None, None),
        (["snippet", "--json"], 2, None, None),
        (["snippet", "lst"], 2, None, None),
        (["nothing"], 2, None, None),
        (["top"], 2, None, None),
        (["stop", "--runtime-dir", "nowhere"], 3, None, None),
        (["status", "--runtime-dir", "nowhere"], 3, None, None),
    ],
)
def test_json_of_errors(on_site, words, code, status, error_code):
    ran = on_site(*words, "--json")
    error = json.loads(ran.out)["error"]
    assert (ran.code, error["status"], error["code"]) == (code, status, error_code)
    assert error["message"]
    assert set(error) == {"status", "code", "message", "hint"}
    assert ran.err == "", "one place is enough"


def test_message_and_hint_are_separate_fields(on_site):
    error = json.loads(on_site("snippet", "get", "nothing", "--json").out)["error"]
    assert "nothing" in error["message"]
    assert "reed snippet list" in error["hint"]
    error = json.loads(on_site("snippet", "lst", "--json").out)["error"]
    assert "'list'" in error["hint"]


def test_plugin_start_reports_each_plugin(on_site):
    ran = on_site("plugin", "start", "form-validator", "nobody", "--json")
    good, bad = json.loads(ran.out)
    assert (ran.code, ran.err) == (1, "")
    assert good == {"name": "form-validator", "result": "ready"}
    assert (bad["name"], bad["result"], bad["error"]["code"]) == ("nobody", "failed", 10001)


def test_json_of_start_and_stop(reed, tmp_path, monkeypatch):
    reed("init")
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    started = json.loads(reed("start", "--json").out)
    again = reed("start", "--json")
    stopped = json.loads(reed("stop", "--json").out)
    assert stopped["pid"] == started["pid"]
    assert again.code == 1
    assert str(started["pid"]) in json.loads(again.out)["error"]["message"]


def test_an_update_prints_the_new_version(on_site, second_core, monkeypatch):
    monkeypatch.setenv("REED_RUNTIME_DIR", str(second_core))
    on_site("registry", "define", "page", "{}")
    made = json.loads(on_site("snippet", "create", "page", "--name", "home", "{}", "--json").out)["id"]
    for version, more in ((2, []), (3, ["--if-version", "2"]), (4, ["--if-version", "0"])):
        ran = on_site("snippet", "update", "home", '{"n": 1}', "--json", *more)
        assert json.loads(ran.out) == {"id": made, "version": version}
        assert json.loads(on_site("snippet", "get", "home", "--json").out)["version"] == version
    refused = on_site("snippet", "update", "home", "{}", "--json", "--if-version", "3")
    assert (refused.code, json.loads(refused.out)["error"]["status"]) == (1, 409)
    assert on_site("snippet", "update", "home", "{}").out == f"{made}\n", "id=$(reed snippet update …)"


class Overtaken(Client):
    """A client whose first updates come right after another one's."""

    def __init__(self, path, others):
        super().__init__(path)
        self.others = others

    def snippet_update(self, ref, patch, if_version=0):
        if self.others:
            self.others -= 1
            super().snippet_update(ref, {"other": self.others})
        return super().snippet_update(ref, patch, if_version)


def test_an_update_after_a_conflict_returns_its_own_version(site_folder):
    path = site_folder / "run/core.sock"
    with Overtaken(path, 0) as core:
        core.registry_define("contested", {})
        for others, version in ((0, 2), (2, 4), (50, 0)):
            core.others = 0
            made = core.snippet_create("contested", "", {})
            core.others = others
            assert _update_versioned(core, made, b'{"mine": 1}', 0) == (made, version), "0: not known any more"
            assert json.loads(core.snippet_get(made).content)["mine"] == 1


def test_a_full_standard_output_is_reported_on_stderr(site_folder):
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "reed", "--runtime-dir", str(site_folder / "run"), "status", "--json"],
            stdout=full, stderr=subprocess.PIPE, env=ENVIRON, check=False, timeout=20,
        )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (1, b"reed: standard output: No space left on device\n")
