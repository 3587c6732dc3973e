"""init, serve, start, restart, stop, status; exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import reed as package
from reed.config import load
from reed.supervision.permissions import commands_for
from reed.supervision.registry_csv import load as load_rows
from reed.wire.codes import Command, Permission

from .conftest import ENVIRON

DOCS = Path(__file__).parents[2] / "contrib/docs"
CONFIGURATION = (DOCS / "reference/configuration.md").read_text(encoding="utf-8")


def command(*words, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "reed", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRON, **more
    )


def test_init_creates_a_site_and_never_overwrites(reed, tmp_path):
    assert reed("init").out.split() == ["reed.yaml", "plugin-registry.csv", "plugins"]
    config = load(None, {}, {})
    assert config.data_dir == tmp_path / "data"
    rows = load_rows(config.registry, config.runtime_dir)
    assert [(row.plugin_name, row.auto_start) for row in rows] == [("simple-seo", False), ("form-validator", False)]
    (tmp_path / "reed.yaml").write_text("data_dir: mine\n")
    assert reed("init").out == ""
    assert (tmp_path / "reed.yaml").read_text() == "data_dir: mine\n"
    assert json.loads(reed("init", "new/site", "--json").out)["made"] == [
        "new/site/reed.yaml", "new/site/plugin-registry.csv", "new/site/plugins",
    ]  # fmt: skip


def test_settings_in_the_comments_of_reed_yaml_are_valid(reed, tmp_path):
    """The file is valid without its comment signs."""
    reed("init")
    text = (tmp_path / "reed.yaml").read_text()
    settings = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and ":" in line]
    lines = [line for line in settings if line[0] == " " or line.split(":")[0].isidentifier()]
    (tmp_path / "shown.yaml").write_text("\n".join(lines))
    shown = load("shown.yaml", {}, {})
    assert str(shown.runtime_dir) == "/tmp/reed-cms"
    assert set(shown.groups) == {"editor"}
    assert set(shown.plugins) == {"simple-seo", "ai-core"}


def test_permissions_of_the_sample_group_editor(reed, tmp_path):
    reed("init")
    sample = "\n".join(line.removeprefix("# ") for line in (tmp_path / "reed.yaml").read_text().splitlines())
    group = sample[sample.index("groups:") : sample.index("Settings and limits of plugins")]
    for text in (group, CONFIGURATION[CONFIGURATION.index("groups:  ") : CONFIGURATION.index("limits:\n")]):
        (tmp_path / "shown.yaml").write_text(text)
        editor = load("shown.yaml", {}, {}).groups["editor"]
        allowed = commands_for({Permission(node.value) for node in editor.permissions}, is_admin=False)
        wanted = {
            "plugin list": {Command.PLUGIN_LIST, Command.PLUGIN_HEALTH, Command.SYSTEM_STATS, Command.PLUGIN_SEND},
            "content": {Command.SNIPPET_CREATE, Command.SNIPPET_UPDATE, Command.SNIPPET_GET, Command.SNIPPET_NAMES},
            "export": {Command.SNIPPET_LIST, Command.SCHEMA_TREE, Command.REGISTRY_LIST, Command.REGISTRY_GET},
            "search": {Command.SEARCH_QUERY},
        }
        for what, commands in wanted.items():
            assert commands <= set(allowed), what
        assert Command.PLUGIN_STOP not in allowed
        assert Command.REGISTRY_DEFINE not in allowed


def add_plugin(folder, name, version, row_version):
    (folder / f"plugins/{name}").mkdir()
    (folder / f"plugins/{name}/plugin.yaml").write_text(f"name: {name}\nversion: {version}\n")
    row = f'{name},lua,/tmp/reed-cms/plugins/{name}.sock,{row_version},"","admin",false,""\n'
    with (folder / "plugin-registry.csv").open("a") as file:
        file.write(row)


def test_serve_check_compares_manifests_with_rows(reed, tmp_path):
    reed("init")
    add_plugin(tmp_path, "good", "1.2.3", "1.2.3")
    assert reed("serve", "--check").code == 0
    checked = json.loads(reed("serve", "--check", "--json").out)
    missing = [] if (Path(package.__file__).parent / "plugins").is_dir() else ["simple-seo", "form-validator"]
    assert [name for name in missing if not any(name in text for text in checked["warnings"])] == []
    assert len(checked["warnings"]) == len(missing), "a row without a folder is a warning"
    add_plugin(tmp_path, "old", "1.0.0", "2.0.0")
    add_plugin(tmp_path, "broken", "[]", "1.0.0")
    ran = reed("serve", "--check")
    assert ran.code == 1
    assert "plugins/old/plugin.yaml" in ran.err
    assert "1.0.0" in ran.err
    assert "2.0.0" in ran.err
    assert "plugins/broken/plugin.yaml:2" in ran.err
    assert "plugins/good" not in ran.err
    assert json.loads(reed("serve", "--check", "--json").out)["error"]["message"]


def test_an_unknown_variable_fails_the_check_and_warns_at_start(reed, tmp_path, monkeypatch):
    reed("init")
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("REED_LIMIT_PAYLOAD", "1MB")
    ran = reed("serve", "--check")
    assert ran.code == 1
    assert "REED_LIMIT_PAYLOAD" in ran.err
    assert "did you mean 'REED_LIMITS_PAYLOAD'?" in ran.err
    try:
        started = reed("start")
        assert started.code == 0
        assert "REED_LIMIT_PAYLOAD" in started.err
        assert "WARNING unknown variable REED_LIMIT_PAYLOAD" in (tmp_path / "data/core.log").read_text()
        assert reed("restart").code == 0, "nobody can take a variable away from a core that runs"
    finally:
        reed("stop")


def test_start_status_stop(reed, tmp_path):
    run = tmp_path / "run"
    assert reed("init").code == 0
    (tmp_path / "select.py").write_text("raise SystemExit('a file of the site was taken for a module')")
    os.environ["REED_RUNTIME_DIR"] = str(run)  # restored by the fixture
    try:
        started = reed("start", "--log-level", "debug")
        assert (started.code, started.err) == (0, "")
        pid = int(started.out.split("\t")[0])
        assert json.loads(reed("status", "--json").out)["pid"] == pid
        assert os.getsid(pid) == pid
        again = reed("start")
        assert again.code == 1
        assert str(pid) in again.err
        assert str(run) in again.err
        assert reed("--runtime-dir", str(run), "plugin", "list").code == 0
    finally:
        stopped = reed("stop")
    assert (stopped.code, stopped.err) == (0, "")
    assert reed("status").code == 3
    assert "ready on" in (tmp_path / "data/core.log").read_text()
    nothing = reed("stop")
    assert nothing.code == 3
    assert "reed start" in nothing.err


def test_restart_keeps_pid_options_and_log(reed, tmp_path, monkeypatch):
    """Restarted from another folder, as by cron: paths stay relative to the folder of the start."""
    reed("init")
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    try:
        started = json.loads(reed("start", "--data-dir", "content", "--log-level", "debug", "--json").out)
        assert started["data_dir"] == str(tmp_path / "content")
        log = Path(started["data_dir"]) / "core.log"
        file, before = log.stat().st_ino, log.read_text()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        restarted = reed("restart")
        assert (restarted.code, restarted.err) == (0, "")
        status = json.loads(reed("status", "--json").out)
        assert (status["pid"], status["restarts"]) == (started["pid"], 1)
        assert (status["runtime_dir"], status["data_dir"]) == (str(tmp_path / "run"), started["data_dir"])
        again = reed("start")
        assert again.code == 1
        assert str(started["pid"]) in again.err
    finally:
        stopped = reed("stop")
    assert (stopped.code, stopped.err) == (0, "")
    assert reed("status").code == 3
    assert log.stat().st_ino == file
    assert log.read_text().startswith(before)
    assert log.read_text().count(f"ready on {tmp_path / 'run/core.sock'} (pid {started['pid']})") == 2
    assert log.read_text().endswith("stopped\n")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_stop_ignores_a_reused_pid(reed, tmp_path):
    sleeper = subprocess.Popen(["sleep", "60"])
    (tmp_path / "none/pid").mkdir(parents=True)
    (tmp_path / "none/pid/core.pid").write_text(f"{sleeper.pid} 1\n")
    assert reed("stop").code == 3
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_a_failed_start_prints_the_reason(reed, tmp_path):
    reed("init")
    (tmp_path / "plugin-registry.csv").write_text("plugin_name,what\n")
    ran = reed("start")
    assert ran.code == 1
    assert "plugin-registry.csv:1" in ran.err
    (tmp_path / "reed.yaml").write_text("data_dri: x\n")
    ran = reed("start")
    assert ran.code == 1
    assert "reed.yaml:1:1" in ran.err
    assert "data_dir" in ran.err


def test_runtime_dir_is_read_from_reed_yaml(site_folder, reed, tmp_path, monkeypatch):
    monkeypatch.delenv("REED_RUNTIME_DIR")
    (tmp_path / "reed.yaml").write_text(f"runtime_dir: {site_folder / 'run'}\n")
    assert reed("plugin", "list").code == 0
    (tmp_path / "reed.yaml").write_text("# runtime_dir: /nowhere\nruntime_dir: [a]\n")
    assert "reed.yaml:2:14" in reed("plugin", "list").err


@pytest.mark.parametrize(
    "words", [["plugin", "list"], ["snippet", "get", "x"], ["search", "x"], ["status"], ["plugin", "send", "a", "b"]]
)
def test_without_a_core_the_exit_code_is_3(reed, words):
    ran = reed(*words)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("reed: core not running: ")
    assert "reed start" in ran.err
    assert ran.err.count("\n") == 1


def test_a_closed_pipe_is_exit_code_141(site_folder, on_site):
    on_site("registry", "define", "bulk", "{}")
    for _ in range(20):
        on_site("snippet", "create", "bulk", '{"body": "%s"}' % ("x" * 9000))
    process = command("--runtime-dir", str(site_folder / "run"), "snippet", "list")
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""


def test_a_full_disk_is_an_error_of_one_line(site_folder):
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "reed", "--runtime-dir", str(site_folder / "run"), "status"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRON,
        )
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, b"reed: standard output: No space left on device\n")


def test_a_closed_standard_output_is_an_error_of_one_line(site_folder):
    words = f"{sys.executable} -m reed --runtime-dir {site_folder / 'run'} status"
    done = subprocess.run(["sh", "-c", f"{words} >&-"], stderr=subprocess.PIPE, env=ENVIRON, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (1, b"reed: standard output is closed\n")


def test_ctrl_c_is_exit_code_130(tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "core.sock"))
        silent.listen()
        process = command("--runtime-dir", str(tmp_path), "index")
        connection, _ = silent.accept()
        with connection:
            connection.recv(100)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_command_imports_no_unneeded_modules(tmp_path):
    code = (
        "import sys\nfrom reed.cli import main\nmain(['plugin', 'list'])\n"
        "heavy = {'argparse', 'dataclasses', 'logging', 'socket', 'selectors', 'asyncio', 'subprocess', 'yaml', 'lupa',"
        " 'jsonschema_rs', 'sqlite3', 'difflib', 'tempfile', 'pathlib', 'reed.config', 'reed.daemon', 'reed.serve',"
        " 'reed.store', 'reed.wire.snippets', 'reed.wire.search', 'reed.cli.snippet', 'threading'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**ENVIRON, "REED_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "[]\n"
    assert "core not running" in ran.stderr


def test_a_core_does_not_hold_what_only_commands_need(tmp_path):
    """A megabyte, for as long as it runs."""
    code = (
        "import sys\nfrom reed.cli import main\nmain(['serve', '--registry', 'missing.csv'])\n"
        "unneeded = {'reed.client', 'tempfile', 'shutil', 'random', 'bz2', 'argparse', 'psycopg', 'lupa', 'hashlib'}\n"
        "print(sorted(unneeded & set(sys.modules)), 'reed.daemon' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**ENVIRON, "REED_RUNTIME_DIR": str(tmp_path / "run"), "REED_DATA_DIR": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "[] True\n"
    assert "missing.csv" in ran.stderr


def test_unwritable_output_is_exit_code_1():
    """The interpreter would flush again at exit and end with 120."""
    for words in (["--help"], ["--version"], ["--json", "--version"], ["plugin", "send", "--help"]):
        with open("/dev/full", "w") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "reed", *words],
                stdout=full,
                stderr=subprocess.PIPE,
                env=ENVIRON,
                text=True,
                check=False,
            )
        assert ended.returncode == 1
        assert ended.stderr == "reed: standard output: No space left on device\n"
