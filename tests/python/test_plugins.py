"""Python plugins in a real core: actions, content, hooks, messages, libraries, settings, reload."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from reed.client import Client
from reed.errors import CallError, Invalid
from reed.sandbox import landlock
from reed.sandbox.kernel import Kernel
from reed.testing.site import Core
from tests.python.site import log_of, start, write_plugin

CONTENT = """
from typing import Any


@plugin.on_start
def begin():
    reed.snippet.create("page", "started", {"title": "on_start"})


@plugin.action("run")
def run(payload, data):
    return globals()[data]()




def nothing():
    return None


def crud():
    first = reed.snippet.create("page", "first", {"title": "First", "old": 1})
    reed.snippet.update("first", {"title": "Second", "old": None}, 1)
    reed.snippet.rename("first", "second")
    found = reed.snippet.get(first)
    child = reed.snippet.create("page", "", '{"title": "Child"}')
    bond = reed.schema.bond(first, child, 3, "intro")
    (tree,) = reed.schema.tree(first)
    answer = {
        "found": found._asdict() | {"created_at": 0, "updated_at": 0, "id": ""},
        "tree": [tree.name, tree.children[0].weight, tree.children[0].path],
        "unbond": reed.schema.unbond(first, child),
        "deleted": reed.snippet.delete(first) == first,
        "restored": reed.snippet.restore(found, accept_unfit=True).status,
        "types": sorted(reed.registry.list()),
        "define": [reed.registry.define("note", {}), reed.registry.define("note", {})],
        "definition": reed.registry.get("note"),
        "gone": reed.registry.delete("note"),
    }
    return answer


def many():
    with reed.batch() as batch:
        made = [batch.snippet.create("page", f"many/{n}", {"n": n % 2}) for n in range(250)]
    assert len({each.id for each in made}) == 250
    names = [each.name for each in reed.snippet.each(type="page") if each.name.startswith("many/")]
    odd = [each.name for each in reed.snippet.each(type="page", where={"n": 1}, limit=7)]
    page = reed.snippet.list(type="page", limit=3)
    found = reed.snippet.find("page", {"n": 1}, limit=2)
    lines = reed.snippet.lines(type="page", limit=2)
    return [names == [f"many/{n}" for n in range(250)], len(odd), len(page.snippets), len(found.snippets),
            lines.text.count(b"\\n"), len(lines.ids)]


def failing_batch():
    try:
        with reed.batch() as batch:
            good = batch.snippet.create("page", "good", {})
            batch.snippet.update("nowhere", {})
            bad = batch.snippet.create("page", "good", {})
    except plugin.Error as error:
        return [str(error), error.failed, good.id == reed.snippet.get("good").id, bad.error["index"], bad.id]


def raising_batch():
    try:
        with reed.batch() as batch:
            pending = batch.snippet.create("page", "never", {})
            raise KeyError("changed my mind")
    except KeyError:
        pass
    found = []
    for attempt in (lambda: reed.snippet.get("never"), lambda: pending.id, batch_in_batch, write_in_batch):
        try:
            attempt()
        except plugin.Error as error:
            found.append(str(error))
    return found


def batch_in_batch():
    with reed.batch():
        with reed.batch():
            pass


def write_in_batch():
    with reed.batch():
        reed.snippet.create("page", "", {})


def search():
    reed.snippet.create("page", "fish", {"title": "A herring"})
    page = reed.search.query("herring", type="page")
    return [page.total, page.hits[0].name, reed.search.index("fish")]


def forbidden():
    plugin.log.info({"about": "to fail"})
    reed.schema.tree("nowhere")


def status():
    return Answer({"made": True}, 201)


def fail():
    raise plugin.Error("no tea", code=30002, hint="try coffee")
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    site = Core(tmp_path_factory.mktemp("plugins"))
    write_plugin(site.plugins / "content", CONTENT, "actions: {run: {command_id: 1}}\n")
    permissions = "snippet_read snippet_write snippet_restore schema_read schema_write registry_read registry_write"
    client = start(site, content=f"{permissions} search_read search_write")
    client.registry_define("page", b'{"searchable": {"title": 1}, "indexed": ["n"]}')
    client.plugin_start("content")
    yield client
    site.stop()


def run(client: Client, function: str) -> object:
    return json.loads(client.plugin_send("content", "run", function).body)


def test_on_start_may_write(client: Client) -> None:
    run(client, "nothing")  # on_start has ended before the first call
    assert json.loads(client.snippet_get("started").content) == {"title": "on_start"}


def test_every_function_of_content(client: Client) -> None:
    assert run(client, "crud") == {
        "found": {
            "id": "",
            "type": "page",
            "name": "second",
            "version": 3,
            "created_at": 0,
            "updated_at": 0,
            "content": {"title": "Second"},
        },
        "tree": ["second", 3, "intro"],
        "restored": 201,
        "unbond": True,
        "deleted": True,
        "types": ["page"],
        "define": [True, False],
        "definition": {},
        "gone": True,
    }


def test_many_reads_and_writes(client: Client) -> None:
    assert run(client, "many") == [True, 125, 3, 2, 2, 2]


def test_a_batch_names_its_failures_and_the_others_hold(client: Client) -> None:
    text, failed, holds, index, no_id = run(client, "failing_batch")  # type: ignore[misc]
    assert "2 of the 3 writes of the batch failed, the others hold: write 2 (snippet.update): " in text
    assert [(each["index"], each["command"], each["status"]) for each in failed] == [
        (2, "snippet.update", 404),
        (3, "snippet.create", 409),
    ]
    assert (holds, index, no_id) == (True, 3, "")


def test_a_batch_that_raises_sends_nothing(client: Client) -> None:
    missing, early, nested, direct = run(client, "raising_batch")  # type: ignore[misc]
    assert "404" in missing
    assert "has not been sent" in early
    assert "a batch within a batch" in nested
    assert "call batch.snippet.create" in direct


def test_search(client: Client) -> None:
    assert run(client, "search") == [1, "fish", 1]


def test_statuses_and_errors(client: Client) -> None:
    answer = client.plugin_send("content", "run", "status")
    assert (answer.status, answer.body) == (201, b'{"made":true}')
    with pytest.raises(CallError) as failed:
        client.plugin_send("content", "run", "fail")
    assert (failed.value.status, failed.value.error_code) == (409, 30002)
    assert "no tea; try coffee" in failed.value.message
    with pytest.raises(CallError) as failed:
        client.plugin_send("content", "run", "forbidden")
    assert failed.value.status == 500
    assert "main.py:" in failed.value.message
    assert 'info: {"about":"to fail"}' in log_of(client, "content")


HOOKS = """
@plugin.on_filter("snippet.create")
def check(event):
    if "title" not in event["content"]:
        return {"refuse": ["a page needs a title"]}
    return {"content": {**event["content"], "checked": True}}


@plugin.on_event("snippet.created")
@plugin.on_event("snippet.deleted")
def changed(event):
    reed.log.info("%s %s", event["event"], event["name"])


@plugin.on_message(0x20)
def double(data, source, message_type):
    if data["n"] < 0:
        raise plugin.Error("negative", status=422)
    return {"doubled": data["n"] * 2, "from": source, "type": message_type}


@plugin.on_signal
def heard(signal_type, data):
    if signal_type == reed.signals.RELOAD_CONFIG:
        reed.log.info("settings %s", reed.settings)


@plugin.action("settings")
def settings(payload, data):
    return reed.settings


@plugin.action("raw")
def raw(payload, data):
    return payload[::-1] if data is None else "decoded"


@plugin.action("asks")
def asks(payload, data):
    assert plugin.send_message("lua-peer", 0x21, data) is True
    return plugin.request("lua-peer", 0x21, data, 5)
"""
LUA = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "lua-peer" }
plugin.action("ask", function(text) return plugin.request("hooks", 0x20, text) end)
plugin.on_message(0x21, function(text, source) return { heard = json.decode(text).word, from = source } end)
plugin.run()
"""


def test_hooks_messages_and_settings(site: Core) -> None:
    manifest = """
    actions:
      check: {command_id: 1}
      changed: {command_id: 2}
      settings: {command_id: 3}
      raw: {command_id: 4, input: bytes}
      asks: {command_id: 5}
    filters: {snippet.create: check}
    events: {snippet.created: changed, snippet.deleted: changed}
    settings: {words: 200, greeting: Hello}
    """
    folder = write_plugin(site.plugins / "hooks", HOOKS, manifest)
    peer = site.plugins / "lua-peer"
    peer.mkdir()
    (peer / "main.lua").write_text(LUA)
    (peer / "plugin.yaml").write_text("name: lua-peer\nversion: 1.0.0\nactions: {ask: {command_id: 1}}\n")
    site.config.write_text("plugins: {hooks: {settings: {greeting: Hi}}}\n")
    with start(site, hooks="snippet_read snippet_write", lua_peer="snippet_read") as client:
        client.registry_define("page", b"{}")
        client.plugin_start("hooks")
        client.plugin_start("lua-peer")
        settings = client.plugin_send("hooks", "settings", None).body
        assert json.loads(settings) == {"greeting": "Hi", "words": 200}
        assert client.plugin_send("hooks", "raw", b"12").body == b"21"
        with pytest.raises(Invalid, match="a page needs a title"):
            client.snippet_create("page", "bad", b"{}")
        client.snippet_create("page", "good", b'{"title": "T"}')
        assert json.loads(client.snippet_get("good").content)["checked"] is True
        answer = client.plugin_send("lua-peer", "ask", {"n": 21})
        assert json.loads(answer.body) == {"doubled": 42, "from": "lua-peer", "type": 0x20}
        with pytest.raises(CallError, match="negative"):
            client.plugin_send("lua-peer", "ask", {"n": -1})
        assert json.loads(client.plugin_send("hooks", "asks", {"word": "x"}).body) == {"heard": "x", "from": "hooks"}
        client.snippet_delete("good")
        before = client.plugin_health("hooks")[0]["pid"]
        code = (folder / "main.py").read_text()
        (folder / "main.py").write_text(code.replace("return reed.settings", "return 'new code'"))
        client.plugin_stop("hooks")
        client.plugin_start("hooks")
        assert client.plugin_send("hooks", "settings", None).body == b"new code"
        assert client.plugin_health("hooks")[0]["pid"] != before
        log = log_of(client, "hooks")
        assert "info: snippet.created good" in log
        assert "info: snippet.deleted good" in log


def test_a_plugin_has_libraries_of_its_own_and_those_of_the_core(site: Core) -> None:
    code = """
    import jsonschema_rs
    import helper
    import rare

    @plugin.action("where")
    def where(payload, data):
        return [rare.NAME, helper.NAME, jsonschema_rs.__name__]
    """
    files = {"lib__rare_py": "NAME = 'in lib'\n", "helper_py": "NAME = 'beside main.py'\n"}
    write_plugin(site.plugins / "user", code, "actions: {where: {command_id: 1}}\n", **files)
    with start(site) as client:
        client.plugin_start("user")
        answer = client.plugin_send("user", "where", None)
        assert json.loads(answer.body) == ["in lib", "beside main.py", "jsonschema_rs"]


@pytest.mark.skipif(not landlock.abi(Kernel()), reason="this kernel lacks Landlock")
def test_it_writes_only_to_its_data_folder(site: Core) -> None:
    code = """
    @plugin.action("write")
    def write(payload, data):
        (plugin.data_dir / "note").write_text("kept")
        found = [(plugin.data_dir / "note").read_text()]
        try:
            (plugin.plugin_dir / "note").write_text("x")
        except PermissionError as error:
            found.append(error.strerror)
        return found
    """
    write_plugin(site.plugins / "writer", code, "actions: {write: {command_id: 1}}\n")
    with start(site, writer="file_write") as client:
        client.plugin_start("writer")
        assert json.loads(client.plugin_send("writer", "write", None).body) == ["kept", "Permission denied"]
        assert (site.data_dir / "plugins/writer/note").read_text() == "kept"


def test_it_outlives_the_core(site: Core) -> None:
    code = """
    calls = []

    @plugin.action("count")
    def count(payload, data):
        calls.append(1)
        return len(calls)
    """
    write_plugin(site.plugins / "counter", code, "actions: {count: {command_id: 1}}\n")
    with start(site) as client:
        client.plugin_start("counter")
        assert client.plugin_send("counter", "count", None).body == b"1"
    site.kill()
    site.start()
    with site.client() as client:
        assert client.plugin_send("counter", "count", None).body == b"2", "the same process"
