"""The log file of a real core: bounded by its size, opened again on SIGHUP, and nowhere else."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

FLOOD = """
local reed = require "reed"
local plugin = reed.create_plugin{name = "chatty", version = "1.0.0"}
plugin.action("say", function(count)
  for number = 1, count do reed.log.warn("line %d %s", number, ("x"):rep(500)) end
  return {}
end)
plugin.run()
"""
ROW = 'chatty,lua,{},1.0.0,"","admin",true,"writes much"'


@pytest.fixture
def chatty(site):
    site.config.write_text("limits: {log_lines: 100000, log_bytes: 64KB}\ntiming: {start_deadline: 15s}\n")
    site.add_lua_plugin("chatty", FLOOD, "actions: {say: {command_id: 1, timeout: 20s}}\n")
    site.set_rows(ROW)
    return site


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_the_log_is_renamed_when_it_is_full_and_no_line_is_torn(chatty) -> None:
    log, older = chatty.root / "logs/core.log", chatty.root / "logs/core.log.1"
    chatty.start(f"--log-file={log}")
    with chatty_client(chatty) as client:
        client.plugin_start("chatty")
        for _ in range(3):
            client.plugin_send("chatty", "say", 300)
            until(lambda: "line 300 " in text_of(older) + text_of(log), "its lines came")
    assert chatty.stop() == 0
    assert log.read_text().endswith("stopped\n")
    assert sorted(path.name for path in log.parent.iterdir()) == ["core.log", "core.log.1"]
    assert log.stat().st_size < 64 * 1024 + 2000
    assert 64 * 1024 <= older.stat().st_size < 64 * 1024 + 2000
    assert (log.stat().st_mode & 0o777, older.stat().st_mode & 0o777) == (0o600, 0o600)
    for line in (older.read_text() + log.read_text()).splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d [\d:,]+ (INFO|WARNING|ERROR|DEBUG) ", line), line


def test_the_log_is_opened_again_after_a_program_has_renamed_it_and_sent_sighup(chatty) -> None:
    log, renamed = chatty.root / "core-file.log", chatty.root / "core-file.log.2026"
    chatty.start(f"--log-file={log}")
    assert "ready on" in log.read_text()
    log.rename(renamed)
    chatty.process.send_signal(signal.SIGHUP)
    until(log.exists, "the file was opened again")
    with chatty_client(chatty) as client:
        client.plugin_send("chatty", "say", 1)
    until(lambda: "line 1 " in text_of(log), "lines go to the new file")
    assert "line 1 " not in renamed.read_text()
    assert chatty.stop() == 0


def test_a_log_that_was_renamed_without_sighup_stays_bounded(chatty) -> None:
    log, renamed = chatty.root / "core-file.log", chatty.root / "elsewhere.log"
    chatty.start(f"--log-file={log}")
    log.rename(renamed)
    with chatty_client(chatty) as client:
        client.plugin_send("chatty", "say", 300)
        until(lambda: "line 300 " in text_of(log) + text_of(Path(f"{log}.1")), "its lines came")
    assert renamed.stat().st_size < 64 * 1024 + 2000
    assert chatty.stop() == 0


def test_the_log_survives_a_restart_and_stays_in_its_file(chatty) -> None:
    log = chatty.root / "core-file.log"
    chatty.start(f"--log-file={log}")
    assert chatty.reed("restart").returncode == 0
    until(lambda: log.read_text().count("ready on") == 2, "both cores logged there")
    assert "ready on" not in chatty.log.read_text()
    assert chatty.stop() == 0


def test_sighup_with_a_folder_that_is_gone_keeps_the_log_that_is_open(chatty) -> None:
    folder = chatty.root / "logs"
    log = folder / "core.log"
    chatty.start(f"--log-file={log}")
    folder.rename(chatty.root / "moved")
    folder.write_text("in the way")
    chatty.process.send_signal(signal.SIGHUP)
    until(lambda: "cannot write the log" in (chatty.root / "moved/core.log").read_text(), "it says so")
    restarted = chatty.reed("restart")
    assert restarted.returncode == 1
    assert f"cannot write the log {log}" in restarted.stderr
    assert chatty.stop() == 0


def test_a_log_file_that_cannot_be_written_is_told_on_stderr(chatty) -> None:
    with pytest.raises(AssertionError, match=f"cannot write the log {chatty.root}"):
        chatty.start(f"--log-file={chatty.root}")
    assert chatty.process.returncode == 1


def test_what_makes_no_core_is_told_on_stderr_whatever_the_log_file(chatty) -> None:
    chatty.registry.write_text("nonsense\n")
    with pytest.raises(AssertionError, match=r"plugin-registry\.csv"):
        chatty.start(f"--log-file={chatty.root / 'core-file.log'}")


def test_a_core_without_stderr_writes_its_log_over_no_other_file(chatty) -> None:
    chatty.config.write_text("log_level: debug\n")
    chatty.start(wrapper=("sh", "-c", 'exec "$@" 0<&- 2>&-', "sh"))
    assert os.readlink(f"/proc/{chatty.process.pid}/fd/2") == "/dev/null"
    with chatty_client(chatty) as client:
        client.registry_define("page", b"{}")
        client.snippet_create("page", "one", b"{}")
        assert bytes(client.snippet_get("one").content) == b"{}"
    assert chatty.stop() == 0


def chatty_client(site):
    from reed.client import Client

    return Client(site.socket_path, timeout=30)
