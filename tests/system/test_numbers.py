"""Numbers keep their digits and contents their depth through Lua, a filter, an update and the list."""

from __future__ import annotations

import json

from reed.client import Client
from reed.wire.codes import Command, Flag
from reed.wire.json_spans import members
from reed.wire.plugins import PluginSend

NUMBERS = b'"n":18446744073709551615,"f":0.1000000000000000055511151231257827,"e":1E2,"p":1.50,"z":-0'
CONTENT = b'{"a":[1.0,2],' + NUMBERS + b',"title":"t"}'
DEEPEST = b'{"a":' * 63 + b"[]" + b"}" * 63
LONG_NUMBER = b'{"n":' + b"7" * 400 + b"}"

MANIFEST = """
actions:
  content: {command_id: 1, input: snippet}
  copy: {command_id: 2, input: json}
  check: {command_id: 3, input: json}
filters:
  snippet.create: {action: check, timeout: 5s}
  snippet.update: {action: check, timeout: 5s}
"""
MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "echo", version = "1.0.0" }
plugin.action("content", function(payload) return json.decode(payload).content end)
plugin.action("copy", function()
  local count, after = 0, ""
  repeat
    local page
    page, after = reed.snippet.list { after = after, limit = 2 }
    for _, snippet in ipairs(page) do
      if snippet.type == "source" then
        local copy = {}
        for key, value in pairs(snippet.content) do copy[key] = value end
        reed.snippet.create("target", nil, snippet.content)
        reed.snippet.create("copied", nil, copy)
        count = count + 1
      end
    end
  until after == ""
  return { count = count }
end)
plugin.action("check", function(payload)
  local change = json.decode(payload)
  if change.type ~= "filtered" then return {} end
  change.content.seen = true
  return { content = change.content }
end)
plugin.run()
"""


def test_numbers_and_depths(site) -> None:
    site.set_rows('echo,lua,{},1.0.0,"snippet_read,snippet_write","admin",true,Echo')
    site.add_lua_plugin("echo", MAIN, MANIFEST)
    site.start()
    with Client(site.socket_path) as core:
        for name in ("source", "target", "copied", "filtered"):
            core.registry_define(name, {})
        for content in (CONTENT, DEEPEST, LONG_NUMBER):
            ref = core.snippet_create("source", "", content)
            assert core.plugin_send("echo", "content", ref).body == in_order(content)
        assert json.loads(core.plugin_send("echo", "copy", {}).body) == {"count": 3}
        assert contents(core, "target") == [in_order(each) for each in (CONTENT, DEEPEST, LONG_NUMBER)]
        assert b"18446744073709551615" in contents(core, "copied")[0]
        assert contents(core, "copied")[2] == LONG_NUMBER
        core.snippet_create("filtered", "f", CONTENT)
        expected = in_order(CONTENT[:-1] + b',"seen":true}')
        assert core.snippet_get("f").content == expected
        core.snippet_update("f", {"title": "other"})
        assert core.snippet_get("f").content == expected.replace(b'"title":"t"', b'"title":"other"')
        deepest = core.snippet_create("filtered", "", DEEPEST)
        assert json.loads(core.snippet_get(deepest).content)["seen"] is True
    site.no_tracebacks()


def contents(core: Client, kind: str) -> list[bytes]:
    return [bytes(record.content) for record in core.snippets(kind)]


def in_order(content: bytes) -> bytes:
    """An object as Lua encodes it: keys in order, numbers unchanged."""
    text = content.decode()
    parts = sorted((member.key, text[member.start : member.end]) for member in members(text))
    return ("{" + ",".join(part for _, part in parts) + "}").encode()


TELLER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "teller", version = "1.0.0" }
plugin.action("ask", function(payload) return plugin.request("echo", 0x20, payload, 10) end)
plugin.run()
"""
ANSWERER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "echo", version = "1.0.0" }
plugin.register_message_handler(0x20, function(payload) return json.decode(payload) end)
plugin.action("ask", function(payload) return json.decode(payload) end)
plugin.run()
"""


def test_numbers_and_depths_in_messages_and_broadcast_responses(site) -> None:
    site.set_rows('echo,lua,{},1.0.0,"","admin",true,""', 'teller,lua,{},1.0.0,"","admin",true,""')
    site.add_lua_plugin("echo", ANSWERER, "actions:\n  ask: {command_id: 1, input: json}\n")
    site.add_lua_plugin("teller", TELLER, "actions:\n  ask: {command_id: 1, input: json}\n")
    site.start()
    with Client(site.socket_path) as core:
        for content in (in_order(CONTENT), DEEPEST, LONG_NUMBER):
            assert core.plugin_send("teller", "ask", content).body == content
            payload = PluginSend("", "ask", content).pack()
            answers = core.call(Command.PLUGIN_SEND, payload, Flag.BROADCAST)
            assert bytes(answers).count(content) == 2
    site.no_tracebacks()
