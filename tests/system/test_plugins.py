"""Lua plugins through a real core: their responses, and isolation from a plugin that misbehaves."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import sys
import threading

import pytest

from reed.client import Client
from reed.errors import (
    ActionNotFound,
    CallError,
    NotFound,
    PermissionDenied,
    PluginBusy,
    PluginCrashed,
    PluginNotFound,
    PluginOffline,
    PluginTimeout,
)
from reed.wire.codes import Signal
from tests.waiting import figures, until, until_state

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin{name = "%s", version = "1.0.0"}
%s
plugin.run()
"""
ROW = '{},lua,{{}},1.0.0,"snippet_read","editor",{},"a test"'
HOLD = """
plugin.action("hold", function() while true do end end)
plugin.action("echo", function(text) return text end)
"""
HOLD_MANIFEST = (
    "actions:\n  hold: {command_id: 1, timeout: 60s}\n  echo: {command_id: 2}\nlimits: {cpu: 50s, calls: 3}\n"
)


def add(site, name: str, code: str, manifest: str, auto_start: bool = True) -> str:
    """A plugin's folder and row."""
    site.add_lua_plugin(name, MAIN % (name, code), manifest)
    return ROW.format(name, str(auto_start).lower())


@pytest.fixture
def client(site):
    """A core with a plugin `tool`, whose actions fail in every way, and a neighbour."""
    tool = add(
        site,
        "tool",
        """
plugin.action("echo", function(text) return text end)
plugin.action("page", function(text)
    local page = json.decode(text)
    return {title = page.content.title, version = page.version, name = page.name}
end)
plugin.action("fail", function()
    error("the handler gives up")
end)
plugin.action("loop", function()
    while true do end
end)
plugin.action("bomb", function()
    local all = {}
    while true do all[#all + 1] = string.rep("x", 100000) .. #all end
end)
plugin.action("own", function() return reed.snippet.get("hello").content.title end)
plugin.action("write", function() return reed.snippet.delete("hello") end)
""",
        "actions:\n  echo: {command_id: 1}\n  page: {command_id: 2, input: snippet}\n  fail: {command_id: 3}\n"
        "  loop: {command_id: 4}\n  bomb: {command_id: 5}\n  own: {command_id: 6}\n  write: {command_id: 7}\n"
        "limits: {cpu: 200ms}\n",
    )
    site.set_rows(tool, add(site, "neighbour", HOLD, HOLD_MANIFEST))
    site.allow_python("native")
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", b"{}")
        client.snippet_create("page", "hello", b'{"title":"Hello"}')
        client.plugin_start("tool")
        client.plugin_start("neighbour")
        yield client
    site.no_tracebacks()


def test_an_action_gets_its_input_or_the_snippet_that_it_names(client):
    assert client.plugin_send("tool", "echo", {"a": [1, None]}).body == b'{"a":[1,null]}'
    assert client.plugin_send("tool", "page", "hello").body == b'{"name":"hello","title":"Hello","version":1}'
    with pytest.raises(NotFound, match="no-such"):
        client.plugin_send("tool", "page", "no-such")


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("fail", r"tool\.fail: main\.lua:11: the handler gives up"),
        ("loop", r"tool\.loop: main\.lua:14: time limit of 0\.2 s reached"),
        ("bomb", r"tool\.bomb: main\.lua:1[78]: memory limit of 8 MB reached"),
    ],
)
def test_an_error_in_a_handler_has_its_line_and_the_plugin_survives(client, action, message):
    pid = figures(client, "tool")["pid"]
    with pytest.raises(CallError, match=message):
        client.plugin_send("tool", action, 1)
    assert client.plugin_send("tool", "echo", 1).body == b"1"
    assert figures(client, "tool")["pid"] == pid
    assert figures(client, "tool")["errors"] == 1


def test_a_plugin_has_only_the_permissions_of_its_row(client):
    assert client.plugin_send("tool", "own", 1).body == b"Hello"
    with pytest.raises(CallError, match="SNIPPET_DELETE"):
        client.plugin_send("tool", "write", 1)
    assert client.snippet_get("hello").version == 1


def test_unknown_plugins_and_actions_get_the_nearest_name(client):
    with pytest.raises(PluginNotFound, match="'tool'"):
        client.plugin_send("toll", "echo", 1)
    with pytest.raises(ActionNotFound, match="bomb, echo"):
        client.plugin_send("tool", "ecko", 1)
    client.plugin_stop("tool")
    with pytest.raises(PluginOffline, match="reed plugin start tool"):
        client.plugin_send("tool", "echo", 1)


class Background:
    """A call on its own connection, in a thread."""

    def __init__(self, site, plugin: str, action: str) -> None:
        self.result: object = None
        self._thread = threading.Thread(target=self._call, args=(site.socket_path, plugin, action))
        self._thread.start()

    def _call(self, path, plugin: str, action: str) -> None:
        try:
            with Client(path) as client:
                self.result = client.plugin_send(plugin, action, b"1").body
        except CallError as error:
            self.result = error

    def wait(self) -> object:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.result


def held(client: Client, count: int) -> None:
    """Wait until the neighbour has received that many calls."""
    until(lambda: figures(client, "neighbour")["calls"] >= count)


def test_kill_9_of_a_plugin_fails_only_the_call_in_flight(site, client):
    holding = Background(site, "neighbour", "hold")
    held(client, 1)
    waiting = Background(site, "neighbour", "echo")
    held(client, 2)
    os.kill(figures(client, "neighbour")["pid"], signal.SIGKILL)
    error = holding.wait()
    assert isinstance(error, PluginCrashed)
    assert "plugin neighbour, action hold: killed by SIGKILL" in str(error)
    assert waiting.wait() == b"1"
    now = until_state(client, "neighbour", "ready")
    assert now["restarts"] == 1
    assert client.plugin_send("tool", "echo", 1).body == b"1"


def test_a_full_queue_is_reported_and_other_plugins_respond(site, client):
    calls = []
    for number in range(4):
        calls.append(Background(site, "neighbour", "hold" if number == 0 else "echo"))
        held(client, number + 1)
    with pytest.raises(PluginBusy, match="neighbour"):
        client.plugin_send("neighbour", "echo", 1)
    assert client.plugin_send("tool", "echo", 1).body == b"1"
    os.kill(figures(client, "neighbour")["pid"], signal.SIGKILL)
    assert [type(call.wait()) for call in calls] == [PluginCrashed, bytes, bytes, bytes]


def test_a_late_response_is_dropped_after_the_timeout(site):
    site.set_rows(
        add(site, "slow", HOLD, "actions:\n  hold: {command_id: 1, timeout: 100ms}\n  echo: {command_id: 2}\n"
            "limits: {cpu: 600ms}\n")
    )  # fmt: skip
    site.start()
    with Client(site.socket_path) as client:
        client.plugin_start("slow")
        with pytest.raises(PluginTimeout, match=r"plugin slow, action hold: .*0\.1 s"):
            client.plugin_send("slow", "hold", 1)
        assert client.plugin_send("slow", "echo", b'"mine"').body == b'"mine"'


def test_a_plugin_stopped_by_sigstop_is_killed_and_restarted(site):
    site.config.write_text("timing: {health_interval: 100ms, health_misses: 2}\n")
    site.set_rows(add(site, "tool", HOLD, HOLD_MANIFEST))
    site.start()
    with Client(site.socket_path) as client:
        client.plugin_start("tool")
        pid = figures(client, "tool")["pid"]
        os.kill(pid, signal.SIGSTOP)
        until(lambda: figures(client, "tool")["pid"] not in {pid, None})
        now = until_state(client, "tool", "ready")
        assert "did not answer 2 health checks" in now["last_error"]
        assert client.plugin_send("tool", "echo", 1).body == b"1"


def test_a_syntax_error_has_file_and_line(site):
    site.set_rows(add(site, "broken", "plugin.action('x', function( end)", "actions:\n  x: {command_id: 1}\n", False))
    site.start()
    with Client(site.socket_path) as client, pytest.raises(PluginOffline, match=r"main\.lua:4: .*near 'end'"):
        client.plugin_start("broken")
    ended = site.reed("plugin", "start", "broken")
    assert ended.returncode == 1
    assert "main.lua:4:" in ended.stderr


def test_a_call_to_a_failed_plugin_has_the_reason(site):
    """And not that it has no such action, though its actions are unknown."""
    site.set_rows(ROW.format("unbuilt", "false"))
    site.start()
    with Client(site.socket_path) as client, pytest.raises(PluginOffline, match="no folder of this plugin"):
        client.plugin_send("unbuilt", "optimize", b"{}")


def test_a_plugin_that_always_crashes_fails_with_its_last_lines(site):
    site.config.write_text("timing: {restart_limit: 2}\n")
    site.set_rows(add(site, "crash", 'error("no way")', "", True))
    site.start()
    with Client(site.socket_path) as client:
        now = until_state(client, "crash", "failed")
        assert "main.lua:4: no way" in "\n".join(now["last_lines"])
        with pytest.raises(PluginOffline, match="no way"):
            client.plugin_start("crash")


def test_plugins_survive_a_killed_zygote_and_new_ones_start(site, client):
    before = figures(client, "tool")["pid"]
    zygote = [
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit() and parent(int(pid)) == site.process.pid and b"reed.zygote" in cmdline(int(pid))
        and pathlib.Path(f"/proc/{pid}/comm").read_text() == "reed:zygote\n"
        and os.getsid(int(pid)) == int(pid)  # not a spare that has not set its name yet
    ]  # fmt: skip
    assert len(zygote) == 1
    os.kill(zygote[0], signal.SIGKILL)
    assert client.plugin_send("tool", "echo", 1).body == b"1"
    client.plugin_stop("tool")
    client.plugin_start("tool")
    assert figures(client, "tool")["pid"] != before
    assert client.plugin_send("tool", "echo", 1).body == b"1"


def test_only_user_groups_may_call(site):
    site.config.write_text("groups:\n  editor: {users: [daemon], permissions: [plugin_send]}\n")
    site.set_rows(add(site, "tool", HOLD, HOLD_MANIFEST))
    site.start()
    with Client(site.socket_path) as client:
        client.plugin_start("tool")
        assert client.plugin_send("tool", "echo", 1).body == b"1"  # an admin always may
        rows = site.registry.read_text()
        site.registry.write_text(rows.replace('"editor"', '"reviewer"'))
        client.plugin_reload()
        assert [row["user_groups"] for row in client.plugin_list()] == [["reviewer"]]


def test_a_broadcast_calls_every_plugin_with_the_action(client):
    assert client.plugin_send_all("echo", 1) == {
        "tool": {"status": 200, "answer": 1},
        "neighbour": {"status": 200, "answer": 1},
    }


def test_a_plugin_on_another_socket_gets_its_own_permissions_or_nothing(site, client):
    """A child of a plugin has the plugin's permissions on core.sock; the child is a native plugin's shell."""
    folder = site.root / "plugins" / "native"
    folder.mkdir()
    (folder / "plugin.yaml").write_text("name: native\nversion: 1.0.0\n")
    program = (
        "import sys; sys.path[:] = %r\n"
        "from reed.client import Client\nfrom reed.errors import CallError\n"
        "client = Client(%r)\n"
        "print('got', client.snippet_get('hello').version, flush=True)\n"
        "try: client.snippet_delete('hello')\n"
        "except CallError as error: print('refused', error, flush=True)\n"
    )
    (folder / "child.py").write_text(program % (sys.path, str(site.socket_path)))
    (folder / "native").write_text(f"#!/bin/sh\n{sys.executable} {folder}/child.py\nsleep 60\n")
    (folder / "native").chmod(0o755)
    with site.registry.open("a") as file:
        file.write(
            'native,native,/tmp/reed-cms/plugins/native.sock,1.0.0,"snippet_read","admin",false,"tries to get out"\n'
        )
    client.plugin_reload()
    background = Background(site, "native", "none")
    site.reed("plugin", "start", "native")  # it never registers: refused after its deadline
    until(lambda: any("refused" in line for line in figures(client, "native")["last_lines"]))
    lines = figures(client, "native")["last_lines"]
    assert any("got 1" in line for line in lines)
    assert any("plugin native may not SNIPPET_DELETE" in line for line in lines)
    client.plugin_stop("native")
    assert isinstance(background.wait(), CallError)
    assert client.snippet_get("hello").version == 1


def test_a_stranger_on_a_plugins_socket_is_refused(site, client):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(site.runtime_dir / "plugins" / "tool.sock"))
        stranger.settimeout(5)
        assert stranger.recv(100) == b""
    assert "refused a connection of pid" in site.log.read_text()
    with pytest.raises(PermissionDenied):
        client.call(0xF0, bytes(56))


@pytest.mark.parametrize("wait", [True, False])
def test_a_broadcast_signal_reaches_every_plugin(client, wait):
    client.plugin_signal("", Signal.SHUTDOWN_GRACEFUL, wait=wait)
    until_state(client, "tool", "stopped")
    until_state(client, "neighbour", "stopped")


def parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def cmdline(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""
