"""Lua plugins on a real core: on_start, decoded inputs, errors with a table, each, and batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import reed.testing
from reed.client import Client
from reed.errors import CallError, ErrorCode
from reed.wire.plugins import PluginAnswer
from tests.waiting import until

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "many", version = "1.0.0" }\n'
PERMISSIONS = [
    "snippet_read",
    "snippet_write",
    "snippet_restore",
    "schema_read",
    "schema_write",
    "registry_read",
    "registry_write",
]

Run = Callable[[str], AbstractContextManager[tuple[Client, Callable[..., Any]]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a core with a plugin of this code, whose action is `try`; gives a client and the call of that action."""

    @contextmanager
    def running(code: str, manifest: str = "") -> Iterator[tuple[Client, Callable[..., Any]]]:
        folder = tmp_path / "many"
        folder.mkdir()
        (folder / "plugin.yaml").write_text(
            f"name: many\nversion: 1.0.0\nactions:\n  try: {{command_id: 1{manifest}}}\n"
        )
        (folder / "main.lua").write_text(f"{OPEN}{code}\nplugin.run()\n")
        with reed.testing.core(tmp_path / "site", plugins={folder: PERMISSIONS}) as core:
            client = core.client()
            client.registry_define("page", {"schema": {"properties": {"title": {"type": "string"}}}})
            yield client, lambda value=None: _value(client.plugin_send("many", "try", value))

    return running


def _value(answer: PluginAnswer) -> Any:
    return json.loads(bytes(answer.body))


def handler(body: str, parameters: str = "payload, input") -> str:
    return f'plugin.action("try", function({parameters})\n{body}\nend)'


def fill(client: Client, count: int) -> None:
    for number in range(count):
        client.snippet_create("page", f"p/{number}", {"title": f"{number}", "even": number % 2 == 0})


# on_start


def test_on_start_runs_once_before_the_first_call(run: Run) -> None:
    code = """
    local starts = 0
    plugin.on_start(function()
      starts = starts + 1
      if not pcall(reed.snippet.get, "made") then
        reed.registry.define("note", { schema = { type = "object" } })
        reed.snippet.create("note", "made", { by = "on_start" })
      end
    end)
    """ + handler("return { starts, reed.snippet.get('made').content.by }")
    with run(code) as (client, call):
        assert call() == [1, "on_start"]
        assert call() == [1, "on_start"]
        client.plugin_stop("many")
        client.plugin_start("many")
        assert call() == [1, "on_start"]


def test_a_plugin_whose_on_start_fails_ends(run: Run, tmp_path: Path) -> None:
    code = """
    plugin.on_start(function()
      if reed.settings.broken then reed.fail(409, "no template") end
    end)
    """ + handler("return true")
    with run(code) as (client, call):
        assert call() is True
        main = tmp_path / "many" / "main.lua"
        main.write_text(main.read_text().replace("reed.settings.broken", "true"))
        client.plugin_reload("many")  # it is READY before
        until(lambda: "on_start: no template (409)" in (tmp_path / "site" / "data" / "logs" / "many.log").read_text())


def test_main_lua_cannot_ask_the_core_and_says_where_to(run: Run) -> None:
    code = "local ok, failure = pcall(reed.snippet.get, 'x')\n" + handler("return { failure.message }")
    with run(code) as (_, call):
        assert "plugin.on_start(fn)" in call()[0]


# Decoded inputs


def test_a_handler_gets_the_decoded_input(run: Run) -> None:
    with run(handler("return { type(payload), input and input.a[1] or type(input) }")) as (_, call):
        assert call({"a": [5]}) == ["string", 5]


def test_no_decoded_input_for_bytes(run: Run) -> None:
    with run(handler("return { payload, input == nil }"), ", input: bytes") as (_, call):
        assert call(b'{"a":1}') == ['{"a":1}', True]


def test_a_field_of_the_undecoded_payload_is_an_error(run: Run) -> None:
    code = handler(
        """
        if input.how == 1 then return { ("x").title == nil, payload.title } end
        return payload.title.x"""
    )
    with run(code) as (_, call):
        for how, line in ((1, 5), (2, 6)):
            message = rf"main.lua:{line}: the payload is a text and has no field 'title'.*second argument"
            with pytest.raises(CallError, match=message):
                call({"how": how})


# Errors with a table


RAISED = [
    ("{ status = 422, message = 'no title' }", 422, ErrorCode.ERR_INVALID, "no title"),
    ("{ code = 404, message = 'none', hint = 'make one' }", 404, ErrorCode.ERR_NOT_FOUND, "none; make one"),
    ("{ code = 30002, message = 'taken' }", 409, ErrorCode.ERR_CONFLICT, "taken"),
    ("{ code = 77, status = 418, message = 'mine' }", 418, 77, "mine"),
    ("{ code = 77, message = 'mine' }", 500, 77, "mine"),
    ("{ a = 1, b = 2 }", 500, ErrorCode.ERR_INTERNAL, "error value is a table with the fields a, b; expected"),
    ("{ code = 'E_BAD', message = 'text' }", 500, ErrorCode.ERR_INTERNAL, "text"),
]


def test_an_error_with_a_table_is_the_answer(run: Run, tmp_path: Path) -> None:
    with run(handler('error(load("return " .. input)())')) as (_, call):
        for raised, status, code, message in RAISED:
            with pytest.raises(CallError) as failed:
                call(raised)
            assert (failed.value.status, failed.value.error_code) == (status, code)
            assert message in str(failed.value)
    log = (tmp_path / "site" / "data" / "logs" / "many.log").read_text()
    assert "error value is a table with the fields a, b; expected" in log
    assert "no title" not in log


# each


def test_each_goes_through_all_pages(run: Run) -> None:
    code = handler("local names = {} for s in reed.snippet.each(input) do names[#names + 1] = s.name end return names")
    with run(code) as (client, call):
        fill(client, 25)
        names = [f"p/{number}" for number in range(25)]
        assert call({"type": "page", "limit": 10}) == names
        assert call({"limit": 25}) == names
        assert call({"type": "page", "where": {"even": True}, "limit": 3}) == names[::2]
        assert call({"type": "page", "where": {"title": "none"}}) in ([], {})
        with pytest.raises(CallError, match="unknown option 'kind'"):
            call({"kind": "page"})
        with pytest.raises(CallError, match="`where` requires a `type`"):
            call({"where": {"even": True}})


def test_each_while_snippets_change(run: Run) -> None:
    code = handler(
        """
        local seen = {}
        for s in reed.snippet.each { limit = 2 } do
          seen[#seen + 1] = s.name
          if s.name == "p/0" then
            reed.snippet.delete("p/3")
            reed.snippet.create("page", "new", {})
          end
        end
        return seen"""
    )
    with run(code) as (client, call):
        fill(client, 5)
        assert call() == ["p/0", "p/1", "p/2", "p/4", "new"]


# batch


def test_a_batch_fills_its_handles_and_keeps_the_order(run: Run) -> None:
    code = handler(
        """
        local made, bonded, restored, gone, defined, before
        local answer = reed.batch(function()
          defined = reed.registry.define("note", { schema = {} })
          made = reed.snippet.create("note", "root", { n = 1 })
          reed.snippet.update("root", { n = 2 })
          reed.snippet.create("note", "child", {})
          bonded = reed.schema.bond("root", "child")
          gone = reed.snippet.rename("child", "kid")
          restored = reed.snippet.restore { id = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", type = "note",
            name = "old", version = 3, created_at = 1, updated_at = 2, content = {} }
          before = pcall(reed.snippet.get, "root")
          return made.id == nil
        end)
        return { answer, before, defined.result, made.id == made.result, type(bonded.id), restored.result,
          reed.snippet.get("root").content.n, #reed.schema.tree("root").children, gone.id }"""
    )
    with run(code) as (client, call):
        answer = call()
        assert answer[:8] == [True, False, True, True, "string", 201, 2, 1]
        assert str(client.snippet_get("kid").id) == answer[8]


def test_failed_writes_are_listed_and_the_others_hold(run: Run) -> None:
    code = handler(
        """
        local first, second
        local ok, failure = pcall(reed.batch, function()
          first = reed.snippet.create("page", "good", { title = "x" })
          second = reed.snippet.create("page", "bad", { title = 5 })
          reed.snippet.update("nowhere", { a = 1 })
          reed.snippet.create("page", "last", {})
        end)
        return { ok, tostring(failure), failure.failed, type(first.id), second.error.status }"""
    )
    with run(code) as (client, call):
        ok, text, failed, first, second = call()
        assert (ok, first, second) == (False, "string", 422)
        assert "2 of the 4 writes of the batch failed, the others hold: write 2 (snippet.create): " in text
        assert [(each["index"], each["command"], each["status"]) for each in failed] == [
            (2, "snippet.create", 422),
            (3, "snippet.update", 404),
        ]
        assert [client.snippet_get(name).semantic_name for name in ("good", "last")] == ["good", "last"]


def test_a_batch_whose_function_fails_sends_nothing(run: Run) -> None:
    code = handler(
        """
        if input == "again" then return { reed.snippet.create("page", "after", {}) } end
        if input == "nested" then reed.batch(function() reed.batch(print) end) end
        if input == "endless" then reed.batch(function() reed.snippet.create("page", "y", {}) while true do end end) end
        reed.batch(function()
          reed.snippet.create("page", "x", {})
          error("changed my mind")
        end)"""
    )
    with run(code) as (client, call):
        for value, message in (
            ("", "main.lua:10: changed my mind"),
            ("nested", "cannot contain another"),
            ("endless", "time limit"),
        ):
            with pytest.raises(CallError, match=message):
                call(value)
            assert call("again") is not None
            client.snippet_delete("after")
        assert not client.snippet_list("page").records


def test_a_batch_of_more_than_the_sockets_hold(run: Run) -> None:
    """The core answers while it is still sent to: neither side waits for the other."""
    code = handler(
        """
        local ok, failure = pcall(reed.batch, function()
          for i = 1, input do reed.snippet.create("page", "n/" .. i, { title = ("x"):rep(500) }) end
        end)
        return { ok or failure.message }"""
    )
    with run(code) as (client, call):
        assert call(8000) == [True]
        assert client.stats()["store"]["snippets"] == 8000
        assert "limits.memory" in call(20000)[0]


def test_batched_updates_are_faster_than_single_ones(run: Run) -> None:
    """Compared by commits, which a slow machine does not change."""
    code = handler(
        """
        local function all()
          for s in reed.snippet.each { type = "page" } do reed.snippet.update(s.id, { n = 1 }) end
        end
        if input == "batch" then reed.batch(all) else all() end"""
    )
    with run(code) as (client, call):
        fill(client, 300)

        def commits(how: str) -> int:
            before: int = client.stats()["store"]["commits"]
            call(how)
            return int(client.stats()["store"]["commits"]) - before

        single, batch = commits("single"), commits("batch")
        assert single >= 300
        assert batch * 3 < single
