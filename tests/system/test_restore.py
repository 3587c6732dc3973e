"""Restore needs its own permission: it skips filters and types, and sets versions and times."""

from __future__ import annotations

import json

import pytest

from reed.client import Client
from reed.errors import CallError

OLD = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "NAME", version = "1.0.0" }
plugin.action("restore", function(payload)
  local record = json.decode(payload)
  local status, warning = reed.snippet.restore(record, { accept_unfit = true })
  return { status = status, warning = warning }
end)
plugin.run()
"""


@pytest.fixture
def core(site):
    site.set_rows(
        'writer,lua,{},1.0.0,"snippet_read,snippet_write","admin",true,Writes',
        'restorer,lua,{},1.0.0,"snippet_restore","admin",true,Restores',
    )
    for name in ("writer", "restorer"):
        site.add_lua_plugin(name, MAIN.replace("NAME", name), "actions:\n  restore: {command_id: 1}\n")
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", {"schema": {"required": ["title"]}})
        yield client


def test_snippet_write_does_not_allow_restore(core, site) -> None:
    record = {
        "id": OLD, "type": "page", "name": "old", "version": 5,
        "created_at": 1_700_000_000_000_000, "updated_at": 1_700_000_000_000_001, "content": {"n": 1},
    }  # fmt: skip
    with pytest.raises(CallError, match="snippet_restore"):
        core.plugin_send("writer", "restore", record)
    assert list(core.snippets()) == []
    done = json.loads(core.plugin_send("restorer", "restore", record).body)
    assert (done["status"], "title" in done["warning"]) == (201, True)
    kept = core.snippet_get("old")
    assert (kept.id, kept.version, kept.updated_at, kept.content) == (OLD, 5, 1_700_000_000_000_001, b'{"n":1}')
    assert json.loads(core.plugin_send("restorer", "restore", record).body)["status"] == 200
    site.no_tracebacks()
