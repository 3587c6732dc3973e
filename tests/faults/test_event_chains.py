"""Plugins that write in reaction to each other's events are slowed down and named; others are not."""

from __future__ import annotations

import json

import pytest

from reed.client import Client

EVENTS = "actions:\n  hear: {command_id: 1}\n  write: {command_id: 2}\nevents: {snippet.updated: hear}\n"
WRITES = "snippet_read,snippet_write,plugin_send"
# Counts its events, and writes into the same snippet.
REACTS = """
local heard = 0
plugin.action("hear", function(text)
    heard = heard + 1
    reed.snippet.update(json.decode(text).snippet_id, {["%s"] = heard})
end)
plugin.action("write", function() return heard end)
"""
# Has another plugin write, and gets an event of that change, since it is not its own.
HAS_WRITTEN = """
def hear(event):
    ref = json.dumps(event["snippet_id"]).encode()
    send(0xF7, struct.pack("<32s32sI", b"writer", b"write", len(ref)) + ref)
    while not receive()[1] & 8:
        pass
main(hear)
"""
WRITER = """
local written = 0
plugin.action("write", function(text)
    written = written + 1
    reed.snippet.update(json.decode(text), {writer = written})
end)
"""
# Hears everything and writes nothing.
LISTENS = """
local heard = 0
plugin.action("hear", function() heard = heard + 1 end)
plugin.action("write", function() return heard end)
"""


def version(client: Client) -> int:
    return client.snippet_get("loop").version


def slowed(client: Client, name: str) -> str:
    return str(client.plugin_health(name)[0]["events_slowed"])


def starts(ground, client: Client) -> None:
    client.snippet_create("page", "loop", b"{}")
    client.snippet_update("loop", b'{"begin":1}')


@pytest.mark.parametrize("count", [2, 3])
def test_plugins_that_react_to_each_other_are_slowed_down_and_named(ground, count) -> None:
    names = ["ping", "pong", "pang"][:count]
    for name in names:
        ground.lua(name, REACTS % name, EVENTS, WRITES)
    ground.lua("listener", LISTENS, EVENTS)
    client = ground.start()
    with ground.fault(f"{count} plugins react to each other's events", "slowed down and named") as fault:
        starts(ground, client)
        ground.until(lambda: all(slowed(client, name) for name in names))
        fault.injected(count)
        for name in names:
            named = [other for other in names if other in slowed(client, name)]
            assert name in named
            assert len(named) >= 2, "no chain of at least two plugins"
        ground.until(lambda: "the next event waits 0.1 s" in " ".join(slowed(client, name) for name in names))
        before = version(client)
        assert before < 500, "there was no delay: hundreds of versions a second"
        assert slowed(client, "listener") == ""
        client.snippet_create("page", "other", b"{}")
        client.snippet_update("other", b'{"a":1}')
    log = ground.site.log.read_text()
    warnings = [line for line in log.splitlines() if "the next event waits" in line]
    assert 1 <= len(warnings) <= count
    assert all(any(name in line for line in warnings) for name in names)
    status = ground.site.reed("plugin", "status", names[0], "--json")
    assert "the next event waits" in status.stdout
    ground.until(lambda: json.loads(bytes(client.plugin_send("listener", "write", None).body)) >= before)


def test_a_chain_through_a_call_of_another_plugin_is_noticed(ground) -> None:
    ground.config = "sandbox: off\n"
    ground.native("asker", HAS_WRITTEN, WRITES)
    with (ground.site.root / "plugins" / "asker" / "plugin.yaml").open("a") as manifest:
        manifest.write("events: {snippet.updated: do}\n")
    ground.lua("writer", WRITER, "actions: {write: {command_id: 1}}\n", WRITES)
    client = ground.start()
    with ground.fault("a plugin reacts to a change that it caused through another", "slowed down, both named") as fault:
        starts(ground, client)
        ground.until(lambda: slowed(client, "asker"))
        assert "asker, writer" in slowed(client, "asker")
        fault.injected()


def test_reactions_that_settle_are_not_slowed_down(ground, times) -> None:
    """A reaction that ends after a write or two is no loop, however often it happens."""
    settles = """
plugin.action("hear", function(text)
    local event = json.decode(text)
    local content = reed.snippet.get(event.snippet_id).content
    if not content["%s"] then reed.snippet.update(event.snippet_id, {["%s"] = true}) end
end)
"""
    events = "actions: {hear: {command_id: 1}}\nevents: {snippet.created: hear, snippet.updated: hear}\n"
    for name in ("left", "right"):
        ground.lua(name, settles % (name, name), events, WRITES)
    client = ground.start()
    count = times(100, 2000)
    for number in range(count):
        client.snippet_create("page", f"page/{number}", b"{}")
    last = f"page/{count - 1}"
    ground.until(
        lambda: (
            b"left" in bytes(client.snippet_get(last).content) and b"right" in bytes(client.snippet_get(last).content)
        )
    )
    assert slowed(client, "left") == slowed(client, "right") == ""
