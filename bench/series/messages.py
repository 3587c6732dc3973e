"""FIFO messages between two Lua plugins: how many a second, and how long a request waits for its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench.measure import timed
from bench.processes import running, site
from bench.series import Curve, Scale
from reed.client import Client

SIZES = (2, 64, 512, 1024, 2048, 3900)
COUNT = 2000
SENDER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "sender", version = "1.0.0" }
plugin.action("flood", function(payload)
  local want = json.decode(payload)
  local text = '"' .. ("x"):rep(want.size) .. '"'
  for sent = 1, want.count do  -- until the pipe and the queue before it are full
    if not pcall(plugin.send_message, "counter", 1, text) then return tostring(sent - 1) end
  end
  return tostring(want.count)
end)
plugin.action("ask", function(payload)
  local want = json.decode(payload)
  local text = '"' .. ("x"):rep(want.size) .. '"'
  for _ = 1, want.count do plugin.request("counter", 2, text) end
  return "{}"
end)
plugin.run()
"""
COUNTER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "counter", version = "1.0.0" }
local count = 0
plugin.on_message(1, function() count = count + 1 end)
plugin.on_message(2, function() return "1" end)
plugin.action("count", function(payload) return tostring(count) end)
plugin.run()
"""
ACTIONS = {
    "sender": "actions:\n  flood: {command_id: 1, input: json}\n  ask: {command_id: 2, input: json}\n",
    "counter": "actions:\n  count: {command_id: 1, input: json}\n",
}


def curves(scale: Scale) -> Iterator[Curve]:  # noqa: ARG001
    one_way = Curve("messages", "a message, one after the other", "bytes", "us", 1)
    both_ways = Curve("messages", "a request and its answer", "bytes", "us", 1)
    with site() as place:
        place.set_rows([("sender", "lua"), ("counter", "lua")])
        place.add_lua("sender", SENDER, ACTIONS["sender"])
        place.add_lua("counter", COUNTER, ACTIONS["counter"])
        with running(place), Client(place.socket) as client:
            client.plugin_start("counter")
            client.plugin_start("sender")
            came = 0
            for size in SIZES:
                came += COUNT
                one_way.add(size, timed(lambda: _flood(client, size, came)) / COUNT * 1e6)  # noqa: B023
                asked = {"size": size, "count": 200}
                took = timed(lambda: client.plugin_send("sender", "ask", asked))  # noqa: B023
                both_ways.add(size, took / 200 * 1e6)
    yield one_way
    yield both_ways


def _flood(client: Client, size: int, until: int) -> None:
    """Send them in small calls (a call's processor time is limited), and wait until the last one was counted."""
    left = COUNT
    while left:
        answer = client.plugin_send("sender", "flood", {"size": size, "count": min(left, 100)})
        left -= json.loads(bytes(answer.body))
    while json.loads(bytes(client.plugin_send("counter", "count", {}).body)) < until:
        pass
