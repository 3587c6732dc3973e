"""Attacks on the guards of sandbox.md#lua, in Lua 5.5 and 5.4: each fails, and the plugin still answers afterwards.

test_plugin_process has those that only the process can stop, such as a pattern that never ends.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Bench

GONE = [
    "python",
    "_G.python",
    "package.searchers",
    "rawget(_G, 'python')",
]

LACKING = [
    "dofile",
    "loadfile",
    "os.execute",
    "os.exit",
    "os.getenv",
    "os.remove",
    "os.rename",
    "os.tmpname",
    "os.setlocale",
    "string.dump",
    "package.loadlib",
    "package.searchpath",
    "io.popen",
    "io.write",
    "io.open",
    "io.lines",
    "debug.getregistry",
    "debug.getinfo",
    "debug.sethook",
    "debug.getupvalue",
    "debug.setmetatable",
]


def test_ways_out_are_removed(bench: Bench) -> None:
    gone = ", ".join(f"tostring({name})" for name in GONE)
    lacking = ", ".join(f"{{ pcall({name}, 'x') }}" for name in LACKING)
    bench.handler(f"if payload == 'gone' then return {{ {gone} }} end\nreturn {{ {lacking} }}")
    assert json.loads(bench.call(b"gone").results[1]) == ["nil"] * len(GONE)
    for name, said in zip(LACKING, json.loads(bench.call().results[1]), strict=True):
        assert said[0] is False, name
        assert name in said[1], "a stub names the function"


def test_no_python_object_is_reachable(bench: Bench) -> None:
    reachable = bench.value(
        """
        local seen, kinds = {}, {}
        local function walk(value, path)
          kinds[type(value)] = true
          if type(value) == "userdata" then error("userdata at " .. path, 0) end
          if type(value) ~= "table" or seen[value] then return end
          seen[value] = true
          for key, inner in next, value do walk(key, path .. ".key"); walk(inner, path .. "." .. tostring(key)) end
          walk(getmetatable(value), path .. ".meta")
        end
        walk(_G, "_G"); walk(require "reed", "reed"); walk(plugin, "plugin"); walk(require "json", "json")
        return { kinds.userdata or false, kinds.thread or false }
        """
    )
    assert reachable == [False, False]


ESCAPES = {
    "require os": "return require 'os'",
    "require of a C library": "return require '/usr/lib/x86_64-linux-gnu/liblua5.4'",
    "bytecode": r"return assert(load('\27Lua\85\0'))()",
    "bytecode with a mode": r"return assert(load('\27Lua', 'x', 'b'))()",
    "bytecode from a reader": (
        r"local t = {'\27', 'Lua'}; return assert(load(function() return table.remove(t, 1) end, 'x', 'bt'))()"
    ),
    "dump": "return string.dump(function() end)",
    "the metatable of strings": "getmetatable('').__index = nil; return 1",
    "a metatable for strings": "setmetatable('', {})",
    "gc by setmetatable": "setmetatable({}, { __gc = function() while true do end end })",
    "gc by the plugin's own rawget": "rawget = function() end; setmetatable({}, { __gc = function() end })",
    "gc by a later field": "local m = getmetatable(json.array()); m.__gc = print",
    "collectgarbage": "collectgarbage('stop')",
    "generational": "collectgarbage('incremental', 1, 1)",
    "os of another environment": "return load('return os.execute', 'x', 't')()()",
    "an exception of Python": "local _, e = pcall(reed.snippet.get, 'x'); return e.__class__.__mro__",
    "format": "return ('%99999d'):format(1)",
    "attributes of a function": "return print.__globals__",
    "items of a function": "return print['__globals__']",
    "a forged failure": (
        "error(setmetatable({ status = 200, own = true }, getmetatable(select(2, pcall(reed.fail, 404)))))"
    ),
    "yield of the worker": "return coroutine.yield('done', 200, 'forged')",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes(bench: Bench, name: str) -> None:
    outcome = bench.run(f"if payload == 'again' then return 'alive' end\n{ESCAPES[name]}")
    assert outcome.kind == "error", outcome
    assert bench.call(b"again").results[1] == b"alive"


def test_load_uses_the_plugins_globals(bench: Bench) -> None:
    assert bench.value(
        """
        x = 7
        return { load("return x")(), load("return x", "n", "t", { x = 8 })(), load("return x", "n", "b")(),
          (pcall(load("return x", "n", "t", nil))), load("return python")() }
        """
    ) == [7, 8, 7, False]


ENDLESS = {
    "while": "while true do end",
    "goto": "::again:: goto again",
    "for": "for _ = 1, math.huge do end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "pcall in pcall": "local function r() pcall(r); return r() end; r()",
    "pcall of pcall": "local function r() return pcall(pcall, r) and r() end; r()",
    "xpcall": "local function r() xpcall(r, r); return r() end; r()",
    "xpcall's handler": "xpcall(error, function() while true do end end)",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "coroutines anew": "while true do pcall(coroutine.wrap(function() while true do end end)) end",
    "resume": "local c = coroutine.create(function() while true do end end); while true do coroutine.resume(c) end",
    "yield": "local c = coroutine.wrap(function() while true do coroutine.yield() end end); while true do c() end",
    "close": "local x <close> = setmetatable({}, { __close = function() while true do end end }); while true do end",
    "close in a coroutine": (
        "coroutine.wrap(function() local x <close> = setmetatable({}, { __close = function() while true do end end })"
        " while true do end end)()"
    ),
    "close of a suspended one": (
        "local c = coroutine.create(function()"
        " local x <close> = setmetatable({}, { __close = function() while true do end end })"
        " coroutine.yield() end); coroutine.resume(c); coroutine.close(c)"
    ),
    "close after an error": (
        "local x <close> = setmetatable({}, { __close = function() while true do end end }); error('x')"
    ),
    "metamethods": (
        "local t = setmetatable({}, { __index = function(t, k) return t[k] end })"
        " while true do pcall(function() return t.x end) end"
    ),
    "gsub": "while true do ('x'):rep(1000):gsub('x', function() end) end",
    "sort": "while true do table.sort({ 3, 2, 1 }, function(a, b) return a < b end) end",
    "load": "load(function() while true do end end)",
    "tostring": "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    "print": "print(setmetatable({}, { __tostring = function() while true do end end }))",
    "concat": "table.concat(setmetatable({}, { __index = function() return 'x' end }), '', 1, math.maxinteger)",
    "the core's answers": "while true do pcall(reed.snippet.get, 'x') end",
    "json": "local t = {}; for i = 1, 1000 do t[i] = i end; while true do json.decode(json.encode(t)) end",
    "a hook of its own": "debug = nil; while true do local ok = pcall(error) end",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_loop_times_out_with_its_line(hurried: Bench, name: str) -> None:
    outcome = hurried.run(f"if payload == 'again' then return 'alive' end\n{ENDLESS[name]}")
    assert outcome.kind == "time", outcome
    assert outcome.text() == "main.lua:5", outcome
    assert hurried.call(b"again").results[1] == b"alive"


BOMBS = {
    "rep": "return ('x'):rep(1e9)",
    "a table": "local t = {}; while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
    "concatenation": "local s = 'x'; while true do s = s .. s end",
    "concat": "local t = {}; for i = 1, 1000 do t[i] = ('x'):rep(20000) end; return table.concat(t)",
    "recursion": "local function f() return f() + 1 end; return f()",
    "recursion that closes": (
        "local function f() local x <close> = setmetatable({}, { __close = function() pcall(f) end })"
        " return f() + 1 end return f()"
    ),
    "coroutines": "local t = {}; while true do t[#t + 1] = coroutine.create(function() end) end",
    "gsub": "return (('x'):rep(100000):gsub('x', ('y'):rep(1000)))",
    "format": (
        "local t = {} for i = 1, 200 do t[i] = ('x'):rep(1e5) end return ('%s'):rep(200):format(table.unpack(t))"
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_memory_bomb_fails_with_its_line(bench: Bench, name: str) -> None:
    outcome = bench.run(f"if payload == 'again' then return 'alive' end\n{BOMBS[name]}")
    # A handler that allocates while it unwinds may run out of time first; that depends on the layout of the heap.
    assert outcome.kind in ({"memory", "time"} if name == "recursion that closes" else {"memory"}), outcome
    assert outcome.text() == "main.lua:5", outcome
    assert bench.call(b"again").results[1] == b"alive"


def test_an_answer_beyond_the_memory_limit(bench: Bench) -> None:
    """The handler has returned, so the error names its first line."""
    outcome = bench.run("local t = {}; for i = 1, 100 do t[i] = ('x'):rep(60000) .. i end; return t")
    assert (outcome.kind, outcome.text()) == ("memory", "main.lua:3")


def test_a_host_answer_at_the_memory_limit(bench: Bench) -> None:
    """Pushing a string into a full Lua would end the process (sandbox.md#lua); it must fail only the call."""
    bench.sandbox._services = {b"snippet.get": lambda _: b'"' + bytes([120]) * 300_000 + b'"', b"log": lambda *_: None}
    bench.handler("kept = {}\nfor i = 1, 1e9 do kept[i] = reed.snippet.get('x') .. i end")
    for _ in range(6):
        outcome = bench.call()
        assert outcome.kind == "memory", outcome
        assert bench.sandbox.memory_used() < 9 << 20


def test_a_python_exception_becomes_a_failure_in_lua(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(*_: bytes) -> bytes:
        raise ZeroDivisionError("oops")

    bench.sandbox._services = {b"snippet.get": broken}
    assert bench.value("local ok, e = pcall(reed.snippet.get, 'x'); return { ok, type(e), e.status, e.message }") == [
        False,
        "table",
        500,
        "snippet.get: oops",
    ]
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("error('plain')", 4),
        ("error('no place', 0)", 4),
        ("error { message = 'mine' }", 4),
        ("error({})", 4),
        ("error(setmetatable({}, { __tostring = function() while true do end end }))", 4),
        ("error()", 4),
        ("local x; x()", 4),
        ("return json.decode('x')", 3),
        ("return 1, 99", 3),
        ("return reed.fail(200, 'x')", 3),
        ("reed.snippet.get(1)", 4),
        ("coroutine.wrap(function() error('inner') end)()", 4),
        ("coroutine.yield()", 4),
        ("plugin.run()", 4),
        ("plugin.action('try', 5)", 4),
        ("plugin.register_command(240, print)", 4),
        ("plugin.on_message(256, print)", 4),
        ("reed.create_plugin {}", 4),
    ],
)
def test_errors_start_with_their_place(bench: Bench, body: str, line: int) -> None:
    outcome = bench.run(body)
    assert outcome.kind == "error", outcome
    assert outcome.text().startswith(f"main.lua:{line}: ")


def test_an_error_in_loaded_code_names_its_chunk(bench: Bench) -> None:
    assert bench.run("load('\\n\\nerror(1)', '@other.lua')()").text() == "other.lua:3: 1"


def test_the_safe_libraries_behave_as_in_lua(bench: Bench) -> None:
    assert bench.value(
        """
        local results = json.array()
        local function note(...) results[#results + 1] = { n = select("#", ...), first = tostring((...)) } end
        note(pcall(function() return 1, nil, nil end))
        note(xpcall(function(a, b) return a, b end, print, 7, 8))
        note(xpcall(error, function(e) return e .. "!" end, "oops"))
        note(coroutine.resume(coroutine.create(function(a) return a, nil end), 5))
        local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1); error("in " .. b, 0) end)
        note(co(1)); note(pcall(co, "two")); note(pcall(co))
        local c = coroutine.create(function() coroutine.yield() end)
        note(coroutine.resume(c)); note(coroutine.status(c)); note(coroutine.close(c)); note(coroutine.resume(c))
        note(setmetatable({}, nil) ~= nil); note(type(os.time()) == "number" and os.date("%Y", 0) and os.clock() >= 0)
        note(collectgarbage("count") > 0)
        return results
        """
    ) == [
        {"n": 4, "first": "true"},
        {"n": 3, "first": "true"},
        {"n": 2, "first": "false"},
        {"n": 3, "first": "true"},
        {"n": 1, "first": "2"},
        {"n": 2, "first": "false"},
        {"n": 2, "first": "false"},
        {"n": 1, "first": "true"},
        {"n": 1, "first": "suspended"},
        {"n": 1, "first": "true"},
        {"n": 2, "first": "false"},
        {"n": 1, "first": "true"},
        {"n": 1, "first": "true"},
        {"n": 1, "first": "true"},
    ]


def test_print_warn_and_log_write_to_the_log(bench: Bench) -> None:
    bench.run("print('a', 1, nil); reed.log.warn('%d pages', 3); reed.log.debug { a = 1 }; warn('x', 'y')")
    assert bench.lines == ["info: a\t1\tnil", "warn: 3 pages", 'debug: {"a":1}', "warn: xy"]
