"""The core is killed and the next one adopts its plugins and their messages."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from reed.client import Client
from tests.waiting import until

COUNTER = """
local reed = require "reed"
local plugin = reed.create_plugin{ name = "counter", version = "1.0.0" }
local count = 0
plugin.action("count", function() count = count + 1; return tostring(count) end)
plugin.run()
"""
MANIFEST = "actions:\n  count: {command_id: 1}\n"
RUST_MANIFEST = "actions:\n  count: {command_id: 2}\n"
ROW = 'counter,lua,{},1.0.0,"","admin",AUTO,x'


def start_counter(site, auto_start: str = "false", program: Path | None = None) -> int:
    """A core with a plugin, in Lua or that executable, which has counted to 1; returns the plugin's pid."""
    row = ROW.replace("AUTO", auto_start)
    if program is None:
        site.add_lua_plugin("counter", COUNTER, MANIFEST)
    else:
        folder = site.add_lua_plugin("counter", "", RUST_MANIFEST)
        (folder / "main.lua").unlink()
        shutil.copy2(program, folder / "counter")
        row = row.replace("lua", "native")
    site.set_rows(row)
    site.start()
    with Client(site.socket_path) as core:
        core.plugin_start("counter")
        assert core.plugin_send("counter", "count").body == b"1"
        return int(core.plugin_health("counter")[0]["pid"])


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("language", ["lua", "rust"])
def test_a_plugin_outlives_its_core_and_is_adopted(site, language, request) -> None:
    pid = start_counter(site, program=request.getfixturevalue("counter") if language == "rust" else None)
    for count in (2, 3):
        site.kill()
        assert not gone(pid)
        site.start()
        with Client(site.socket_path) as core:
            assert core.plugin_send("counter", "count").body == str(count).encode(), "its state is as it was"
            [now] = core.plugin_health("counter")
            assert (now["pid"], now["state"], now["restarts"]) == (pid, "ready", 0)
    assert site.reed("plugin", "stop", "counter").returncode == 0
    assert gone(pid)
    site.no_tracebacks()


def test_an_adopted_plugin_that_exits_is_restarted(site) -> None:
    pid = start_counter(site)
    site.kill()
    site.start()
    with Client(site.socket_path) as core:
        assert core.plugin_send("counter", "count").body == b"2"
        os.kill(pid, signal.SIGKILL)
        until(lambda: core.plugin_health("counter")[0]["pid"] not in (None, pid))
        assert core.plugin_send("counter", "count").body == b"1"
        assert "exit status is unknown" in core.plugin_health("counter")[0]["last_error"]


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site.add_lua_plugin("counter", COUNTER.replace("count + 1", "count + 10"), MANIFEST),
        lambda site: site.add_lua_plugin("counter", COUNTER, MANIFEST + "settings: {a: 1}\n"),
        lambda site: site.set_rows(ROW.replace("AUTO", "false").replace('""', '"snippet_read"', 1)),
    ],
    ids=["code", "settings", "permissions"],
)
def test_a_plugin_that_changed_meanwhile_is_restarted(site, change) -> None:
    pid = start_counter(site)
    site.kill()
    change(site)
    site.start()
    until(lambda: gone(pid))
    with Client(site.socket_path) as core:
        until(lambda: core.plugin_health("counter")[0]["state"] == "ready")
        assert core.plugin_send("counter", "count").body in (b"1", b"10")


def test_a_plugin_without_a_row_is_killed(site) -> None:
    pid = start_counter(site)
    site.kill()
    site.set_rows()
    site.start()
    until(lambda: gone(pid))


def test_a_process_that_reuses_the_pid_is_not_touched(site) -> None:
    pid = start_counter(site, auto_start="true")
    site.kill()
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
    (site.runtime_dir / "pid" / "plugins" / "counter.pid").write_text(f"{os.getpid()} 1\n")
    site.start()
    with Client(site.socket_path) as core:
        assert core.plugin_send("counter", "count").body == b"1"


def test_unread_messages_survive_the_core(site) -> None:
    site.add_lua_plugin(
        "sender",
        """
local plugin = require("reed").create_plugin{ name = "sender", version = "1.0.0" }
plugin.action("send", function() for n = 1, 100 do plugin.send_plugin_message("reader", 7, { n = n }) end end)
plugin.run()
""",
        "actions:\n  send: {command_id: 1}\n",
    )
    site.add_lua_plugin(
        "reader",
        """
local reed = require "reed"
local plugin = reed.create_plugin{ name = "reader", version = "1.0.0" }
plugin.register_message_handler(7, function(payload) reed.log.info("got " .. json.decode(payload).n) end)
plugin.run()
""",
    )
    site.set_rows('sender,lua,{},1.0.0,"","admin",true,x', 'reader,lua,{},1.0.0,"","admin",true,x')
    site.start()
    with Client(site.socket_path) as core:
        core.plugin_start("reader")
        core.plugin_start("sender")
        reader = int(core.plugin_health("reader")[0]["pid"])
        os.kill(reader, signal.SIGSTOP)
        core.plugin_send("sender", "send")
    site.kill()
    site.start()
    os.kill(reader, signal.SIGCONT)

    def got() -> list[str]:
        lines = (site.data_dir / "logs" / "reader.log").read_text().splitlines()
        return [line.rpartition("got ")[2] for line in lines if " got " in line]

    until(lambda: len(got()) >= 100)
    assert got() == [str(n) for n in range(1, 101)]
    with Client(site.socket_path) as core:
        assert core.plugin_health("reader")[0]["pid"] == reader


@pytest.mark.parametrize("end", ["killed", "restarted"])
@pytest.mark.parametrize("mode", ["light", "deep"])
def test_a_call_wakes_a_plugin_that_slept_when_the_core_died(site, mode: str, end: str) -> None:
    site.add_lua_plugin("counter", COUNTER, MANIFEST + f"sleep: {{after: 100ms, mode: {mode}}}\n")
    site.set_rows(ROW.replace("AUTO", "false"))
    site.start()

    def asleep() -> bool:
        with Client(site.socket_path) as core:
            [now] = core.plugin_health("counter")
        return now["state"] == "sleeping" and (mode == "light" or not now["pid"])

    with Client(site.socket_path) as core:
        core.plugin_start("counter")
        pid = core.plugin_health("counter")[0]["pid"]
    until(asleep)
    if end == "killed":
        site.kill()
        site.start()
    else:
        assert site.reed("restart").returncode == 0
    with Client(site.socket_path) as core:
        assert core.plugin_send("counter", "count").body == b"1", "a call wakes it"
        [now] = core.plugin_health("counter")
        assert now["restarts"] == 0
        assert (now["pid"] == pid) is (mode == "light")
    until(asleep)
    with Client(site.socket_path) as core:
        core.plugin_stop("counter")
    site.kill()
    site.start()
    with Client(site.socket_path) as core:
        assert core.plugin_health("counter")[0]["state"] == "stopped", "who was stopped stays so"
    site.no_tracebacks()
