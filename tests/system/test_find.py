"""Find and rename through a real core: clients, a Lua plugin, kill -9, and concurrent requests."""

from __future__ import annotations

import json
import os
import signal

import pytest

from reed.client import Client
from reed.errors import CallError, Conflict, Invalid, NotFound
from reed.wire import frames
from reed.wire.codes import Command
from reed.wire.registry import RegistryDefine

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin{name = "librarian", version = "1.0.0"}
plugin.action("find", function(text)
    local found, after = reed.snippet.find("page", json.decode(text), {limit = 2})
    local titles = json.array()
    for i, page in ipairs(found) do titles[i] = page.content.title end
    return {titles = titles, after = after, rest = #(reed.snippet.find("page", json.decode(text), {after = after}))}
end)
plugin.action("rename", function(text)
    local asked = json.decode(text)
    local ok, failure = pcall(reed.snippet.rename, asked[1], asked[2])
    return ok and {id = failure} or {status = failure.status, message = failure.message}
end)
plugin.run()
"""
MANIFEST = "actions:\n  find: {command_id: 1}\n  rename: {command_id: 2}\n"
FILTER = """
local reed = require "reed"
local plugin = reed.create_plugin{name = "names", version = "1.0.0"}
plugin.action("check", function(text)
    local asked = json.decode(text)
    if asked.name:find("^draft/") then return {refuse = {asked.event .. " to " .. asked.name}} end
    return {}
end)
plugin.run()
"""


def test_a_lua_plugin_finds_and_renames(site):
    site.add_lua_plugin("librarian", MAIN, MANIFEST)
    site.set_rows('librarian,lua,{},1.0.0,"snippet_read,snippet_write","admin",true,"a test"')
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", {"indexed": ["section"]})
        ids = [client.snippet_create("page", "", {"title": f"t{n}", "section": "s", "n": n % 2}) for n in range(6)]

        def send(action, data):
            return json.loads(client.plugin_send("librarian", action, data).body)

        assert send("find", {"section": "s", "n": 1}) == {"titles": ["t1", "t3"], "after": ids[3], "rest": 1}
        assert send("find", {"n": 1.0})["titles"] == ["t1", "t3"]
        assert send("find", {})["rest"] == 4
        assert send("rename", [ids[0], "first"]) == {"id": ids[0]}
        assert client.snippet_get("first").version == 2
        assert send("rename", [ids[1], "first"])["status"] == 409
        assert send("rename", ["nobody", "x"])["status"] == 404
    site.no_tracebacks()


def test_a_plugin_needs_the_permissions_in_its_row(site):
    site.add_lua_plugin("librarian", MAIN, MANIFEST)
    site.set_rows('librarian,lua,{},1.0.0,"snippet_read","admin",true,"a test"')
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", {})
        client.snippet_create("page", "a", {})
        assert json.loads(client.plugin_send("librarian", "rename", ["a", "b"]).body)["status"] == 403
        assert client.snippet_get("a").version == 1


def test_a_filter_of_updates_sees_the_new_name(site):
    site.add_lua_plugin(
        "names", FILTER, "actions:\n  check: {command_id: 1}\nfilters: {snippet.update: check}\n"
    )  # fmt: skip
    site.set_rows('names,lua,{},1.0.0,"snippet_read","admin",true,"a test"')
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", {})
        client.snippet_create("page", "a", b'{ "n": 1e0 }')
        with pytest.raises(Invalid, match=r"snippet\.update to draft/a"):
            client.snippet_rename("a", "draft/a")
        client.snippet_rename("a", "b")
        assert client.snippet_get("b").content == b'{ "n": 1e0 }'


def test_indexes_and_names_survive_kill_9(site):
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", {"unique": ["path"]})
        ids = [client.snippet_create("page", f"p{n}", {"path": f"p/{n}"}) for n in range(50)]
        client.snippet_update("p7", {"path": "moved"})
        client.snippet_rename("p8", "eight")
        client.snippet_delete("p9")
    site.kill()
    site.start()
    with Client(site.socket_path) as client:

        def found(path):
            return [record.id for record in client.snippet_find("page", {"path": path}).records]

        assert [found("p/3"), found("moved"), found("p/7"), found("p/9")] == [[ids[3]], [ids[7]], [], []]
        assert client.snippet_get("eight").id == ids[8]
        with pytest.raises(NotFound):
            client.snippet_get("p8")
        with pytest.raises(Conflict):
            client.snippet_create("page", "", {"path": "p/3"})
    site.no_tracebacks()


def test_a_core_killed_while_building_an_index_has_the_old_definition(site):
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", {})
        content = {"path": "x", "body": "word " * 20_000}
        for number in range(300):
            client.snippet_create("page", "", {**content, "n": number})
        site.process.send_signal(signal.SIGSTOP)
        with Client(site.socket_path) as other:
            sock = other._connected()

            sock.sendall(frames.encode(Command.REGISTRY_DEFINE, RegistryDefine("page", b'{"indexed":["n"]}').pack()))
            site.process.send_signal(signal.SIGCONT)
            client.snippet_get(client.snippet_list(limit=1).records[0].id)  # others are served meanwhile
            site.kill()
    site.start()
    with Client(site.socket_path) as client:
        assert client.registry_get("page").definition in (b"{}", b'{"indexed":["n"]}')
        for number in (0, 299):
            assert len(client.snippet_find("page", {"n": number}).records) == 1
        client.registry_define("page", {"unique": ["n"]})
        with pytest.raises(Conflict):
            client.snippet_create("page", "", {"n": 299})
    site.no_tracebacks()


def test_other_requests_are_served_during_an_index_build_and_a_scan(site):
    """Reads after a long find or definition get their response before it."""
    site.start()
    with Client(site.socket_path) as quick:
        quick.registry_define("page", {})
        content = {"body": "word " * 4000}
        for number in range(800):
            quick.snippet_create("page", "", {**content, "n": number})
        (first,) = quick.snippet_list(limit=1).records
        for begin in (
            lambda client: client.snippet_find("page", {"n": -1}),
            lambda client: client.registry_define("page", {"unique": ["n"]}),
        ):
            pid = os.fork()
            if pid == 0:
                try:
                    with Client(site.socket_path) as slow:
                        begin(slow)
                finally:
                    os._exit(0)
            answered = 0
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                assert quick.snippet_get(first.id).id == first.id
                answered += 1
            assert answered > 3
        assert quick.snippet_find("page", {"n": 799}).records[0].version == 1


def test_an_id_prefix_is_resolved_again_after_each_change(core):
    with Client(core.socket_path) as client:
        client.registry_define("page", {})
        one = client.snippet_create("page", "", {"n": 1})
        beginning = one[:8]
        assert [client.snippet_get(beginning).id for _ in range(3)] == [one] * 3
        two = client.snippet_create("page", "", {"n": 2})
        if two.startswith(beginning):  # made within the same minute, as almost always
            with pytest.raises(Conflict):
                client.snippet_get(beginning)
        client.snippet_rename(two, beginning)
        assert client.snippet_get(beginning).id == two
        client.snippet_delete(two)
        assert client.snippet_get(beginning).id == one
        assert client.search_index(beginning) == 1
        client.schema_bond(client.snippet_create("page", "parent", {}), one[:20])
        assert client.schema_tree("parent")["children"][0]["id"] == one


@pytest.mark.parametrize("conditions", [b"[]", b"{", b'"x"', b'{"a":NaN}'])
def test_invalid_conditions_are_refused_and_the_connection_stays_open(core, conditions):
    with Client(core.socket_path) as client:
        client.registry_define("page", {})
        with pytest.raises(CallError) as caught:
            client.snippet_find("page", conditions)
        assert caught.value.status == 400
        assert client.snippet_find("page", {}).records == []
