"""`reed doctor`: what it finds, and that it changes nothing."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from reed.client import Client
from reed.store.sqlite.database import MIGRATIONS
from tests.waiting import until

from .conftest import CONTRIB_PLUGINS, ENVIRON, on_a_terminal

SECTIONS = {
    "settings",
    "core",
    "kernel",
    "container",
    "limits",
    "sandbox",
    "versions",
    "folders",
    "store",
    "registry",
}


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """All files below a folder, with what a change of any would change."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


@pytest.fixture
def doctor(reed, tmp_path):
    """`doctor(*words)` is {(section, level): [what]}, of a site in this folder."""
    reed("init")

    def run(*words: str) -> dict[tuple[str, str], str]:
        before = tree(tmp_path)
        ran = reed("doctor", "--json", "--plugin-dir", str(CONTRIB_PLUGINS), *words)
        assert tree(tmp_path) == before, "it changes nothing"
        found = json.loads(ran.out)
        assert ran.err == ""
        assert ran.code == (1 if found["errors"] else 0)
        assert found["errors"] == sum(each["level"] == "error" for each in found["checks"])
        assert {each["section"] for each in found["checks"]} == SECTIONS
        assert all(each["meaning"] and each["fix"] for each in found["checks"] if each["level"] != "ok")
        lines: dict[tuple[str, str], str] = {}
        for each in found["checks"]:
            key = each["section"], each["level"]
            lines[key] = f"{lines.get(key, '')}{each['what']} | {each['meaning']} | {each['fix']}\n"
        return lines

    return run


def test_a_new_site_has_no_errors(doctor):
    found = doctor()
    assert not [key for key in found if key[1] == "error"], found
    assert "no core runs" in found["core", "ok"]
    assert "the core creates it" in found["folders", "ok"]
    assert "has no content yet" in found["store", "ok"]
    assert "2 rows" in found["registry", "ok"]
    assert "reed.yaml" in found["settings", "ok"]


def test_a_running_core(reed, doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    with (tmp_path / "plugin-registry.csv").open("a") as file:
        file.write('gone,lua,/tmp/reed-cms/plugins/gone.sock,2.0.0,"","admin",false,x\n')
    reed("start", "--data-dir", "elsewhere", "--plugin-dir", str(CONTRIB_PLUGINS))
    try:
        ran = json.loads(reed("doctor", "--json", "--plugin-dir", str(CONTRIB_PLUGINS)).out)
        found = {each["what"]: each for each in ran["checks"]}
        assert any("the core runs (pid" in what for what in found)
        other = next(what for what in found if "the core's data folder is" in what)
        assert found[other]["level"] == "warning"
        assert any(f"{tmp_path / 'elsewhere/content.db'} is sound: 0 snippets" in what for what in found)
        assert any(", as the core" in what for what in found)
        assert [found[what]["section"] for what in found if "no folder of this plugin" in what] == ["core"], "once"
        assert reed("plugin", "list").code == 0
    finally:
        reed("stop")
    assert "no core runs" in doctor()["core", "ok"]


@pytest.fixture
def stored(reed, doctor, tmp_path, monkeypatch):
    """`doctor` on a site that has content, and whose core was killed."""
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    pid = int(reed("start").out.split("\t")[0])
    with Client(tmp_path / "run/core.sock") as client:
        client.registry_define("page", b"{}")
        for _ in range(50):
            client.snippet_create("page", "", {"text": "x" * 3000})
    os.kill(pid, 9)
    database = tmp_path / "data/content.db"
    until(lambda: not has_open(database))  # its workers end a moment later
    return doctor


def has_open(path: Path) -> bool:
    """Does a process have it open?"""
    return any(_target(each) == str(path) for each in Path("/proc").glob("[0-9]*/fd/*"))


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile, or another user's
        return ""


def test_the_store_of_a_killed_core(stored, monkeypatch):
    assert "is sound: 50 snippets" in stored()["store", "ok"]
    monkeypatch.setattr("reed.store.sqlite.inspect.MAX_COPIED", 10_000)
    found = stored()
    assert "was left by a core that was killed" in found["store", "warning"]
    assert ("store", "error") not in found


def checkpointed(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    return connection


def test_a_damaged_store(stored, tmp_path):
    path = tmp_path / "data/content.db"
    checkpointed(path).close()
    with path.open("r+b") as file:
        for page in range(10, 40):
            file.seek(page * 4096)
            file.write(b"\xff" * 200)
    found = stored()["store", "error"]
    assert "is damaged" in found
    assert "restore a backup" in found


@pytest.mark.parametrize(
    ("pragma", "says"),
    [
        ("application_id = 5", "is a database of another program"),
        (f"user_version = {len(MIGRATIONS) + 1}", "it was written by a newer reed | upgrade reed-cms"),
    ],
)
def test_a_store_of_another_program_or_a_newer_reed(stored, tmp_path, pragma, says):
    connection = checkpointed(tmp_path / "data/content.db")
    connection.execute(f"PRAGMA {pragma}")
    connection.commit()
    connection.close()
    assert says in stored()["store", "error"]


def test_a_file_that_is_no_database(doctor, tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data/content.db").write_text("no database at all" * 100)
    assert "data/content.db: file is not a database" in doctor()["store", "error"]


def test_folders_that_others_may_change(doctor, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none").chmod(0o770)
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    (tmp_path / "plugin-registry.csv").chmod(0o666)
    found = doctor()
    assert f"chmod go-w {tmp_path / 'none'}" in found["folders", "error"]
    assert "plugin-registry.csv is writable by everybody" in found["folders", "error"]
    assert f"chmod 700 {tmp_path / 'data'}" in found["folders", "warning"]


def test_invalid_settings_do_not_hide_the_rest(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("REED_LIMIT_PAYLOAD", "1MB")
    assert "unknown variable REED_LIMIT_PAYLOAD" in doctor()["settings", "warning"]
    (tmp_path / "reed.yaml").write_text("sandbox: of\n")
    found = doctor()
    assert "reed.yaml:1:10: sandbox: expected auto or strict or off" in found["settings", "error"]
    assert "2 rows" in found["registry", "ok"]


SCHEDULED = """
name: old
version: 2.0.0
actions: {clean: {command_id: 1}}
schedules: {nightly: {cron: "0 3 * * *", action: clean}, often: {every: 1h, action: clean}}
"""
FAILING = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "old" }
plugin.action("clean", function() error("no broom") end)
plugin.run()
"""


@pytest.fixture
def scheduled(tmp_path) -> None:
    (tmp_path / "plugins/old").mkdir()
    (tmp_path / "plugins/old/plugin.yaml").write_text(SCHEDULED)
    (tmp_path / "plugins/old/main.lua").write_text(FAILING)
    with (tmp_path / "plugin-registry.csv").open("a") as file:
        file.write('old,lua,/tmp/reed-cms/plugins/old.sock,2.0.0,"","admin",true,x\n')


def test_a_schedule_that_cannot_run_is_named_with_what_it_lacks(doctor, scheduled, monkeypatch):
    monkeypatch.setitem(sys.modules, "cronsim", None)
    found = doctor("--plugin-dir", "plugins")
    assert "old: the schedule nightly does not run: cron lines need the library cronsim" in found["registry", "warning"]
    assert "often" not in found["registry", "warning"]


def test_a_schedule_that_failed_is_named_with_its_error(reed, doctor, scheduled, tmp_path, monkeypatch):
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    reed("start", "--plugin-dir", "plugins")
    try:
        assert "schedule often" not in reed("doctor").out
        assert "no broom" in reed("plugin", "run-schedule", "old", "often").err
        ran = json.loads(reed("doctor", "--json").out)
        (found,) = [each for each in ran["checks"] if "schedule often of old failed" in each["what"]]
        assert "no broom" in found["what"]
        assert (found["level"], found["fix"]) == ("warning", "reed plugin run-schedule old often")
    finally:
        reed("stop")


def test_the_registry_beside_the_folders(doctor, tmp_path):
    (tmp_path / "plugins/lonely").mkdir()
    (tmp_path / "plugins/lonely/plugin.yaml").write_text("name: lonely\nversion: 1.0.0\n")
    (tmp_path / "plugins/old").mkdir()
    (tmp_path / "plugins/old/plugin.yaml").write_text("name: old\nversion: 1.0.0\n")
    (tmp_path / "reed.yaml").write_text("plugins: {simpel-seo: {}}\n")
    with (tmp_path / "plugin-registry.csv").open("a") as file:
        file.write('old,lua,/tmp/reed-cms/plugins/old.sock,2.0.0,"","admin",true,x\n')
        file.write('gone,lua,/tmp/reed-cms/plugins/gone.sock,2.0.0,"","admin",false,x\n')
    found = doctor("--plugin-dir", "plugins")
    assert "the plugin old cannot be started" in found["registry", "error"]
    assert "the plugin gone cannot be started" in found["registry", "warning"]
    assert "plugins/lonely has no row in the registry" in found["registry", "warning"]
    assert "plugins.simpel-seo in the settings has no row" in found["registry", "warning"]
    with (tmp_path / "plugin-registry.csv").open("a") as file:
        file.write("old,lua\n")
    assert "plugin-registry.csv:14" in doctor()["registry", "error"]


def test_low_limits(tmp_path):
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))

    ran = subprocess.run(
        [sys.executable, "-m", "reed", "doctor"],
        preexec_fn=lower,
        cwd=tmp_path,
        env=ENVIRON | {"REED_RUNTIME_DIR": str(tmp_path / "none")},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    warnings = [row[2] for row in rows if row[:2] == ["limits", "warning"]]
    assert warnings == ["max open files: 512", "max file size: 1.0 GB"]


def test_strict_needs_every_layer(doctor, monkeypatch):
    from reed.sandbox import landlock

    monkeypatch.setattr(landlock, "abi", lambda _kernel: 3)
    monkeypatch.setenv("REED_SANDBOX", "strict")
    found = doctor()["sandbox", "error"]
    assert "landlock tcp is missing | sandbox: strict starts no plugin" in found
    assert "needs Linux 6.7" in found
    monkeypatch.setenv("REED_SANDBOX", "off")
    assert "sandbox: off in the settings" in doctor()["sandbox", "warning"]


def test_postgresql_that_does_not_answer(doctor):
    pytest.importorskip("psycopg")
    found = doctor("--store", "postgres:host=/nonexistent dbname=site")["store", "error"]
    assert "postgres:host=/nonexistent dbname=site" in found
    assert "PGSERVICEFILE" in found


def test_a_terminal_gets_sections(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {"REED_RUNTIME_DIR": str(tmp_path / "none"), "NO_COLOR": "1"}
    code, printed = on_a_terminal(120, "doctor", env=env)
    assert code == 1
    text = printed.replace("\r\n", "\n")
    assert "\nregistry\n  error    " in text
    assert "\n           → reed init\n" in text
    assert "1 error, " in text
