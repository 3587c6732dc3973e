"""A Lua test plays the core and the other plugins, and sees what the plugin sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reed.lua import testing
from reed.own_tests import Case, Project

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "demo", version = "1.0.0" }
local cache, limit = {}, reed.settings.limit

plugin.action("publish", function(text)
  local asked = json.decode(text)
  local id = reed.snippet.create("page", asked.name, { title = asked.title })
  plugin.send_message("analytics", 0x21, { id = id })
  local answer = plugin.request("translator", 0x30, { text = asked.title }, 2)
  reed.snippet.update(id, { english = answer.text }, 1)
  plugin.send_signal(reed.signals.BUSY, "publishing")
  reed.log.warn("published %s", asked.name)
  return { id = id }
end)
plugin.action("check", function(text)
  local asked = json.decode(text)
  if asked.content.title == "" then return { refuse = { "a page needs a title" } } end
  if asked.content.title == "as it is" then return {} end
  asked.content.slug = asked.content.title:lower()
  return { content = asked.content }
end)
plugin.action("changed", function(text)
  local event = json.decode(text)
  cache[event.snippet_id] = event.version
  return event
end)
plugin.action("nightly", function(text) return json.decode(text) end)
plugin.action("cached", function()
  local count = 0
  for _ in pairs(cache) do count = count + 1 end
  return { count = count, limit = limit }
end)
plugin.on_message(0x20, function(payload, source)
  local asked = json.decode(payload)
  if not asked.number then reed.fail(422, "no number") end
  if asked.number == 0 then return nil end
  return { doubled = 2 * asked.number, source = source }
end)
plugin.on_signal(function(kind, data)
  if kind == reed.signals.RELOAD_CONFIG then limit = reed.settings.limit end
  reed.log.info("signal %d %s", kind, data)
end)
plugin.on_sleep(function() cache = {} end)
plugin.run()
"""

ACTIONS = {"publish": 1, "check": 2, "changed": 3, "nightly": 4, "cached": 5}
HOOKS = {
    "events": {"snippet.updated": "changed", "snippet.deleted": "changed"},
    "filters": {"snippet.create": "check"},
    "schedules": {"nightly": "nightly"},
}

TESTS = """
local reed = require "reed"

it("sees what the plugin wrote and sent", function()
  core.answer("translator", 0x30, { text = "Hello" })
  local id = call("publish", { name = "hello", title = "Hallo" }).id
  assert.same(core.get("hello").content, { title = "Hallo", english = "Hello" })
  assert.equal(core.get(id).version, 2)
  assert.same(core.writes, {
    { command = "snippet.create", id = id, type = "page", name = "hello", content = { title = "Hallo" } },
    { command = "snippet.update", id = id, ref = id, if_version = 1, patch = { english = "Hello" } },
  })
  assert.same(core.messages, {
    { target = "analytics", type = 0x21, payload = { id = id }, request = false },
    { target = "translator", type = 0x30, payload = { text = "Hallo" }, request = true },
  })
  assert.same(core.signals, { { type = reed.signals.BUSY, data = "publishing" } })
  assert.same(core.log, { { level = "warn", text = "published hello" } })
end)

it("begins empty", function()
  assert.same({ #core.writes, #core.messages, #core.signals, #core.log }, { 0, 0, 0, 0 })
  assert.is_nil(core.get("hello"))
end)

it("lets requests and commands fail", function()
  core.answer_error("translator", 0x30, 503, "no model")
  local failure = assert.fails(function() call("publish", { name = "a", title = "A" }) end, "no model")
  assert.equal(failure.status, 503)
  core.fail("snippet.create", 409, "the name is in use")
  assert.equal(assert.fails(function() call("publish", { name = "b", title = "B" }) end, "in use").status, 409)
  assert.fails(function() reed.snippet.get("nothing") end, "no snippet 'nothing'")
end)

it("names the answer that is missing", function()
  assert.fails(function() call("publish", { name = "a", title = "A" }) end, "core.answer%('translator', 0x30, value%)")
end)

it("sends messages", function()
  assert.same(core.message("other", 0x20, { number = 21 }), { doubled = 42, source = "other" })
  assert.is_nil(core.message("other", 0x20, { number = 0 }))
  assert.equal(assert.fails(function() core.message("other", 0x20, {}) end, "no number").status, 422)
  assert.equal(assert.fails(function() core.message("other", 0x77) end, "0x77").status, 404)
end)

it("sends signals, sleep and wake", function()
  core.signal(reed.signals.RELOAD_CONFIG, { limit = 7 })
  assert.equal(call("cached").limit, 7)
  core.event("snippet.updated", { snippet_id = "x", version = 2 })
  assert.equal(call("cached").count, 1)
  core.sleep()
  assert.equal(call("cached").count, 0)
  core.wake()
  assert.equal(core.log[2].text, "signal 21 ")
end)

it("sends events of its snippets", function()
  local id = core.add("page", "about", { title = "About" })
  core.update("about", { title = "About us" })
  local event = core.event("snippet.updated", "about")
  assert.same({ event.event, event.type, event.name, event.snippet_id, event.version },
    { "snippet.updated", "page", "about", id, 2 })
  core.delete("about")
  assert.same(core.writes, json.array())
  assert.equal(core.event("snippet.deleted", "about").content.title, "About us")
  assert.equal(core.event("snippet.updated", "about", { lost = 3 }).lost, 3)
  assert.fails(function() core.event("snippet.created", "about") end,
    "plugin.yaml has no events 'snippet.created'; it has: snippet.deleted, snippet.updated")
end)

it("calls filters", function()
  local content = core.filter("snippet.create", { type = "page", content = { title = "New" } })
  assert.same(content, { title = "New", slug = "new" })
  assert.same(core.filter("snippet.create", { content = { title = "as it is" } }), { title = "as it is" })
  local refused, reasons = core.filter("snippet.create", { content = { title = "" } })
  assert.is_nil(refused)
  assert.same(reasons, { "a page needs a title" })
end)

it("runs schedules", function()
  assert.same(core.schedule("nightly", "2026-03-29T03:00:00+02:00"),
    { schedule = "nightly", due = "2026-03-29T03:00:00+02:00" })
  assert.matches(core.schedule("nightly").due, "^%d+%-%d+%-%d+T")
end)

it("checks content against types that the test defines", function()
  core.define("page", { schema = { type = "object", required = { "title" } } })
  assert.fails(function() reed.snippet.create("page", "a", { body = "" }) end, "title")
  assert.fails(function() reed.snippet.create("pag", "a", { body = "" }) end, "did you mean 'page'")
end)

it("has bonds and search", function()
  local parent = core.add("page", "parent", { title = "Parent" })
  local child = core.add("page", "child", { title = "A child" })
  reed.schema.bond("parent", "child", 3, "hero")
  assert.equal(reed.schema.tree("parent").children[1].id, child)
  assert.equal(reed.schema.tree()[1].id, parent)
  assert.equal(reed.search.query("CHILD").hits[1].id, child)
  assert.equal(#reed.snippet.find("page", { title = "Parent" }), 1)
  assert.equal(assert.fails(function() reed.snippet.delete("parent") end).status, 409)
  reed.snippet.delete("parent", true)
  assert.equal(#reed.snippet.list(), 1)
end)

it("says what core lacks", function()
  assert.fails(function() return core.mesages end, "core has no 'mesages'")
end)
"""


def plugin(folder: Path, tests: str, main: str = MAIN) -> Path:
    (folder / "tests").mkdir()
    (folder / "main.lua").write_text(main)
    (folder / "tests/test_it.lua").write_text(tests)
    return folder


def run(folder: Path, permissions: frozenset[str] | None = None) -> list[Case]:
    under_test = Project(
        folder,
        {"limit": 3},
        ACTIONS if "publish" in (folder / "main.lua").read_text() else None,
        hooks=HOOKS,
        permissions=permissions,
    )
    return list(testing.run(under_test))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return {case.title: case for case in run(plugin(tmp_path_factory.mktemp("demo"), TESTS))}


@pytest.mark.parametrize("title", re.findall(r'^it\("(.*?)"', TESTS, re.MULTILINE))
def test_the_test_plays_the_core(cases: dict[str, Case], title: str) -> None:
    assert not cases[title].failure, cases[title]


def test_a_command_needs_its_permission(tmp_path: Path) -> None:
    (case,) = run(plugin(tmp_path, 'it("writes", function() call("publish", { name = "a" }) end)'), frozenset())
    assert "SNIPPET_CREATE" in case.failure
    assert "snippet_write" in case.failure
    assert case.failure.startswith("main.lua:8: ")


def test_files_are_in_a_folder_that_each_test_finds_empty(tmp_path: Path) -> None:
    main = 'require("reed").create_plugin { name = "demo" }.run()'
    write = (
        'it("writes", function() assert.same(io.list("."), json.array()); io.open("a", "w"):write("x"):close() end)\n'
    )
    cases = run(plugin(tmp_path, write * 2, main), frozenset({"file_write"}))
    assert [case.failure for case in cases] == ["", ""]
