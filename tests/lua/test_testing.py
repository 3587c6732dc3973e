"""The runner of a plugin's own tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reed.errors import NotFound
from reed.lua import testing
from reed.own_tests import Case, Project

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "demo", version = "1.0.0" }
plugin.action("double", function(payload)
  local n = json.decode(payload)
  if type(n) ~= "number" then reed.fail(422, "no number") end
  reed.log.info("doubling %d", n)
  return { twice = 2 * n, limit = reed.settings.limit }
end)
plugin.action("page", function(ref) return reed.snippet.get(ref).content end)
plugin.run()
"""


def run(folder: Path, settings: dict[str, Any] | None = None, lua: str = "5.5") -> list[Case]:
    return list(testing.run(Project(folder, settings or {}, lua=lua)))


def plugin(folder: Path, **tests: str) -> Path:
    (folder / "tests").mkdir()
    (folder / "main.lua").write_text(MAIN)
    for name, source in tests.items():
        (folder / "tests" / f"test_{name}.lua").write_text(source)
    return folder


GOOD = """
local reed = require "reed"
local ready = 0
describe("double", function()
  before_each(function() ready = ready + 1 end)
  it("doubles", function()
    local answer, status = call("double", 4)
    assert.same(answer, { twice = 8, limit = 3 })
    assert.equal(status, 200)
    assert.equal(ready, 1)
  end)
  it("rejects", function()
    local failure = assert.fails(function() call("double", "x") end, "JSON")
    assert.matches(failure, "line 1")
    assert.equal(assert.fails(function() call("double", "[]") end).status, 422)
  end)
end)
it("gets pages from the test", function()
  reed.snippet.get = function(ref) return { content = { title = ref } } end
  assert.equal(call("page", "about").title, "about")
end)
"""

BAD = """
it("fails", function() call("double", 1); assert.equal(1, 2) end)
it("breaks", function() local x; x() end)
it("runs for ever", function() while true do end end)
it("eats memory", function() local t = {}; while true do t[#t + 1] = {} end end)
it("asks the core", function() call("page", "about") end)
it("compares deeply", function() assert.same({ 1, { a = 2 } }, { 1, { a = 3 } }) end)
it("passes", function() assert(true) end)
"""


def test_passing_tests(tmp_path: Path) -> None:
    cases = run(plugin(tmp_path, good=GOOD), settings={"limit": 3})
    assert [(case.file, case.title, case.failure) for case in cases] == [
        ("tests/test_good.lua", "double: doubles", ""),
        ("tests/test_good.lua", "double: rejects", ""),
        ("tests/test_good.lua", "gets pages from the test", ""),
    ]


def test_failing_tests_have_their_line_and_log(tmp_path: Path) -> None:
    cases = run(plugin(tmp_path, bad=BAD, good="error('not today')"))
    places = [
        "tests/test_bad.lua:2: ",
        "tests/test_bad.lua:3: ",
        "tests/test_bad.lua:4: ",
        "tests/test_bad.lua:5: ",
        "main.lua:10: ",
        'tests/test_bad.lua:7: expected [1,{"a":3}], found [1,{"a":2}]',
        "",
        "tests/test_good.lua:1: not today",
    ]
    for case, place in zip(cases, places, strict=True):
        assert case.failure.startswith(place), case
        assert bool(case.failure) == bool(place), case
    assert cases[0].log == ("info: doubling 1",)
    assert (cases[-1].file, cases[-1].title) == ("tests/test_good.lua", "loading")


def test_lua_5_4(tmp_path: Path) -> None:
    folder = plugin(tmp_path, version='it("is", function() assert.equal(_VERSION, "Lua 5.4") end)')
    for lua, passes in (("5.4", True), ("5.5", False)):
        assert [not case.failure for case in run(folder, lua=lua)] == [passes]


def test_a_folder_without_tests(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        run(tmp_path / "nowhere")
    with pytest.raises(NotFound):
        run(plugin(tmp_path))


def test_a_broken_main_fails_each_file(tmp_path: Path) -> None:
    folder = plugin(tmp_path, good=GOOD)
    (folder / "main.lua").write_text("local x = = 1")
    (case,) = run(folder)
    assert case.title == "loading"
    assert case.failure.startswith("main.lua:1: ")
