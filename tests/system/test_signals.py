"""All eight signals of reedcms-10.md through a real core: receivers, data and effects."""

from __future__ import annotations

import json
import shutil
import threading
import time

import pytest

from reed.client import Client
from reed.errors import CallError, Malformed, PluginNotFound
from reed.wire.codes import Signal
from tests import bare_plugin
from tests.waiting import figures, until, until_state

# A plugin without an SDK that records every signal and sends signals on request.
NATIVE = """
register(got=1, say=2)
got = []
while True:
    command, flags, payload = receive()
    if flags & 2:
        kind, stamp, name, size = struct.unpack_from("<BQ32sH", payload)
        got.append([kind, stamp, name.rstrip(b"\\0").decode(), payload[43:].decode()])
        if kind == 0x10:
            raise SystemExit(0)
        ready()
    elif command == 1:
        answer(1, json.dumps(got).encode())
    elif command == 2:
        kind, data = json.loads(payload)
        say(kind, data.encode())
        answer(2, b"null")
"""
LUA = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "quiet", version = "1.0.0" }
local got = json.array()
plugin.action("got", function() return got end)
plugin.action("echo", function(text) return text end)
plugin.action("limit", function() return { limit = reed.settings.limit } end)
plugin.action("busy", function() plugin.send_signal(reed.signals.BUSY, "reindexing") return "null" end)
plugin.action("fail", function() plugin.send_signal(reed.signals.ERROR, "no key for the server") return "null" end)
plugin.on_signal(function(kind, data)
  got[#got + 1] = { kind, data }
  if kind == reed.signals.HEALTH_CHECK and data == "enough" then plugin.send_signal(reed.signals.READY) end
end)
plugin.run()
"""
MANIFEST = """
actions:
  got: {command_id: 1}
  echo: {command_id: 2}
  limit: {command_id: 3}
  busy: {command_id: 4}
  fail: {command_id: 5}
settings: {limit: %d}
"""
ROWS = ('raw,native,{},1.0.0,"","admin",true,Raw', 'quiet,lua,{},1.0.0,"","admin",true,Quiet')


@pytest.fixture
def client(site):
    if not shutil.which("python3", path="/usr/bin"):
        pytest.skip("no /usr/bin/python3 for a plugin without an SDK")
    site.set_rows(*ROWS)
    site.add_lua_plugin("quiet", LUA, MANIFEST % 3)
    folder = site.root / "plugins/raw"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(
        "name: raw\nversion: 1.0.0\nactions: {got: {command_id: 1}, say: {command_id: 2}}\n"
    )
    bare_plugin.write(folder / "raw", NATIVE, "/usr/bin/python3")  # which the sandbox allows
    site.start()
    with Client(site.socket_path) as client:
        client.plugin_start("raw")
        client.plugin_start("quiet")
        yield client
    site.no_tracebacks()


def call(client: Client, name: str, action: str, payload: object = None):
    return json.loads(bytes(client.plugin_send(name, action, payload).body))


def test_signals_of_the_core_reach_a_plugin_with_time_name_and_data(client):
    before = time.time_ns() // 1000
    sent = ((Signal.WAKE_UP, b""), (Signal.RELOAD_CONFIG, b'{"a":1}'), (Signal.HEALTH_CHECK, "wie geht’s".encode()))
    for kind, data in sent:
        client.plugin_signal("raw", kind, data)
    got = call(client, "raw", "got")
    after = time.time_ns() // 1000
    assert [(kind, data.encode()) for kind, _, _, data in got] == list(sent)
    stamps = [stamp for _, stamp, _, _ in got]
    assert before <= stamps[0] <= stamps[1] <= stamps[2] <= after, "Unix microseconds"
    assert {name for _, _, name, _ in got} == {"raw"}
    assert figures(client, "raw")["signals"] == 1 + len(sent), "READY answers each"


def test_signals_from_the_command_line(site, client):
    for word in ("wake", "reload", "health"):
        done = site.reed("plugin", "signal", "raw", word)
        assert (done.returncode, done.stderr) == (0, "")
    assert [kind for kind, *_ in call(client, "raw", "got")] == [0x15, 0x12, 0x13]
    assert site.reed("plugin", "signal", "--all", "health").returncode == 0
    assert call(client, "raw", "got")[-1][0] == 0x13
    assert call(client, "quiet", "got") == [[0x13, ""]]
    assert site.reed("plugin", "signal", "raw", "shutdown").returncode == 0
    until_state(client, "raw", "stopped")
    assert figures(client, "quiet")["state"] == "ready"
    assert site.reed("plugin", "signal", "--all", "shutdown").returncode == 0
    until_state(client, "quiet", "stopped")
    told = site.reed("plugin", "signal", "raw", "health")
    assert told.returncode == 1
    assert "plugin raw is stopped; reed plugin start raw" in told.stderr
    assert site.reed("plugin", "signal", "--all", "wake").returncode == 0
    assert figures(client, "raw")["state"] == "stopped"
    assert site.reed("plugin", "signal", "raw", "wake").returncode == 0
    until_state(client, "raw", "ready")
    with pytest.raises(PluginNotFound):
        client.plugin_signal("rwa", Signal.WAKE_UP)
    with pytest.raises(Malformed):
        client.plugin_signal("raw", Signal.PLUGIN_READY)


def test_calls_wait_while_a_plugin_is_busy(client, site):
    call(client, "quiet", "busy")
    until_state(client, "quiet", "busy")
    answers: list[object] = []

    def ask() -> None:
        with Client(site.socket_path) as other:
            answers.append(call(other, "quiet", "echo", 7))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: figures(client, "quiet")["calls"] >= 2)
    client.plugin_signal("quiet", Signal.HEALTH_CHECK)  # answered by BUSY, so the call keeps waiting
    client.plugin_signal("quiet", Signal.WAKE_UP)
    assert figures(client, "quiet")["state"] == "busy"
    assert answers == []
    client.plugin_signal("quiet", Signal.HEALTH_CHECK, b"enough")
    asking.join(20)
    assert answers == [7]
    assert figures(client, "quiet")["state"] == "ready"


def test_plugin_error_is_shown_with_its_data(client, site):
    call(client, "quiet", "fail")
    now = figures(client, "quiet")
    assert (now["state"], now["error_data"]) == ("ready", "no key for the server")
    shown = site.reed("plugin", "status", "quiet").stdout.rstrip("\n").split("\t")
    assert (shown[1], shown[-1]) == ("ready", "no key for the server")
    assert "no key for the server" in site.reed("plugin", "health", "quiet").stdout
    call(client, "raw", "say", [0x05, "ohne SDK, auch ü"])
    assert figures(client, "raw")["error_data"] == "ohne SDK, auch ü"


def test_sleeping_and_wake(client):
    call(client, "raw", "say", [0x04, ""])
    until_state(client, "raw", "sleeping")
    client.plugin_signal("raw", Signal.WAKE_UP)
    until_state(client, "raw", "ready")
    assert [kind for kind, *_ in call(client, "raw", "got")] == [0x15]


def test_a_signal_that_only_the_core_may_send_is_logged_and_ignored(client, site):
    pid = figures(client, "raw")["pid"]
    call(client, "raw", "say", [0x10, ""])
    now = figures(client, "raw")
    assert (now["state"], now["pid"]) == ("ready", pid)
    assert "0x10" in site.log.read_text()


def test_reload_config_carries_the_new_settings(client, site):
    assert call(client, "quiet", "limit") == {"limit": 3}
    pid = figures(client, "quiet")["pid"]
    manifest = site.root / "plugins/quiet/plugin.yaml"
    manifest.write_text(manifest.read_text().replace("limit: 3", "limit: 4"))
    client.plugin_signal("quiet", Signal.RELOAD_CONFIG)
    assert call(client, "quiet", "limit") == {"limit": 4}
    assert call(client, "quiet", "got") == [[0x12, '{"limit":4}']]
    assert figures(client, "quiet")["pid"] == pid, "the same process"
    manifest.write_text(manifest.read_text().replace("limit: 4}", "limit: [4"))
    with pytest.raises(CallError, match=r"plugin\.yaml:"):
        client.plugin_signal("quiet", Signal.RELOAD_CONFIG)
    assert call(client, "quiet", "limit") == {"limit": 4}, "what is wrong changes nothing"


def test_reload_config_to_all_reads_the_settings_of_all_before_one_is_told(client, site):
    manifest = site.root / "plugins/quiet/plugin.yaml"
    manifest.write_text(manifest.read_text().replace("limit: 3", "limit: 9"))
    other = site.root / "plugins/raw/plugin.yaml"
    sound = other.read_text()
    other.write_text(sound + "\nbroken: [")
    with pytest.raises(CallError, match=r"raw/plugin\.yaml:"):
        client.plugin_signal("", Signal.RELOAD_CONFIG)
    assert call(client, "quiet", "limit") == {"limit": 3}, "none is told"
    other.write_text(sound)
    client.plugin_signal("", Signal.RELOAD_CONFIG)
    assert call(client, "quiet", "limit") == {"limit": 9}
