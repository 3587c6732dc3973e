"""Plugins that exchange messages: both ways, across deaths, with torn messages, and with Rust."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import CallError
from reed.wire.plugins import PluginMessage
from tests.waiting import until

CONTRIB = Path(__file__).parents[2] / "contrib/plugins"
MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "NAME", version = "1.0.0" }
local got = json.array()
plugin.register_message_handler(1, function(payload) got[#got + 1] = json.decode(payload) end)
plugin.register_message_handler(2, function(payload) return json.decode(payload) * 2 end)
plugin.action("got", function() return got end)
plugin.action("tell", function(input)
  input = json.decode(input)
  for number = input.from, input.to do
    local ok, failure = pcall(plugin.send_plugin_message, "OTHER", 1, tostring(number))
    if not ok then return { sent = number - input.from, status = failure.status } end
  end
  return { sent = input.to - input.from + 1 }
end)
plugin.action("ask", function(input) return { plugin.request("OTHER", 2, input, 10) } end)
plugin.action("analyze", function()
  return { done = plugin.request("analytics", 1, { snippet_id = "", name = "about", keywords = { "a" } }, 10) == nil }
end)
plugin.run()
"""
MANIFEST = """
actions:
  got: {command_id: 1, input: json}
  tell: {command_id: 2, input: json}
  ask: {command_id: 3, input: json, timeout: 20s}
  analyze: {command_id: 4, input: json, timeout: 20s}
"""
ROWS = ('left,lua,{},1.0.0,"","admin",true,Left', 'right,lua,{},1.0.0,"","admin",true,Right')


class Pair:
    """The plugins left and right of one core."""

    def __init__(self, site) -> None:
        self.site = site
        self.core = Client(site.socket_path)

    def call(self, name: str, action: str, payload: object = None):
        return json.loads(bytes(self.core.plugin_send(name, action, payload).body))

    def pid(self, name: str) -> int:
        return next(each["pid"] for each in self.core.plugin_health(name) if each["name"] == name)

    def kill(self, name: str) -> None:
        """Kill -9, and wait until the next process is ready."""
        old = self.pid(name)
        os.kill(old, signal.SIGKILL)
        self.until(lambda: self.running(name, old), f"{name} was not started again")

    def running(self, name: str, old: int) -> bool:
        (health,) = self.core.plugin_health(name)
        return health["state"] == "ready" and health["pid"] != old

    def until(self, reached, what: str) -> None:
        until(reached, lambda: f"{what}\n{self.site.log.read_text()[-2000:]}")

    def gets(self, name: str, expected: list[int]) -> None:
        self.until(lambda: len(self.call(name, "got")) >= len(expected), f"{name} did not get {len(expected)} messages")
        assert self.call(name, "got") == expected


@pytest.fixture
def pair(site):
    site.set_rows(*ROWS)
    for name, other in (("left", "right"), ("right", "left")):
        site.add_lua_plugin(name, MAIN.replace("NAME", name).replace("OTHER", other), MANIFEST)
    site.start()
    pair = Pair(site)
    for name in ("left", "right"):
        pair.until(lambda name=name: pair.running(name, 0), f"{name} did not start")
    yield pair
    pair.core.close()
    site.no_tracebacks()


def test_both_ways(pair) -> None:
    assert pair.call("left", "tell", {"from": 1, "to": 50}) == {"sent": 50}
    assert pair.call("right", "tell", {"from": 51, "to": 99}) == {"sent": 49}
    pair.gets("right", list(range(1, 51)))
    pair.gets("left", list(range(51, 100)))
    assert pair.call("left", "ask", 21) == [42]
    assert pair.call("right", "ask", 4) == [8]


def test_a_stopped_reader_finds_its_messages(pair) -> None:
    pair.core.plugin_stop("right")
    assert pair.call("left", "tell", {"from": 1, "to": 200}) == {"sent": 200}
    pair.core.plugin_start("right")
    pair.gets("right", list(range(1, 201)))


def test_unread_messages_survive_the_writer(pair) -> None:
    pair.core.plugin_stop("right")
    pair.call("left", "tell", {"from": 1, "to": 100})
    pair.kill("left")
    pair.call("left", "tell", {"from": 101, "to": 150})
    pair.core.plugin_start("right")
    pair.gets("right", list(range(1, 151)))


def test_unread_messages_survive_the_reader(pair) -> None:
    os.kill(pair.pid("right"), signal.SIGSTOP)
    pair.call("left", "tell", {"from": 1, "to": 300})
    pair.kill("right")
    pair.gets("right", list(range(1, 301)))
    assert pair.call("left", "ask", 3) == [6]


def test_a_request_survives_the_death_of_its_receiver(pair) -> None:
    reader = pair.pid("right")
    os.kill(reader, signal.SIGSTOP)
    pid = os.fork()
    if pid == 0:  # meanwhile the reader dies with the request in its pipe
        time.sleep(0.3)
        os.kill(reader, signal.SIGKILL)
        os._exit(0)
    assert pair.call("left", "ask", 5) == [10]
    os.waitpid(pid, 0)


def test_back_pressure_answers_429(pair) -> None:
    pair.core.plugin_stop("right")
    answer = pair.call("left", "tell", {"from": 1, "to": 100_000})
    assert answer["status"] == 429
    assert answer["sent"] > 1024
    pair.core.plugin_start("right")
    pair.gets("right", list(range(1, answer["sent"] + 1)))


def test_a_torn_message_loses_only_itself(pair) -> None:
    pair.core.plugin_stop("right")
    pair.call("left", "tell", {"from": 1, "to": 3})
    torn = PluginMessage(1, "left", "right", 1, b'"%b"' % (b"x" * 3000)).pack()[:500]
    fifo = os.open(pair.site.runtime_dir / "fifos/left→right", os.O_RDWR | os.O_NONBLOCK)
    os.write(fifo, torn)
    os.close(fifo)
    pair.call("left", "tell", {"from": 4, "to": 6})
    pair.core.plugin_start("right")
    pair.gets("right", list(range(1, 7)))


def test_lua_to_rust_to_lua(site) -> None:
    """A Lua plugin asks analytics (Rust), and analytics sends a message to backup (Lua)."""
    if not (CONTRIB / "analytics/target/release/analytics").is_file():
        pytest.skip("analytics is not built: cargo build --release in contrib/plugins/analytics")
    site.set_rows(
        *ROWS,
        'analytics,native,{},1.0.0,"system_stats","admin",true,Analytics',
        'backup,lua,{},1.0.0,"snippet_read,registry_read,schema_read,file_write","admin",true,Backup',
    )
    for name, other in (("left", "right"), ("right", "left")):
        site.add_lua_plugin(name, MAIN.replace("NAME", name).replace("OTHER", other), MANIFEST)
    site.start(f"--plugin-dir={CONTRIB}")
    pair = Pair(site)
    with pair.core:
        try:
            assert pair.call("left", "analyze") == {"done": True}
        except CallError as error:
            pytest.fail(f"{error}\n{site.log.read_text()[-2000:]}")
        pair.until(lambda: pair.call("backup", "list", {})["changes"] == 1, "no message reached backup")
    site.no_tracebacks()


@pytest.mark.parametrize("mode", ["light", "deep"])
def test_a_message_and_a_call_wake_a_sleeper(site, mode) -> None:
    site.set_rows(*ROWS)
    site.add_lua_plugin("left", MAIN.replace("NAME", "left").replace("OTHER", "right"), MANIFEST)
    sleep = f"sleep: {{after: 200ms, mode: {mode}}}\n"
    site.add_lua_plugin("right", MAIN.replace("NAME", "right").replace("OTHER", "left"), MANIFEST + sleep)
    site.start()
    pair = Pair(site)

    def asleep() -> bool:
        (health,) = pair.core.plugin_health("right")
        return health["state"] == "sleeping" and (mode == "light" or not health["pid"])

    with pair.core:
        pair.until(asleep, "right does not sleep")
        assert pair.call("left", "ask", 3) == [6], "a message wakes it"
        pair.until(asleep, "right does not sleep again")
        assert pair.call("right", "got") == [], "a call wakes it"
    site.no_tracebacks()
