"""The runner of a plugin's own tests: what it prints, and its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def run(folder: Path, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "reed.lua.testing", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


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
  it("refuses", function()
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
it("has a core only where it says so", function() assert.same({ 1, { a = 2 } }, { 1, { a = 3 } }) end)
it("passes", function() assert(true) end)
"""


def test_all_is_well(tmp_path: Path) -> None:
    code, output, errors = run(plugin(tmp_path, good=GOOD), "--settings", '{"limit":3}')
    assert (code, errors) == (0, "")
    assert output.startswith("tests/test_good.lua\n  ok      double: doubles\n  ok      double: refuses\n")
    assert "3 passed, 0 failed; the slowest took " in output


def test_what_failed_is_told_with_its_line_and_log(tmp_path: Path) -> None:
    code, output, _ = run(plugin(tmp_path, bad=BAD, good="error('not today')"))
    assert code == 1
    for line in (
        "  FAILED  fails\n          tests/test_bad.lua:2: expected 2, found 1\n          info: doubling 1\n",
        "  FAILED  breaks\n          tests/test_bad.lua:3: attempt to call a nil value (local 'x')\n",
        "  FAILED  runs for ever\n          tests/test_bad.lua:4: time limit of 2 s reached\n",
        "  FAILED  eats memory\n          tests/test_bad.lua:5: memory limit of 8 MB reached\n",
        "  FAILED  asks the core\n          main.lua:10: snippet.get is not possible here (500)\n",
        'expected [1,{"a":3}], found [1,{"a":2}]',
        "  ok      passes\n",
        "tests/test_good.lua\n  FAILED  loading\n          tests/test_good.lua:1: not today\n",
        "1 passed, 7 failed",
    ):
        assert line in output


def test_lua_5_4(tmp_path: Path) -> None:
    folder = plugin(tmp_path, version='it("is", function() assert.equal(_VERSION, "Lua 5.4") end)')
    assert run(folder, "--lua", "5.4")[0] == 0
    assert run(folder)[0] == 1


def test_nothing_to_run(tmp_path: Path) -> None:
    assert run(tmp_path / "nowhere")[0] == 2
    assert "no tests" in run(plugin(tmp_path))[2]
    assert run(tmp_path, "--settings", "{")[0] == 2
    assert run(tmp_path, "extra")[2].startswith("usage: ")


def test_a_main_that_is_broken(tmp_path: Path) -> None:
    folder = plugin(tmp_path, good=GOOD)
    (folder / "main.lua").write_text("local x = = 1")
    code, output, _ = run(folder)
    assert code == 1
    assert "  FAILED  loading\n          main.lua:1: unexpected symbol near '='\n" in output
