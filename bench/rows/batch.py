"""1,000 updates by a Lua plugin: in a `reed.batch`, beside one by one, of a type without and with a search index."""

from __future__ import annotations

from bench.lines import Line
from bench.measure import Measure, interleaved, timed
from bench.processes import running, settle, site
from bench.rows import Run
from reed.client import Client

UPDATES = 1000
_MANIFEST = """actions:
  one_by_one: {command_id: 1, timeout: 60s}
  batch: {command_id: 2, timeout: 60s}
limits: {cpu: 60s}
"""
_LUA = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "updates", version = "1.0.0" }
local count = 0

local function update_all(kind)
  count = count + 1
  for page in reed.snippet.each { type = kind } do
    reed.snippet.update(page.id, { title = "title " .. count })
  end
end

plugin.action("one_by_one", function(_, input) update_all(input.type) end)
plugin.action("batch", function(_, input) reed.batch(function() update_all(input.type) end) end)
plugin.run()
"""


def measure(run: Run) -> list[Line]:
    place = run.stack.enter_context(site())
    place.set_rows([("updates", "lua")])
    place.add_lua("updates", _LUA, _MANIFEST)
    run.stack.enter_context(running(place))
    client = run.stack.enter_context(Client(place.socket))
    client.registry_define("plain", {})
    client.registry_define("searchable", {"searchable": {"title": 3, "body": 1}})
    for kind in ("plain", "searchable"):
        for number in range(UPDATES):
            client.snippet_create(kind, "", {"title": f"page {number}", "body": "some words " * 20})
    client.plugin_start("updates")
    return [_line(run, client, kind) for kind in ("plain", "searchable")]


def _line(run: Run, client: Client, kind: str) -> Line:
    def action(name: str) -> Measure:
        def measure() -> float:
            seconds = timed(lambda: client.plugin_send("updates", name, {"type": kind}))
            settle(client)
            return seconds

        return measure

    figures = interleaved({"reed": action("batch"), "one by one": action("one_by_one")}, max(3, run.rounds // 3))
    return Line(
        f"{UPDATES:,} updates in a batch, {kind} type", figures["reed"], "s", "one by one", figures["one by one"]
    )
