"""Long inputs and answers of plugins are checked in a worker: nothing else waits, and the order of calls stays."""

from __future__ import annotations

import json

import pytest

from reed.client import Client, Request
from reed.errors import CallError, ErrorCode, Malformed
from reed.wire.codes import Command
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.snippets import SnippetCreate

MAIN = """
local plugin = require("reed").create_plugin { name = "%s", version = "1.0.0" }
local seen = {}
plugin.action("keep", function(text) seen[#seen + 1] = #text; return {} end)
plugin.action("seen", function() return seen end)
plugin.action("fill", function(text) return "[" .. string.rep("[],", tonumber(text)) .. "[]]" end)
plugin.action("half", function(text) return "[" .. string.rep("[],", tonumber(text)) end)
plugin.action("text", function(text) return '"' .. string.rep("a", tonumber(text)) .. '"' end)
plugin.action("check", function(text) return (text:gsub('^{.*"content":', '{"content":')) end)
plugin.run()
"""
ACTIONS = """\
limits: {memory: 128MB, cpu: 10s}
actions:
  keep: {command_id: 1}
  seen: {command_id: 2}
  fill: {command_id: 3}
  half: {command_id: 4, input: json}
  check: {command_id: 5}
  text: {command_id: 6}
"""
ROW = '{},lua,{{}},1.0.0,"snippet_read,snippet_write","admin",true,A plugin of this test'
LONG = b"[" + b"[]," * 100_000 + b"[]]"


@pytest.fixture
def client(site):
    site.set_rows(ROW.format("one"), ROW.format("two"), ROW.format("filter"))
    for name in ("one", "two"):
        site.add_lua_plugin(name, MAIN % name, ACTIONS)
    site.add_lua_plugin("filter", MAIN % "filter", ACTIONS + "filters: {snippet.create: check}\n")
    site.start()
    with Client(site.socket_path) as client:
        for name in ("one", "two", "filter"):
            client.plugin_start(name)
        yield client
    site.no_tracebacks()


def jobs(client: Client) -> int:
    return client.stats()["workers"]["done"]


def sends(*inputs: bytes) -> list[Request]:
    return [Request(Command.PLUGIN_SEND, PluginSend("one", "keep", each).pack()) for each in inputs]


def test_calls_of_a_connection_keep_their_order_while_a_long_input_is_checked(client) -> None:
    before = jobs(client)
    inputs = [b"[1]", LONG, b"[1,2]", b"[1,2,3]", LONG + b" ", b"[1,2,3,4]"]
    answers = [PluginAnswer.unpack(answer).status for _, answer in client.pipelined(sends(*inputs))]
    assert answers == [200] * len(inputs)
    assert jobs(client) == before + 2
    assert json.loads(client.plugin_send("one", "seen", {}).body) == [len(each) for each in inputs]


def test_a_long_input_that_is_not_json_fails_alone(client) -> None:
    answers = [answer for _, answer in client.pipelined(sends(b"[1]", LONG[:-1], b"[1,2]"))]
    assert isinstance(answers[1], CallError)
    assert answers[1].error_code == ErrorCode.ERR_MALFORMED
    assert json.loads(client.plugin_send("one", "seen", {}).body) == [3, 5]
    with pytest.raises(Malformed):
        client.plugin_send("one", "keep", LONG[:-1])


def test_long_answers_to_a_broadcast_are_checked_and_one_that_is_not_json_fails_alone(client) -> None:
    before = jobs(client)
    answers = client.plugin_send_all("fill", 100_000)
    assert {name: len(each["answer"]) for name, each in answers.items()} == dict.fromkeys(
        ("one", "two", "filter"), 100_001
    )
    assert jobs(client) == before + 3
    assert {each["error_code"] for each in client.plugin_send_all("half", 100_000).values()} == {
        int(ErrorCode.ERR_MALFORMED)
    }


def test_answers_to_a_broadcast_that_do_not_fit_one_response_fail(client) -> None:
    answers = client.plugin_send_all("text", 9_000_000)
    assert sorted(each["status"] for each in answers.values()) == [200, 413, 413]


def test_a_long_content_passes_a_filter_and_keeps_its_bytes(client) -> None:
    client.registry_define("page", {})
    content = b'{"x":' + LONG + b',"n":1e0}'
    created = SnippetCreate("page", "long", content).pack()
    before = jobs(client)
    client.call(Command.SNIPPET_CREATE, created)
    assert client.snippet_get("long").content == content
    assert jobs(client) >= before + 2  # the filter's answer, then the content
