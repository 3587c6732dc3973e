"""`reed logs`, and the lines of a log that is rotated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reed.cli.logs import follow, tail

from .conftest import ENVIRON


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 20_000, 30_000])
def test_the_last_lines_are_read_in_blocks(tmp_path, count):
    path = tmp_path / "core.log"
    written = [b"%d: %s\n" % (number, b"\r" * (number % 50)) for number in range(20_000)] + [b"unfinished"]
    path.write_bytes(b"".join(written))
    with path.open("rb") as file:
        assert tail(file, count) == (written[-count:] if count else [])
        assert file.read() == b""


def test_followed_logs_continue_after_a_rotation(tmp_path):
    path = tmp_path / "core.log"
    path.write_text("old\n")
    with path.open("rb") as file, path.open("a", buffering=1) as writer:
        file.read()
        lines = follow(file, str(path))
        writer.write("first\nhal")
        assert next(lines) == b"first\n"
        writer.write("f\nthe last of the old file\n")
        path.rename(tmp_path / "core.log.1")
        path.write_text("the new file\n")
        assert [next(lines) for _ in range(3)] == [b"half\n", b"the last of the old file\n", b"the new file\n"]
        lines.close()


def test_followed_logs_continue_after_the_file_was_emptied(tmp_path):
    path = tmp_path / "core.log"
    path.write_text("a long first line\n")
    with path.open("rb") as file:
        lines = follow(file, str(path))
        assert next(lines) == b"a long first line\n"
        os.truncate(path, 0)
        with path.open("a") as writer:
            writer.write("short\n")
        assert next(lines) == b"short\n"
        lines.close()


@pytest.fixture
def started(reed, tmp_path, monkeypatch):
    """A core in the background whose data folder only its command line names."""
    reed("init")
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    assert reed("start", "--data-dir", "elsewhere").code == 0
    yield reed
    reed("stop")


def test_logs_of_a_running_core_and_of_one_that_has_stopped(started, tmp_path):
    log = tmp_path / "elsewhere/core.log"
    shown = started("logs")
    assert (shown.code, shown.out) == (0, log.read_text())
    assert "ready on" in shown.out
    assert started("logs", "-n", "1").out == log.read_text().splitlines(keepends=True)[-1]
    lines = [json.loads(line) for line in started("logs", "--json").out.splitlines()]
    assert lines == log.read_text().splitlines()
    started("stop")
    gone = started("logs")
    assert gone.code == 1
    assert f"{tmp_path / 'data/core.log'}: there is no log" in gone.err
    assert "--data-dir" in gone.err
    assert started("logs", "-n1", "--data-dir", "elsewhere").out.endswith("stopped\n")
    assert started("logs", "-n1", "--log-file", "elsewhere/core.log").out.endswith("stopped\n")


def test_logs_before_a_rotation_come_first(reed, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/core.log.1").write_text("one\ntwo\n")
    (tmp_path / "data/core.log").write_text("three\n")
    assert reed("logs", "-n2").out == "two\nthree\n"
    assert reed("logs").out == "one\ntwo\nthree\n"


def test_logs_are_followed_across_a_rotation_of_the_core(started, tmp_path):
    log = tmp_path / "elsewhere/core.log"
    following = subprocess.Popen(
        [sys.executable, "-m", "reed", "logs", "-f", "-n1"],
        stdout=subprocess.PIPE,
        env=ENVIRON | {"REED_RUNTIME_DIR": str(tmp_path / "run")},
        cwd=tmp_path,
        text=True,
    )
    assert following.stdout
    try:
        assert "ready on" in following.stdout.readline()
        log.rename(tmp_path / "elsewhere/core.log.1")  # as logrotate does, with SIGHUP then
        pid = int(json.loads(started("status", "--json").out)["pid"])
        os.kill(pid, 1)
        started("restart")
        lines = iter(following.stdout.readline, "")
        assert any("ready on" in line for line in lines)
    finally:
        following.kill()
        following.wait()


def test_a_core_without_a_log_file_says_where_it_logs(reed, tmp_path, monkeypatch):
    reed("init")
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    core = subprocess.Popen(
        [sys.executable, "-m", "reed", "serve"], stderr=subprocess.PIPE, env=os.environ, cwd=tmp_path, text=True
    )
    assert core.stderr
    try:
        assert any("ready on" in line for line in core.stderr)
        shown = reed("logs")
        assert shown.code == 1
        assert f"the core (pid {core.pid}) logs to a pipe, not to a file" in shown.err
    finally:
        core.terminate()
        core.wait(20)


def test_a_log_that_was_deleted_is_named(started, tmp_path):
    (Path(tmp_path) / "elsewhere/core.log").unlink()
    shown = started("logs")
    assert shown.code == 1
    assert "elsewhere/core.log was deleted while the core runs; kill -HUP" in shown.err
