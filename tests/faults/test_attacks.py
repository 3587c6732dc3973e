"""Hostile Lua in a plugin's process, on 5.5 and 5.4: only its own call fails.

tests/lua/test_guards.py tests the guards one by one. Here, code runs too that only the
core can end (an endless pattern).
"""

from __future__ import annotations

import pytest

from reed.errors import CallError

DO = """
plugin.action("do", function(code)
  return assert(load(json.decode(code)))()
end)
"""
MANIFEST = "lua: '{}'\nactions:\n  do: {{command_id: 1, timeout: 10s}}\nlimits: {{cpu: 200ms, memory: 8MB}}\n"
ESCAPES = (
    "return os.execute('id')",
    "return io.open('/etc/passwd'):read('a')",
    "return require('os').execute('id')",
    "return package.loadlib('libc.so.6', 'system')",
    "return debug.getregistry()",
    "return python.eval('1')",
    r"return load('\27Lua')()",
    "return string.dump(print)()",
    "return getmetatable('').__index.rep",
    "return setmetatable({}, { __gc = print })",
    "return require('../../../../etc/passwd')",
    "return print.__globals__.os",
    "local _, e = pcall(reed.snippet.get, 'x'); return e.__class__.__mro__[2]",
    "return reed.snippet.create('page', '', {})",
    "return reed.snippet.delete('none')",
)
ENDLESS = (
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "coroutine.wrap(function() while true do end end)()",
    "local x <close> = setmetatable({}, { __close = function() while true do end end }); error('x')",
    "return tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    "return (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')",
    "return ('x'):rep(100000):find(('.-'):rep(20) .. 'y')",
    "return table.move({}, 1, 1 << 40, 2)",
    "return table.concat(setmetatable({}, { __index = function() return 'x' end }), '', 1, math.maxinteger)",
)
BOMBS = (
    "return ('x'):rep(1 << 30)",
    "local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end",
    "local s = 'x' while true do s = s .. s end",
    "local function f() return f() + 1 end return f()",
    "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "return (('x'):rep(100000):gsub('x', ('y'):rep(1000)))",
)


@pytest.mark.parametrize("lua", ["5.5", "5.4"])
def test_hostile_lua_fails_only_its_own_call(ground, times, lua) -> None:
    ground.config = "timing: {restart_limit: 1000, start_deadline: 15s}\n"
    ground.lua("hostile", DO, MANIFEST.format(lua))
    client = ground.start()
    for what, attacks in (("escapes", ESCAPES), ("endless loops", ENDLESS), ("memory bombs", BOMBS)):
        rounds = times(1, 20)
        chosen = attacks * rounds if rounds > 1 or lua == "5.5" else attacks[::3]  # in CI, fewer on 5.4
        with ground.fault(f"Lua {lua}: {what}", "only that call fails") as fault:
            for attack in chosen:
                with pytest.raises(CallError) as error:
                    client.plugin_send("hostile", "do", attack)
                assert error.value.status in {403, 404, 422, 500, 502, 504}, (attack, error.value)
                client.plugin_start("hostile")
                assert client.plugin_send("hostile", "do", "return { alive = true }").body == b'{"alive":true}', attack
                fault.injected()
