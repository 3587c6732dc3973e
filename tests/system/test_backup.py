"""The plugin backup: a snapshot that `reed import` restores, and snapshots triggered by messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reed.client import Client
from reed.store.contents import MAX_CONTENT

CONTRIB = Path(__file__).parents[2] / "contrib/plugins"
ROW = (
    'backup,lua,{},1.0.0,"snippet_read,registry_read,schema_read,file_write","admin",true,Backup',
    'teller,lua,{},1.0.0,"","admin",true,Tells backup',
)
TELLER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "teller", version = "1.0.0" }
plugin.action("tell", function()
  return plugin.request("backup", reed.messages.CONTENT_ANALYZED, { words = 3 }, 10) or "done"
end)
plugin.run()
"""
CONTENTS = (
    b'{"title":"A","tags":[],"more":{},"nothing":null,"deep":{"list":[1,2.5,[],{}]}}',
    '{"title":"Ümlaut “quotes” \\u0001 \\n","n":-12345678901}'.encode(),
    b'{"title":"with <b> & \\"quotes\\"","yes":true}',
    b'{"n":18446744073709551615,"f":0.1000000000000000055511151231257827,"e":[1E2,-0,1.50],"z":1,"a":2}',
    b'{"n":' + b"7" * 400 + b"}",
    b'{"a":' * 63 + b"[]" + b"}" * 63,
    b'{\n  "laid": "out"\n}',
    b'{"long":"' + b"x" * 6_000_000 + b'"}',
    b'{"longest":"' + b"\\u0041" * ((MAX_CONTENT - 14) // 6) + b'"}',
)


@pytest.fixture
def second_site(site):
    """The folders of another core."""
    second = type(site)(site.root.parent / "second")
    yield second
    if second.process is not None:
        second.stop()


def everything(core: Client) -> list[object]:
    """All stored content, byte by byte."""
    return [core.registry_list(), list(core.snippets()), core.schema_tree()]


def test_import_restores_a_snapshot(site, second_site) -> None:
    site.set_rows(*ROW)
    site.add_lua_plugin("teller", TELLER, "actions:\n  tell: {command_id: 1, input: json}\n")
    site.config.write_text("plugins:\n  backup:\n    settings: {after: 2, keep: 2, page: 2}\n")
    site.start(f"--plugin-dir={CONTRIB}")
    with Client(site.socket_path) as core:
        core.registry_define(
            "page", b'{"schema":{"type":"object","properties":{"title":{"type":"string"}}}, "description": "kept"}'
        )
        ids = [core.snippet_create("page", name, content) for content, name in zip(CONTENTS, "abcdefghi", strict=True)]
        for number in range(20):
            core.snippet_create("page", "", {"n": number})
        core.schema_bond(ids[0], ids[1], 2)
        core.schema_bond(ids[0], ids[2], 1)
        before = everything(core)
        sent = site.reed("plugin", "send", "backup", "snapshot", "{}")
        assert sent.returncode == 0, sent.stderr
        taken = json.loads(sent.stdout)
        assert (taken["types"], taken["snippets"], taken["bonds"]) == (1, 29, 2)
        assert taken["skipped"] == []
    (path,) = Path(site.data_dir).rglob(taken["file"])
    other = second_site.start()
    restored = other.reed("import", str(path))
    assert restored.returncode == 0, restored.stderr
    with Client(other.socket_path) as core:
        assert everything(core) == before
        again = other.reed("import", str(path), "--json")
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["unchanged"] == 29
        assert everything(core) == before
    site.no_tracebacks()


def test_messages_trigger_a_snapshot(site) -> None:
    site.set_rows(*ROW)
    site.add_lua_plugin("teller", TELLER, "actions:\n  tell: {command_id: 1, input: json}\n")
    site.config.write_text("plugins:\n  backup:\n    settings: {after: 2, keep: 2}\n")
    site.start(f"--plugin-dir={CONTRIB}")
    for told, there in ((1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)):
        answer = site.reed("plugin", "send", "teller", "tell", "{}")
        assert answer.returncode == 0, answer.stderr
        listed = json.loads(site.reed("plugin", "send", "backup", "list", "{}").stdout)
        assert len(listed["snapshots"]) == there, told
        assert listed["changes"] == told % 2
    site.no_tracebacks()
