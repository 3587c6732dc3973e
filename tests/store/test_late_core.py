"""A core whose store answers late and in any order: what its callers are promised holds all the same."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from reed.client import Client
from reed.client.connection import ClientConnection, NoAnswer
from reed.client.pipeline import Request
from reed.errors import CallError
from reed.wire.codes import Command
from reed.wire.requests import Ref
from reed.wire.snippets import SnippetCreate, SnippetGot, SnippetUpdate

PLUGIN = """
local plugin = require("reed").create_plugin{name = "%s", version = "1.0.0"}
plugin.action("check", function(text)
    local content = json.decode(text).content
    content.checked = (content.checked or 0) + 1
    return {content = content}
end)
local heard = {}
plugin.action("hear", function(text)
    local event = json.decode(text)
    table.insert(heard, {event.name, event.version})
end)
plugin.action("heard", function() return heard end)
plugin.run()
"""
ACTIONS = "actions:\n  check: {command_id: 1}\n  hear: {command_id: 2}\n  heard: {command_id: 3}\n"
FILTERS = f"{ACTIONS}filters: {{snippet.create: check, snippet.update: check}}\n"
LISTENS = f"{ACTIONS}events: {{snippet.created: hear, snippet.updated: hear}}\n"


@pytest.fixture
def late(site):
    """A core that is not started yet."""
    command = site.command
    program = [sys.executable, str(Path(__file__).parent / "late_core.py"), "1"]

    def late_command(*flags):
        words = command(*flags)
        return program + words[words.index("serve") :]

    site.command = late_command
    return site


def start(site, manifest=""):
    if manifest:
        site.add_lua_plugin("seo", PLUGIN % "seo", manifest)
        site.set_rows('seo,lua,{},1.0.0,"snippet_read,snippet_write","admin",true,""')
    site.start()
    client = Client(site.socket_path)
    client.registry_define("page", {})
    return client


def content(client, ref):
    return json.loads(bytes(client.snippet_get(ref).content))


def test_requests_of_a_connection_are_answered_in_order_and_see_its_own_writes(late):
    with start(late) as client:
        client.snippet_create("page", "home", {"n": 0})
    requests = []
    for number in range(1, 30):
        requests += [
            Request(Command.SNIPPET_UPDATE, SnippetUpdate("home", 0, b'{"n": %d}' % number).pack()),
            Request(Command.SNIPPET_CREATE, SnippetCreate("page", f"n{number}", b"{}").pack()),
            Request(Command.SNIPPET_GET, Ref("home").pack()),
            Request(Command.SNIPPET_GET, Ref(f"n{number}").pack()),
        ]
    connection = ClientConnection(late.socket_path)
    answers = list(connection.pipelined(requests))
    assert [request for request, _ in answers] == requests
    seen = [SnippetGot.unpack(answer).record for request, answer in answers if request.command == Command.SNIPPET_GET]
    numbers = [json.loads(bytes(record.content))["n"] for record in seen[::2]]
    assert all(n >= number for number, n in enumerate(numbers, 1)), "a read may see later writes, too"
    assert [record.semantic_name for record in seen[1::2]] == [f"n{number}" for number in range(1, 30)]
    connection.close()


def test_a_cached_response_is_never_older_than_an_answered_write(late, under_load):
    with start(late) as client:
        client.snippet_create("page", "home", {"n": 1})
        loads = under_load(lambda reader, _number: reader.snippet_get("home").version)
        for version in range(2, 40):
            client.snippet_update("home", {"n": version})
            for _ in range(3):
                assert client.snippet_get("home").version == version
        for load in loads:
            load.end()
            assert not load.errors
            assert load.answers == sorted(load.answers), "an older version came after a newer one"


def test_filters_see_each_write_once_and_no_update_is_lost(late, under_load):
    with start(late, FILTERS) as client:
        client.snippet_create("page", "home", {})
        loads = under_load(lambda writer, number: writer.snippet_update("home", {f"k{id(writer)}": number}))
        for number in range(10):
            client.snippet_create("page", f"n{number}", {})
            assert content(client, f"n{number}") == {"checked": 1}
        for load in loads:
            load.end()
        updates = sum(len(load.answers) for load in loads)
        refused = [error for load in loads for error in load.errors]
        assert all(isinstance(error, CallError) and error.status == 409 for error in refused), refused
        record = client.snippet_get("home")
        assert record.version == 1 + updates
        last = sorted(len(load.answers) - 1 for load in loads if load.answers)
        assert sorted(n for key, n in content(client, "home").items() if key != "checked") == last


def test_events_come_once_and_in_order(late):
    with start(late, LISTENS) as client:
        for number in range(20):
            client.snippet_create("page", f"n{number}", {})
            client.snippet_update(f"n{number}", {"n": number})
        assert heard(client) == [[f"n{number}", version] for number in range(20) for version in (1, 2)]


def heard(client):
    """What the plugin heard, once no event waits."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not client.plugin_health("seo")[0]["events_waiting"]:
            return json.loads(bytes(client.plugin_send("seo", "heard", b"").body))
    raise AssertionError("events are not delivered")


@pytest.mark.parametrize("how", ["stop", "restart"])
def test_acknowledged_writes_survive_a_stop_and_a_restart(late, under_load, how):
    start(late).close()
    loads = under_load(lambda writer, number: str(writer.snippet_create("page", f"n{id(writer)}/{number}", {})))
    ready = threading.Event()
    while not all(load.answers for load in loads):
        ready.wait(0.005)
    if how == "stop":
        assert late.stop() == 0
        late.start()
    else:
        assert late.reed("restart").returncode == 0
    for load in loads:
        load.end()
        assert all(isinstance(error, NoAnswer) for error in load.errors) or how == "stop", load.errors
    with Client(late.socket_path) as client:
        for load in loads:
            assert all(client.snippet_get(each).id == each for each in load.answers)
    late.no_tracebacks()


@pytest.mark.parametrize("manifest", ["", FILTERS], ids=["plain", "filtered"])
def test_an_operation_that_fails_late_is_an_error_of_its_caller_only(late, manifest):
    with start(late, manifest) as client:
        client.snippet_create("page", "home", {})
        for _ in range(3):
            for fails in (
                lambda: client.snippet_create("page", "lost/a", {}),
                lambda: client.snippet_update("lost/a", {}),
                lambda: client.snippet_get("lost/a"),
            ):
                with pytest.raises(CallError, match="does not answer"):
                    fails()
            client.snippet_update("home", {"n": 1})
        assert client.snippet_get("home").version == 4
        assert client.stats()["store"]["snippets"] == 1
    late.no_tracebacks()
