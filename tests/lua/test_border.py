"""The border between Lua and Python: values are checked, and no handler ends the process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reed.errors import CallError
from reed.plugin_host.files import Folder, data_files, read_source

if TYPE_CHECKING:
    from conftest import Bench, Workshop

CAUGHT = "local _, failure = pcall(reed.fail, 404, 'mine')\n"

ENDINGS = {
    "a status beyond 16 bits": CAUGHT + "failure.status = 99999; error(failure, 0)",
    "a status that is a table": CAUGHT + "failure.status = {}; error(failure, 0)",
    "a status with a fraction": CAUGHT + "failure.status = 404.5; error(failure, 0)",
    "a status that is not a number": CAUGHT + "failure.status = 0/0; error(failure, 0)",
    "no status": CAUGHT + "failure.status = nil; error(failure, 0)",
    "a message that raises": CAUGHT
    + "failure.message = setmetatable({}, { __tostring = function() error('boo') end }); error(failure, 0)",
    "a message that is a function": CAUGHT + "failure.message = function() end; error(failure, 0)",
    "a yield": "coroutine.yield(200, 'x')",
    "a yield of main.lua's thread": "coroutine.resume(main_thread); return 1, 7",
}

MAIN = (
    'local reed = require "reed"\n'
    'local plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'
    "main_thread = coroutine.running()\n"
)


def plugin_of(bodies: list[str]) -> tuple[str, dict[str, int]]:
    """A main.lua with one action for each body, and their command ids."""
    source, actions = MAIN, {}
    for number, body in enumerate(bodies, 1):
        actions[f"a{number}"] = number
        source += f'plugin.action("a{number}", function(payload)\n{body}\nend)\n'
    return source + "plugin.run()\n", actions


def test_a_handler_that_fails_oddly_fails_only_its_call(workshop: Workshop) -> None:
    main, actions = plugin_of([*ENDINGS.values(), "return 'alive'"])
    core = workshop.launch(main, actions=actions).core
    for number, name in enumerate(ENDINGS, 1):
        with pytest.raises(CallError) as failed:
            core.call(number)
        assert failed.value.status == 500, name
        assert core.call(len(ENDINGS) + 1) == (200, b"alive"), name


def test_a_coroutine_of_an_earlier_call_cannot_forge_an_answer(workshop: Workshop) -> None:
    """A handler keeps its coroutine and yields; the next handler resumes it and yields what it got."""
    main, actions = plugin_of(
        [
            "kept = coroutine.running(); coroutine.yield(); return 'late', 201",
            "local got = table.pack(coroutine.resume(kept)); coroutine.yield(got[2], {}, {}); return 'never'",
            "return 'alive'",
        ]
    )
    core = workshop.launch(main, actions=actions).core
    for action in (1, 2):
        with pytest.raises(CallError) as failed:
            core.call(action)
        assert failed.value.status == 500
    assert core.call(3) == (200, b"alive")


def test_no_table_can_be_passed_to_the_host(workshop: Workshop, tmp_path: Path) -> None:
    """Python would call the methods of such a table, with Python objects."""
    data = tmp_path / "data"
    data.mkdir()
    calls = {
        "io.list": "io.list(liar)",
        "io.remove": "io.remove(liar)",
        "io.rename": "io.rename('a', liar)",
        "io.open": "io.open(liar)",
        "the mode of io.open": "io.open('x', liar)",
        "io.lines": "io.lines(liar)()",
        "write": "io.open('x', 'w'):write(liar)",
    }
    liar = "local called; local liar = {}; for _, name in ipairs { 'decode', 'gsub', 'split', 'startswith', '__len__' }"
    liar += " do liar[name] = function(...) called = true; return '/etc' end end\n"
    tried = "local ok = pcall(function() return %s end)\nreturn { ok, called or false }"
    bodies = [liar + tried % call for call in calls.values()]
    main, actions = plugin_of(bodies)
    core = workshop.launch(main, actions=actions, data_dir=str(data)).core
    for number, name in enumerate(calls, 1):
        assert core.call(number) == (200, b"[false,false]"), name


def test_the_host_accepts_only_strings(bench: Bench) -> None:
    """The check that protects every service, even if the SDK forgets one."""
    seen: list[object] = []
    bench.sandbox._services = {b"file.list": lambda path: seen.append(path) or b"[]"}
    for argument in (object(), 5, None, True, "text", bytearray(b"x")):
        ok, text, *_ = bench.sandbox._host(b"file.list", argument)  # type: ignore[arg-type]
        assert not ok, argument
        assert b'"status":400' in (text or b"").replace(b" ", b"")
    assert seen == []


def test_the_host_calls_nothing_that_a_plugin_can_replace(workshop: Workshop) -> None:
    """The functions that the host calls run without a hook, so they must not use tables that a plugin can change."""
    forever = "function() while true do end end"
    main = MAIN + (
        f"json.decode, json.encode, json.object, json.array = {forever}, {forever}, {forever}, {forever}\n"
        f"local trap = {forever}\n"
        "reed.settings = setmetatable({}, { __pairs = trap, __newindex = trap, __index = trap })\n"
        f"next, pairs, rawset, math.randomseed = trap, trap, trap, trap\n"
        'plugin.action("try", function() return "alive" end)\nplugin.run()\n'
    )
    core = workshop.launch(main, answered={"a": 1}, actions={"try": 1}).core
    assert core.call(1) == (200, b"alive")


# require -------------------------------------------------------------------------------------------------------------


def module(workshop: Workshop, name: str, source: str | bytes) -> None:
    path = workshop.folder / "demo" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.encode() if isinstance(source, str) else source)


FAILING = {
    "an error": "error('no')",
    "a failure": "require('reed').fail(404, 'gone')",
    "a yield": "coroutine.yield()",
    "a time-out": "while true do end",
}


@pytest.mark.parametrize("name", FAILING)
def test_a_module_that_failed_can_be_required_again(workshop: Workshop, name: str) -> None:
    module(workshop, "late.lua", f"if not ready then {FAILING[name]} end\nreturn 'here'")
    main, actions = plugin_of(["return require 'late'", "ready = true; return require 'late'"])
    core = workshop.launch(main, actions=actions).core
    for _ in range(2):
        with pytest.raises(CallError) as failed:
            core.call(1)
        assert "itself" not in failed.value.message
    assert core.call(2) == (200, b"here")


def test_a_module_that_a_suspended_coroutine_loads(workshop: Workshop) -> None:
    module(workshop, "late.lua", "coroutine.yield()\nreturn 'here'")
    body = "local c = coroutine.wrap(function() return require 'late' end); c(); local d = coroutine.wrap(function() "
    main, actions = plugin_of([body + "return require 'late' end); d(); return d()"])
    assert workshop.launch(main, actions=actions).core.call(1) == (200, b"here")


def test_a_module_that_requires_itself_is_an_error(workshop: Workshop) -> None:
    module(workshop, "one.lua", "return require 'two'")
    module(workshop, "two.lua", "return coroutine.wrap(function() return require 'one' end)()")
    main, actions = plugin_of(["return (select(2, pcall(require, 'one')))"])
    status, body = workshop.launch(main, actions=actions).core.call(1)
    assert (status, b"itself" in body) == (200, True)


def test_standard_libraries_can_be_required(bench: Bench) -> None:
    assert bench.value(
        """
        local same = {}
        for _, name in ipairs { "math", "string", "table", "os", "io", "utf8", "coroutine", "debug", "package" } do
          if require(name) ~= _G[name] or package.loaded[name] ~= _G[name] then same[#same + 1] = name end
        end
        return { #same, require "_G" == _G, package.config:sub(1, 1), type(package.path) }
        """
    ) == [0, True, "/", "string"]


def test_forms_of_modules(workshop: Workshop) -> None:
    module(workshop, "bom.lua", b"\xef\xbb\xbf#!/usr/bin/lua\nreturn 'bom'")
    module(workshop, "json.lua", "return { own = true }")
    module(workshop, "broken/init.lua", "this is no Lua")
    module(workshop, "sets.lua", "package.loaded[...] = 'set'")
    (workshop.folder / "demo" / "shut.lua").mkdir()
    main, actions = plugin_of(
        [
            "return { require 'bom', require('json').own, require 'sets', type(json.encode) }",
            "return (select(2, pcall(require, 'shut')))",
            "return (select(2, pcall(require, 'nowhere')))",
            "return (select(2, pcall(require, 'broken')))",
            "package.preload.made = function(name) return 'made ' .. name end; return require 'made'",
        ]
    )
    core = workshop.launch(main, actions=actions).core
    assert core.call(1) == (200, b'["bom",true,"set","function"]')
    assert b"shut.lua" in core.call(2)[1], "names the file that cannot be read"
    assert b"nowhere.lua" in core.call(3)[1]
    assert b"broken/init.lua:1:" in core.call(4)[1]
    assert core.call(5) == (200, b"made made")


def test_a_main_with_a_byte_order_mark(workshop: Workshop) -> None:
    main, actions = plugin_of(["return 'read'"])
    assert workshop.launch("\ufeff" + main, actions=actions).core.call(1) == (200, b"read")


def test_an_assignment_to_a_loop_variable_hints_at_lua_5_4(workshop: Workshop) -> None:
    status, output = workshop.start_in_vain("for i = 1, 2 do i = i + 1 end")
    assert status == 1
    assert '"5.4"' in output


# Stacks --------------------------------------------------------------------------------------------------------------


def test_xpcall_with_debug_traceback_shows_the_stack_of_the_error(bench: Bench) -> None:
    ok, text, plain, passed, here = bench.value(
        """
        local function inner() error("oops") end
        local function outer() inner(); return 1 end
        local ok, text = xpcall(outer, debug.traceback)
        local _, plain = xpcall(outer, function(e) return debug.traceback("my " .. e, 2) end)
        local mark = {}
        local _, passed = xpcall(error, debug.traceback, mark)
        return { ok, text, plain, passed == mark, debug.traceback("here") }
        """
    )
    assert (ok, passed) == (False, True)
    assert text.startswith("main.lua:5: oops\nstack traceback:\n")
    assert "main.lua:6: in" in text, "the caller's line"
    assert plain.startswith("my main.lua:5: oops\nstack traceback:\n")
    assert "reed/" not in text + plain + here, "no frames of the SDK"
    assert "main.lua:11:" in here


def test_a_traceback_is_safe(bench: Bench) -> None:
    """It calls no metamethod, shows only the plugin's stack, and an endless handler is stopped."""
    assert bench.value(
        """
        local trap = setmetatable({}, { __tostring = error, __index = error, __concat = error, __name = "x" })
        local thread = coroutine.create(function() coroutine.yield() end)
        coroutine.resume(thread)
        local function deep() return (("a"):gsub("a", deep)) end
        local _, overflow = xpcall(deep, debug.traceback)
        local _, again = xpcall(error, function() error("in the handler", 0) end)
        return { debug.traceback(trap) == trap, (debug.traceback(thread):find("main.lua:6", 1, true)) ~= nil,
          debug.traceback(nil, 1 << 40), debug.traceback("x", -5) ~= nil, overflow:find("overflow") ~= nil, again,
          (pcall(debug.traceback, thread, "x", {})) }
        """
    ) == [True, True, "stack traceback:", True, True, "in the handler", True]


# Files ---------------------------------------------------------------------------------------------------------------


def test_reading_several_values(workshop: Workshop, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "x").write_text("one\ntwo\n 12 0x1F\nlast")
    main, actions = plugin_of(
        [
            'local f = io.open("x"); return { f:read("l", "L", "n", "n", "l", 2, "a", "l") }',
            'local all = {}; for a, b in io.lines("x", 1, "l") do\nall[#all + 1] = a .. "|" .. b end\nreturn all',
        ]
    )
    core = workshop.launch(main, actions=actions, data_dir=str(data)).core
    assert core.call(1) == (200, b'["one","two\\n",12,31,"","la","st"]')
    assert core.call(2) == (200, b'["o|ne","t|wo"," |12 0x1F","l|ast"]')


def test_symbolic_links_within_the_folder_are_followed(workshop: Workshop) -> None:
    """As in a mounted ConfigMap: main.lua -> ..data/main.lua, ..data -> a dated folder."""
    main, actions = plugin_of(["return require 'lib.words'"])
    folder = workshop.folder / "demo"
    (folder / "..2026" / "lib").mkdir(parents=True)
    (folder / "..2026" / "lib" / "words.lua").write_text("return 'followed'")
    (folder / "..data").symlink_to("..2026")
    (folder / "main.lua").symlink_to("..data/main.lua")
    (folder / "lib").symlink_to("..data/lib/../../..data/lib")
    core = workshop.launch(main, actions=actions).core
    assert (folder / "main.lua").is_symlink()
    assert core.call(1) == (200, b"followed")


def test_symbolic_links_out_of_the_folder_are_rejected(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.lua").write_text("secret")
    links = {
        "up.lua": "../out/secret.lua",
        "absolute.lua": str(outside / "secret.lua"),
        "through.lua": "deep/../../out/secret.lua",
        "loop.lua": "loop.lua",
        "proc.lua": "/proc/self/environ",
    }
    (inside / "deep").mkdir()
    for name, target in links.items():
        (inside / name).symlink_to(target)
    (inside / "door").symlink_to("../out")
    (inside / "round").symlink_to("round2")
    (inside / "round2").symlink_to("round")
    folder = Folder(str(inside))
    for name in [*links, "door/secret.lua", "round/x.lua"]:
        with pytest.raises(CallError) as rejected:
            read_source(folder, name)
        assert rejected.value.status in (403, 404), name
    services = data_files(str(inside))
    for name in [*links, "door/new"]:
        with pytest.raises(CallError):
            services[b"file.open"](name.encode(), b"w")
    assert (outside / "secret.lua").read_text() == "secret"
    assert [each.name for each in outside.iterdir()] == ["secret.lua"]
    folder.close()
