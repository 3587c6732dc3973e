"""The log file of a real core: rotation, and SIGHUP."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from reed.errors import ReedError
from tests.waiting import until

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


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_a_full_log_is_rotated_between_lines(chatty) -> None:
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


def test_sighup_reopens_a_renamed_log(chatty) -> None:
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


def test_a_log_renamed_without_sighup_stays_bounded(chatty) -> None:
    log, renamed = chatty.root / "core-file.log", chatty.root / "elsewhere.log"
    chatty.start(f"--log-file={log}")
    log.rename(renamed)
    with chatty_client(chatty) as client:
        client.plugin_send("chatty", "say", 300)
        until(lambda: "line 300 " in text_of(log) + text_of(Path(f"{log}.1")), "its lines came")
    assert renamed.stat().st_size < 64 * 1024 + 2000
    assert chatty.stop() == 0


def test_a_restart_keeps_the_log_file(chatty) -> None:
    log = chatty.root / "core-file.log"
    chatty.start(f"--log-file={log}")
    assert chatty.reed("restart").returncode == 0
    until(lambda: log.read_text().count("ready on") == 2, "both cores logged there")
    assert "ready on" not in chatty.log.read_text()
    assert chatty.stop() == 0


def test_sighup_keeps_the_open_log_if_its_folder_is_gone(chatty) -> None:
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


def test_an_unwritable_log_file_is_reported_on_stderr(chatty) -> None:
    with pytest.raises(ReedError, match=rf"exited with status 1 (?s:.*) {chatty.root}: "):
        chatty.start(f"--log-file={chatty.root}")


def test_a_failed_start_is_reported_on_stderr_despite_a_log_file(chatty) -> None:
    chatty.registry.write_text("nonsense\n")
    with pytest.raises(ReedError, match=r"plugin-registry\.csv"):
        chatty.start(f"--log-file={chatty.root / 'core-file.log'}")


def test_a_core_without_stderr_overwrites_no_file(chatty) -> None:
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
