"""Filters and events of Lua plugins on a real core: acknowledged writes are delivered, refused ones are not stored."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

import pytest

from reed.client import Client
from reed.errors import CallError, Invalid, PluginOffline, PluginTimeout, StoreFull
from tests.waiting import until

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin{name = "%s", version = "1.0.0"}
%s
plugin.run()
"""
FILTER = """
plugin.action("check", function(text)
    local asked = json.decode(text)
    local content = asked.content
    if content.title == "" then return {refuse = {"the title is empty", "say what it is about"}} end
    if content.loop then while true do end end
    if content.lie then return {score = 5} end
    if content.nothing then return {} end
    if content.fail then error("no idea") end
    content.seen = (content.seen or "") .. "%s"
    content.event, content.id, content.based_on = asked.event, asked.id, asked.version
    return {content = content}
end)
"""
# Records each event in a file; fails once for a name with `fail`.
LISTENER = """
local tried = false
plugin.action("hear", function(text)
    if json.decode(text).name:find("fail") and not tried then
        tried = true
        error("not now")
    end
    local file = assert(io.open("heard", "a"))
    file:write(text .. "\\n")
    file:close()
end)
plugin.action("mark", function(ref) return reed.snippet.update(json.decode(ref), {mark = true}) end)
"""
LISTENS = (
    "actions:\n  hear: {command_id: 1}\n  mark: {command_id: 2}\n"
    "events: {snippet.created: hear, snippet.updated: hear, snippet.deleted: hear}\n"
)


def add(site, name, code, manifest, permissions="snippet_read,snippet_write,file_write", auto_start=True):
    site.add_lua_plugin(name, MAIN % (name, code), manifest)
    return f'{name},lua,{{}},1.0.0,"{permissions}","admin",{str(auto_start).lower()},"a test"'


def filtering(how="check"):
    return (
        "actions:\n  check: {command_id: 1}\nlimits: {cpu: 300ms}\n"
        f"filters: {{snippet.create: {how}, snippet.update: {how}}}\n"
    )


def start(site, *rows):
    site.set_rows(*rows)
    site.start()
    client = Client(site.socket_path)
    client.registry_define("page", b'{"schema":{"properties":{"title":{"type":"string"}}}}')
    return client


def content(client, ref):
    return json.loads(bytes(client.snippet_get(ref).content))


def figures(client, name):
    return client.plugin_health(name)[0]


def heard(site, name="listener"):
    """The events that a plugin recorded, oldest first. The last line may be cut if it was killed."""
    path = site.data_dir / "plugins" / name / "heard"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def all_told(client, name="listener"):
    until(lambda: figures(client, name)["events_waiting"] == 0)


# Filters.


def test_filters_change_or_refuse_a_write_in_registry_order(site):
    rows = [add(site, name, FILTER % name[0], filtering()) for name in ("beta", "alpha")]
    with start(site, *rows) as client:
        made = str(client.snippet_create("page", "a", b'{"title":"A"}'))
        assert content(client, "a") == {"title": "A", "seen": "ba", "event": "snippet.create", "id": None}
        client.snippet_update("a", b'{"more":1}')
        assert content(client, "a") == {
            "title": "A", "seen": "baba", "more": 1, "event": "snippet.update", "id": made, "based_on": 1,
        }  # fmt: skip
        with pytest.raises(Invalid, match="the title is empty"):
            client.snippet_update("a", b'{"title":""}')
        assert client.snippet_get("a").version == 2
        ended = site.reed("snippet", "create", "page", '{"title": ""}')
        assert ended.returncode == 1
        assert "plugin beta refuses it: the title is empty" in ended.stderr
        with pytest.raises(Invalid, match=r"\$\.title: 5 is not of type"):
            client.snippet_create("page", "b", b'{"title":5}')
    site.no_tracebacks()


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ("loop", CallError, r"plugin seo, action check: .*time limit"),
        ("lie", CallError, r"plugin seo, action check: .*'score'"),
        ("fail", CallError, r"plugin seo, action check: .*no idea"),
    ],
)
def test_a_filter_that_fails_refuses_the_write_or_is_skipped(site, asked, error, message):
    rows = [add(site, "seo", FILTER % "s", filtering())]
    with start(site, *rows) as client:
        with pytest.raises(error, match=message):
            client.snippet_create("page", "a", json.dumps({"title": "A", asked: True}).encode())
        client.snippet_create("page", "a", b'{"title":"A"}')
        site.add_lua_plugin("seo", MAIN % ("seo", FILTER % "s"), filtering("{action: check, on_failure: pass}"))
        client.plugin_reload()
        client.plugin_start("seo")
        client.snippet_create("page", "b", json.dumps({"title": "B", asked: True}).encode())
        assert content(client, "b") == {"title": "B", asked: True}
    assert "seo: its filter of snippet.create is skipped" in site.log.read_text()
    site.no_tracebacks()


def test_the_filter_of_a_stopped_or_hung_plugin(site):
    rows = [add(site, "seo", FILTER % "s", filtering("{action: check, timeout: 100ms}"))]
    with start(site, *rows) as client:
        client.plugin_stop("seo")
        with pytest.raises(PluginOffline, match=r"plugin seo, action check: .* is stopped; reed plugin start seo"):
            client.snippet_create("page", "a", b'{"title":"A"}')
        client.plugin_start("seo")
        os.kill(figures(client, "seo")["pid"], signal.SIGSTOP)
        with pytest.raises(PluginTimeout, match=r"0\.1 s"):
            client.snippet_create("page", "a", b'{"title":"A"}')
        os.kill(figures(client, "seo")["pid"], signal.SIGCONT)
        client.snippet_create("page", "a", b'{"title":"A"}')
        site.set_rows()
        client.plugin_reload()
        until(lambda: client.plugin_list() == [])
        client.snippet_update("a", b'{"title":""}')
    site.no_tracebacks()


def test_forbidden_filter_responses(site):
    row = add(site, "seo", FILTER % "s", filtering(), permissions="snippet_read")
    with start(site, row) as client:
        with pytest.raises(CallError, match="snippet_write"):
            client.snippet_create("page", "a", b'{"title":"A"}')
        client.snippet_create("page", "a", b'{"title":"A","nothing":true}')
        with pytest.raises(Invalid, match="seo"):
            client.snippet_create("page", "b", b'{"title":""}')
    site.no_tracebacks()


def test_a_plugins_own_writes_skip_its_filter(site):
    code = FILTER % "s" + 'plugin.action("make", function() return reed.snippet.create("page", "", {title = ""}) end)\n'
    manifest = filtering().replace("limits", "  make: {command_id: 2}\nlimits")
    with start(site, add(site, "seo", code, manifest)) as client:
        client.plugin_start("seo")
        made = client.plugin_send("seo", "make", 1).body.decode().strip('"')
        assert content(client, made) == {"title": ""}


# Events.


def test_events_are_ordered_and_retried_after_a_failure(site):
    with start(site, add(site, "listener", LISTENER, LISTENS)) as client:
        made = str(client.snippet_create("page", "fail", b"{}"))
        client.snippet_update("fail", b'{"title":"A"}')
        client.snippet_delete("fail")
        all_told(client)
        events = heard(site)
        assert [(event["event"], event["version"]) for event in events] == [
            ("snippet.created", 1), ("snippet.updated", 2), ("snippet.deleted", 2),
        ]  # fmt: skip
        assert {(event["snippet_id"], event["type"], event["name"]) for event in events} == {(made, "page", "fail")}
        assert sorted(event["id"] for event in events) == [event["id"] for event in events]
        assert abs(events[0]["time"] / 1e6 - time.time()) < 60
        assert set(events[0]) == {"id", "event", "type", "name", "snippet_id", "version", "time"}
        client.snippet_create("page", "own", b"{}")
        client.plugin_send("listener", "mark", "own")
        client.snippet_create("page", "last", b"{}")
        all_told(client)
        assert [event["name"] for event in heard(site)[3:]] == ["own", "last"], "its own change is none for it"
    assert "event 1 (snippet.created fail) failed, try 1 of 10: " in site.log.read_text()
    site.no_tracebacks()


def test_events_wait_for_a_stopped_plugin_and_are_dropped_for_a_removed_one(site):
    rows = [add(site, name, LISTENER, LISTENS, auto_start=False) for name in ("listener", "other")]
    with start(site, *rows) as client:
        for number in range(20):
            client.snippet_create("page", f"n{number}", b"{}")
        assert figures(client, "listener")["events_waiting"] == 20
        site.set_rows(rows[0])
        client.plugin_reload()
        until(lambda: client.stats()["store"]["events"] == 20)
    assert site.stop() == 0
    site.start()
    with Client(site.socket_path) as client:
        client.plugin_start("listener")
        all_told(client)
        assert [event["name"] for event in heard(site)] == [f"n{number}" for number in range(20)]
    assert "other: removed from the registry; its 20 events are dropped" in site.log.read_text()
    site.no_tracebacks()


def test_a_changed_row_loses_no_event(site):
    row = add(site, "listener", LISTENER, LISTENS, auto_start=False)
    with start(site, row) as client:
        client.snippet_create("page", "a", b"{}")
        site.set_rows(row.replace("snippet_read", "search_read,snippet_read"))
        client.plugin_reload()
        client.snippet_create("page", "b", b"{}")
        client.plugin_start("listener")
        all_told(client)
        assert [event["name"] for event in heard(site)] == ["a", "b"]


def test_a_crash_during_an_event_repeats_it_with_the_same_id(site):
    with start(site, add(site, "listener", LISTENER, LISTENS)) as client:
        client.plugin_start("listener")
        client.snippet_create("page", "a", b"{}")
        all_told(client)
        os.kill(figures(client, "listener")["pid"], signal.SIGSTOP)
        client.snippet_create("page", "b", b"{}")
        client.snippet_create("page", "c", b"{}")
        os.kill(figures(client, "listener")["pid"], signal.SIGKILL)
        all_told(client)
        assert [event["name"] for event in heard(site)] == ["a", "b", "c"]
    site.no_tracebacks()


def test_events_need_the_permission_to_read(site):
    with start(site, add(site, "listener", LISTENER, LISTENS, permissions="search_read")) as client:
        client.snippet_create("page", "a", b"{}")
        now = figures(client, "listener")
        assert now["events_waiting"] == 0
        assert "snippet_read" in now["events_parked"]


def test_the_event_queue_is_bounded_and_reports_losses(site):
    site.config.write_text("limits: {queued_events: 5}\n")
    with start(site, add(site, "listener", LISTENER, LISTENS, auto_start=False)) as client:
        for number in range(12):
            client.snippet_create("page", f"n{number}", b"{}")
        assert figures(client, "listener")["events_waiting"] == 5
        client.plugin_start("listener")
        all_told(client)
        events = heard(site)
        assert [event["name"] for event in events] == [f"n{number}" for number in range(7, 12)]
        assert [event.get("lost") for event in events] == [7, None, None, None, None]


@pytest.mark.parametrize("seed", range(2))
def test_every_acknowledged_write_is_delivered_after_kill_9(site, seed):
    rng = random.Random(seed)
    client = start(site, add(site, "listener", LISTENER, LISTENS))
    acknowledged = []
    for round_ in range(3):
        client.plugin_start("listener")
        for number in range(rng.randrange(20, 120)):
            acknowledged.append(str(client.snippet_create("page", f"r{round_}-{number}", b"{}")))
            if rng.random() < 0.02 and (pid := figures(client, "listener")["pid"]):
                os.kill(pid, signal.SIGKILL)
        site.kill()
        client.close()
        site.start()
        client = Client(site.socket_path)
    with client:
        client.plugin_start("listener")
        all_told(client)
    ids = {}
    for event in heard(site):
        assert ids.setdefault(event["id"], event["snippet_id"]) == event["snippet_id"]
    assert [ids[number] for number in sorted(ids)] == acknowledged
    site.no_tracebacks()


def test_a_deletion_carries_content_and_bonds_after_kill_9(site):
    """Bonds only for a plugin that may read them."""
    rights = "snippet_read,file_write"
    rows = [
        add(site, "listener", LISTENER, LISTENS, permissions=f"{rights},schema_read", auto_start=False),
        add(site, "other", LISTENER, LISTENS, permissions=rights, auto_start=False),
    ]
    client = start(site, *rows)
    ids = [str(client.snippet_create("page", name, b'{"title":"%s"}' % name.encode())) for name in ("a", "b")]
    bond = str(client.schema_bond("a", "b", 3, "x"))
    client.snippet_delete("a", cascade=True)
    site.kill()
    client.close()
    site.start()
    with Client(site.socket_path) as client:
        for name in ("listener", "other"):
            client.plugin_start(name)
            all_told(client, name)
    last = heard(site)[-1]
    assert (last["event"], last["name"], last["content"]) == ("snippet.deleted", "a", {"title": "a"})
    assert last["bonds"] == [{"id": bond, "parent": ids[0], "child": ids[1], "weight": 3, "path": "x"}]
    del last["bonds"]
    assert heard(site, "other")[-1].keys() == last.keys()
    assert heard(site, "other")[-1]["content"] == {"title": "a"}
    site.no_tracebacks()


def fill(client, acknowledged):
    for number in range(100_000):
        acknowledged.append(str(client.snippet_create("page", f"n{number}", b'{"x":"%s"}' % (b"x" * 2000))))


def test_every_acknowledged_write_is_delivered_after_a_full_disk(site):
    site.data_dir.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", site.data_dir], check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        row = add(site, "listener", LISTENER, LISTENS, auto_start=False)
        with start(site, row) as client:
            (site.data_dir / "ballast").write_bytes(bytes(1024 * 1024))
            acknowledged = []
            with pytest.raises(StoreFull):
                fill(client, acknowledged)
            (site.data_dir / "ballast").unlink()
            client.plugin_start("listener")
            all_told(client)
            assert [event["snippet_id"] for event in heard(site)] == acknowledged
        assert site.stop() == 0
        site.no_tracebacks()
    finally:
        if site.process and site.process.poll() is None:
            site.kill()
        subprocess.run(["umount", "--lazy", site.data_dir], check=False)
