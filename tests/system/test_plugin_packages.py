"""`reed plugin add`, `upgrade`, `remove` and `pack` against a running core."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "demo" }
plugin.action("ask", function() return { answer = ANSWER } end)
plugin.run()
"""
MANIFEST = """name: demo
version: VERSION
description: answers
permissions: [snippet_read]
actions:
  ask: {command_id: 1, example: {}, output: {answer: 1}}
"""


def author(site, version: str, *, answer: str = "1", more: str = "") -> Path:
    """A version of the plugin demo, outside of the site's plugin folder."""
    folder = site.root / "work" / version
    folder.mkdir(parents=True)
    (folder / "main.lua").write_text(MAIN.replace("ANSWER", answer))
    (folder / "plugin.yaml").write_text(MANIFEST.replace("VERSION", version) + more)
    return folder


def ask(site) -> int:
    return json.loads(site.reed("plugin", "send", "demo", "ask", "{}").stdout)["answer"]


def row_of(site, name: str = "demo") -> str:
    return next((line for line in site.registry.read_text().splitlines() if line.startswith(f"{name},")), "")


def done(site, *words: str, **options) -> str:
    ran = site.reed("plugin", *words, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def refused(site, *words: str) -> str:
    """The error, and the site is as it was."""
    before = site.registry.read_bytes(), sorted(site.plugins.rglob("*"))
    ran = site.reed("plugin", *words)
    assert ran.returncode == 1, ran.stdout
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert (site.registry.read_bytes(), sorted(site.plugins.rglob("*"))) == before
    return ran.stderr


def on_terminal(site, *words: str, answer: str) -> tuple[int, str]:
    """Run a command on a terminal, and answer its question."""
    main, terminal = pty.openpty()
    environ = os.environ | {"REED_RUNTIME_DIR": str(site.runtime_dir), "REED_DATA_DIR": str(site.data_dir)}
    process = subprocess.Popen(
        [sys.executable, "-m", "reed", "plugin", *words],
        cwd=site.root,
        env=environ,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while select.select([main], [], [], 60)[0]:
        try:
            data = os.read(main, 4096)
        except OSError:  # EIO: the command has ended
            break
        shown += data
        if b"[y/N] " in data:
            os.write(main, answer.encode() + b"\n")
    os.close(main)
    return process.wait(60), shown.decode()


# add -----------------------------------------------------------------------------------------------------------------


def test_a_bundled_plugin_is_added_to_a_running_core(core) -> None:
    assert [line.split("\t")[0] for line in done(core, "list", "--available").splitlines()][2:3] == ["backup"]
    about = json.loads(done(core, "add", "backup", "--yes", "--json"))
    assert about["result"] == "added"
    assert about["asks_for"]["permissions"] == ["file_write", "registry_read", "schema_read", "snippet_read"]
    assert (core.plugins / "backup/main.lua").is_file()
    done(core, "start", "backup")
    assert json.loads(done(core, "send", "backup", "snapshot", "{}"))["snippets"] == 0
    core.no_tracebacks()


def test_without_a_terminal_and_without_yes_it_is_refused_with_one_line(core) -> None:
    error = refused(core, "add", "backup")
    assert "--yes" in error
    assert core.reed("plugin", "add", "backup", "--yes").returncode == 0
    assert "--yes" in refused(core, "remove", "backup")


def test_what_cannot_be_added_or_removed_is_named_before_consent_is_asked_for(core) -> None:
    assert "no bundled plugin 'nothere'" in refused(core, "add", "nothere")
    assert "plugin.yaml: no such file" in refused(core, "add", str(core.root))
    assert "no plugin 'nothere'" in refused(core, "remove", "nothere")


def test_on_a_terminal_it_shows_what_is_asked_for_and_asks(core) -> None:
    more = "filters: {snippet.create: ask}\nevents: {snippet.deleted: ask}\n"
    folder = author(core, "1.0.0", more=more)
    code, shown = on_terminal(core, "add", str(folder), answer="n")
    assert code == 1
    assert "nothing was changed" in shown
    assert not row_of(core)
    code, shown = on_terminal(core, "add", str(folder), "--group", "editor", answer="y")
    assert code == 0, shown
    for text in (
        "read all content",
        "before a snippet is created",
        "every deleted snippet",
        "members of admin, editor",
    ):
        assert text in shown
    assert "next: reed plugin start demo" in shown
    assert row_of(core).endswith(',1.0.0,"snippet_read","admin,editor",false,"answers"')


def test_a_dry_run_shows_and_changes_nothing(core) -> None:
    folder = author(core, "1.0.0")
    assert done(core, "add", str(folder), "--dry-run") == "snippet_read\tread all content\n"
    assert not row_of(core)
    assert list(core.plugins.iterdir()) == []


def test_with_start_it_runs_at_once_and_with_the_core(core) -> None:
    done(core, "add", str(author(core, "1.0.0")), "--yes", "--start")
    assert ask(core) == 1
    assert row_of(core).split(",")[-2] == "true"


def test_a_plugin_that_does_not_start_is_not_added(core) -> None:
    folder = author(core, "1.0.0")
    (folder / "main.lua").write_text("error('no database')")
    error = refused(core, "add", str(folder), "--yes", "--start")
    assert "main.lua:1: no database" in error
    assert "demo" not in done(core, "list")
    done(core, "add", str(folder), "--yes")  # to look into it


def test_without_a_core_it_is_there_when_one_starts(site) -> None:
    done(site, "add", str(author(site, "1.0.0")), "--yes", "--start")
    site.start()
    done(site, "start", "demo")
    assert ask(site) == 1


def test_a_folder_among_the_plugins_gets_a_row_and_stays(core) -> None:
    done(core, "scaffold", "new-lua-plugin")
    before = (core.plugins / "new-lua-plugin/main.lua").stat().st_ino
    done(core, "add", "new-lua-plugin", "--yes", "--start")
    assert (core.plugins / "new-lua-plugin/main.lua").stat().st_ino == before
    assert "Ada" in done(core, "send", "new-lua-plugin", "greet", '{"name": "Ada"}')


def test_what_cannot_be_added_is_refused(core) -> None:
    folder = author(core, "1.0.0")
    done(core, "add", str(folder), "--yes")
    assert "`reed plugin upgrade demo`" in refused(core, "add", str(folder), "--yes")
    assert "did you mean 'backup'" in refused(core, "add", "bakup", "--yes")
    assert "no such file" in refused(core, "add", "x.tar.gz", "--yes")
    (folder / "plugin.yaml").write_text("name: other\nversion: 1.0.0\npermissions: [snippet_reed]\n")
    assert "plugin.yaml:3:15: permissions[0]: unknown permission 'snippet_reed'" in refused(
        core, "add", str(folder), "--yes"
    )
    (folder / "plugin.yaml").write_text("name: other\nversion: 1.0.0\n")
    (core.plugins / "other").mkdir()
    assert "exists already" in refused(core, "add", str(folder), "--yes")


def test_a_core_of_another_site_is_noticed(core, tmp_path) -> None:
    (tmp_path / "elsewhere/plugins").mkdir(parents=True)
    registry = tmp_path / "elsewhere/plugin-registry.csv"
    registry.write_bytes(core.registry.read_bytes())
    error = refused(core, "add", "backup", "--yes", "--registry", str(registry))
    assert "does not use" in error
    assert "backup" not in registry.read_text()


# pack, and archives --------------------------------------------------------------------------------------------------


def test_a_packed_plugin_is_added_from_its_archive(core) -> None:
    folder = author(core, "1.0.0")
    first, name = done(core, "pack", str(folder)).split()
    assert name == "demo-1.0.0.tar.gz"
    assert done(core, "pack", str(folder), "--output", "again.tar.gz").split()[0] == first
    assert (core.root / "again.tar.gz").read_bytes() == (core.root / name).read_bytes()
    done(core, "add", name, "--yes", "--start")
    assert ask(core) == 1
    assert {path.name for path in (core.plugins / "demo").iterdir()} == {"main.lua", "plugin.yaml"}


def test_a_hostile_archive_leaves_nothing(core) -> None:
    with tarfile.open(core.root / "bad.tar.gz", "w:gz") as file:
        for path, text in (("demo/plugin.yaml", MANIFEST), ("demo/../../escaped", "x")):
            info = tarfile.TarInfo(path)
            info.size = len(text)
            file.addfile(info, io.BytesIO(text.encode()))
    assert "leads out of the folder" in refused(core, "add", "bad.tar.gz", "--yes")
    assert not (core.root / "escaped").exists()
    assert list(core.plugins.iterdir()) == []


def test_an_error_in_an_archive_names_the_archive(core) -> None:
    folder = author(core, "1.0.0")
    done(core, "pack", str(folder))
    (folder / "plugin.yaml").write_text("name: demo\nversion: 1.0.0\nactoins: {}\n")
    with tarfile.open(core.root / "bad.tar.gz", "w:gz") as file:
        file.add(folder, "demo")
    assert "bad.tar.gz: plugin/plugin.yaml:3:1: " in refused(core, "add", "bad.tar.gz", "--yes")


# upgrade -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(core):
    """A core with demo 1.0.0 running, and a row with a comment before it."""
    core.registry.write_text(core.registry.read_text() + "# of mine\n")
    done(core, "add", str(author(core, "1.0.0")), "--yes", "--start")
    return core


def test_an_upgrade_replaces_a_running_plugin_without_asking(running) -> None:
    about = json.loads(done(running, "upgrade", str(author(running, "1.1.0", answer="2")), "--json"))
    assert about["result"] == "renewed"
    assert about["added"]["permissions"] == []
    assert ask(running) == 2
    assert ",1.1.0," in row_of(running)
    assert "# of mine\n" in running.registry.read_text()
    assert [path.name for path in running.plugins.iterdir()] == ["demo"]
    running.no_tracebacks()


def test_a_version_that_asks_for_more_needs_consent(running) -> None:
    folder = author(running, "1.1.0", answer="2")
    text = (folder / "plugin.yaml").read_text()
    (folder / "plugin.yaml").write_text(text.replace("snippet_read", "snippet_read, snippet_write"))
    assert "--yes" in refused(running, "upgrade", str(folder))
    assert ask(running) == 1
    code, shown = on_terminal(running, "upgrade", str(folder), answer="y")
    assert code == 0, shown
    assert "+ snippet_write  create, change, rename and delete content" in shown
    assert "snippet_read" not in shown
    assert ask(running) == 2
    assert '"snippet_read,snippet_write"' in row_of(running)


def test_what_the_operator_withheld_or_granted_stays(running) -> None:
    text = running.registry.read_text().replace('"snippet_read"', '"search_read"')
    running.registry.write_text(text)
    done(running, "reload")
    done(running, "upgrade", str(author(running, "1.1.0")))
    assert '"search_read"' in row_of(running)


def test_a_version_that_does_not_start_leaves_the_old_one_in_force(running) -> None:
    before = running.registry.read_bytes(), (running.plugins / "demo").stat().st_ino
    folder = author(running, "1.1.0")
    (folder / "main.lua").write_text("error('no database')")
    error = refused(running, "upgrade", str(folder))
    assert "no database" in error
    assert "the old version keeps running" in error
    assert (running.registry.read_bytes(), (running.plugins / "demo").stat().st_ino) == before
    assert ask(running) == 1
    assert json.loads(done(running, "health", "demo", "--json"))[0]["state"] == "ready"
    done(running, "restart", "demo")
    assert ask(running) == 1


def test_the_version_of_another_type_goes_back_too(running) -> None:
    folder = author(running, "1.1.0")
    (folder / "main.lua").unlink()
    (folder / "demo").write_text("#!/bin/sh\nexit 3\n")
    (folder / "demo").chmod(0o755)
    text = refused(running, "upgrade", str(folder), "--yes")
    assert "exit status 3" in text
    assert ask(running) == 1


def test_a_stopped_plugin_stays_stopped(running) -> None:
    done(running, "stop", "demo")
    done(running, "upgrade", str(author(running, "1.1.0", answer="2")))
    assert json.loads(done(running, "health", "demo", "--json"))[0]["state"] == "stopped"
    done(running, "start", "demo")
    assert ask(running) == 2


def test_the_same_version_with_other_files_is_an_upgrade_and_the_same_files_are_none(running) -> None:
    same = running.root / "work/1.0.0"
    assert json.loads(done(running, "upgrade", str(same), "--json"))["result"] == "unchanged"
    (same / "main.lua").write_text(MAIN.replace("ANSWER", "3"))
    assert json.loads(done(running, "upgrade", str(same), "--json"))["result"] == "renewed"
    assert ask(running) == 3


# remove --------------------------------------------------------------------------------------------------------------


def test_remove_stops_it_and_keeps_its_data_unless_purged(core) -> None:
    before = core.registry.read_bytes()
    for purge in ([], ["--purge"]):
        done(core, "add", "backup", "--yes", "--start")
        done(core, "send", "backup", "snapshot", "{}")
        pid = json.loads(done(core, "health", "backup", "--json"))[0]["pid"]
        done(core, "remove", "backup", "--yes", *purge)
        assert not Path(f"/proc/{pid}").exists()
        assert core.registry.read_bytes() == before
        assert list(core.plugins.iterdir()) == []
        assert "backup" not in done(core, "list")
        assert (core.data_dir / "plugins/backup").exists() == (not purge)
    assert not (core.data_dir / "logs/backup.log").exists()


def test_the_folder_can_be_kept(running) -> None:
    code, shown = on_terminal(running, "remove", "demo", "--keep-folder", answer="y")
    assert code == 0, shown
    assert not row_of(running)
    assert (running.plugins / "demo/main.lua").is_file()
    assert "no plugin 'demo'" in refused(running, "remove", "demo", "--yes", "--keep-folder")
    done(running, "remove", "demo", "--yes")
    assert list(running.plugins.iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "", "/", "../work", "ROOT/work"])
def test_only_a_plugin_can_be_removed(running, name: str) -> None:
    given = name.replace("ROOT", str(running.root))
    before = sorted(running.root.rglob("*.lua"))
    assert "no plugin" in refused(running, "remove", given, "--yes", "--purge")
    assert sorted(running.root.rglob("*.lua")) == before


# Killed in between ---------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from reed.cli import main
from reed.supervision import installation

left = int(sys.argv[1])

def before(event, _):
    global left
    if event in {"os.rename", "os.remove"}:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(before)
main(["plugin", *sys.argv[2:]])
"""


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_core_that_starts_after_a_kill_runs_one_of_the_two(running, steps: int) -> None:
    folder = author(running, "1.1.0", answer="2")
    running.stop()
    environ = os.environ | {"REED_RUNTIME_DIR": str(running.runtime_dir)}
    command = [sys.executable, "-c", KILLED, str(steps), "upgrade", str(folder)]
    ended = subprocess.run(command, cwd=running.root, env=environ, check=False)
    assert ended.returncode in {0, -signal.SIGKILL}
    running.start()
    done(running, "start", "demo")
    assert (ask(running), ",1.1.0," in row_of(running)) in {(1, False), (2, True)}
    assert [path.name for path in running.plugins.iterdir()] == ["demo"]
