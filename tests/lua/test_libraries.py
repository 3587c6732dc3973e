"""Public Lua libraries run in a plugin unchanged: two from Debian packages, and the constructs that others use.

The packages are skipped without apt-get and dpkg-deb, or if no archive can be reached.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reed.lua.sandbox import LuaSandbox
from reed.plugin_host.files import Folder, read_source

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'


def unpacked(package: str, folder: Path) -> Path:
    """The folder of the Lua files of a Debian package."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("no apt-get and dpkg-deb here")
    folder.mkdir()
    try:
        subprocess.run(["apt-get", "-qq", "download", package], cwd=folder, capture_output=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"{package} cannot be fetched: {error}")
    subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), "."], cwd=folder, check=True)
    return folder / "usr/share/lua/5.1"  # the other versions are links to this one


def result(lua: str, folder: Path, body: str) -> Any:
    """What a handler with this body returns, in a plugin with this folder."""
    sandbox, own = LuaSandbox(lua), Folder(str(folder))
    prepared = {"name": "demo", "version": "1.0.0", "settings": {}, "cpu": 10, "seed": [1, 2]}
    prepared |= {"can_write": False, "actions": {"try": 1}}
    services = {
        b"source": lambda path: read_source(own, os.fsdecode(path)),
        b"log": lambda _level, _text: None,
    }
    sandbox.start(services, memory=64 << 20, spec=json.dumps(prepared).encode())
    source = f'{OPEN}plugin.action("try", function(payload)\n{body}\nend)\nplugin.run()'
    outcome = sandbox.load("main.lua", source.encode())
    assert outcome.kind == "run", outcome
    outcome = sandbox.call(1, b"")
    own.close()
    assert outcome.kind == "done", outcome
    return json.loads(outcome.results[1])


@pytest.fixture(params=["5.5", "5.4"])
def lua(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_luaunit(lua: str, tmp_path: Path) -> None:
    assert result(
        lua,
        unpacked("lua-unit", tmp_path / "deb"),
        """
        local lu = require "luaunit"
        local ok, failure = pcall(lu.assertEquals, { 1, 2 }, { 1, 3 })
        lu.assertEquals({ a = { 1 } }, { a = { 1 } })
        lu.assertErrorMsgContains("oops", function() error("oops") end)
        lu.assertStrContains("table", "tab")
        return { ok, (tostring(failure.msg or failure):find("expected", 1, true)) ~= nil }
        """,
    ) == [False, True]


def test_the_pure_modules_of_penlight(tmp_path: Path) -> None:
    """In Lua 5.4: the packaged version assigns to variables of for loops."""
    modules = (
        "utils types class List Map OrderedMap Set MultiMap tablex stringx seq lexer template pretty func operator "
        "permute array2d data text sip url luabalanced import_into stringio"
    )
    body = f"for name in ('{modules}'):gmatch('[%w_]+') do require('pl.' .. name) end\n"
    assert result(
        "5.4",
        unpacked("lua-penlight", tmp_path / "deb"),
        body
        + """
        local List, stringx, pretty = require "pl.List", require "pl.stringx", require "pl.pretty"
        local class, template = require "pl.class", require "pl.template"
        local Animal = class(); function Animal:_init(name) self.name = name end
        return { tostring(List { 1, 2 }:map(function(x) return x * 2 end)), stringx.title("two words"),
          pretty.write({ 1, { 2 } }, ""), Animal("cat").name,
          (template.substitute("# for i = 1, 2 do\\n$(i)\\n# end\\n", { _escape = "#" })) }
        """,
    ) == ["{2,4}", "Two Words", "{1,{2}}", "cat", "1\n2\n"]


def test_a_library_in_one_file_with_its_own_environment(lua: str, tmp_path: Path) -> None:
    """As in LuLPeg: modules are functions, _ENV is a table, and standard libraries are required."""
    (tmp_path / "one.lua").write_text(
        """
        local _ENV, loaded, packages, release, require_ = _ENV, {}, {}, true, require
        local function require(name)
          if loaded[name] then return loaded[name] end
          if packages[name] then loaded[name] = packages[name](name) or true; return loaded[name] end
          return require_(name)
        end
        packages.util = function()
          local _G, error, load, setmetatable = _G, error, load, setmetatable
          local pairs, t_concat = pairs, require "table".concat
          local noglobals = setmetatable({}, { __index = error, __newindex = error })
          local s, m, d = require "string", require "math", require "debug"
          local trace, dump = d.traceback, s.dump
          local _ENV = noglobals
          return { join = function(...) return t_concat({ ... }, "-") end, max = m.max, trace = trace,
            made = load("return function(x) return x + 1 end")() }
        end
        local util = require "util"
        if not release then error("no release") end
        local function call(self, x) return self.made(x) end
        return setmetatable({ version = function() return "1" end }, { __index = util, __call = call })
        """
    )
    body = "local one = require 'one'; return { one(4), one.join(1, 2), one.max(3, 5), type(one.trace('x')) }"
    assert result(lua, tmp_path, body) == [5, "1-2", 5, "string"]


def test_a_library_in_many_files(lua: str, tmp_path: Path) -> None:
    """As in Stepets/utf8.lua: names from `...`, folders with init.lua, code compiled at run time."""
    (tmp_path / "text" / "parts").mkdir(parents=True)
    (tmp_path / "text" / "init.lua").write_text(
        """
        local module_path = ...
        module_path = module_path .. "."
        local text = { config = { debug = nil }, regex = setmetatable({}, { __index = string }) }
        for name, value in pairs(string) do text[name] = value end
        function text:require(name) return require(module_path .. name) end
        text.unicode = text:require("parts.codes")
        return text
        """
    )
    (tmp_path / "text" / "parts" / "codes.lua").write_text(
        """
        local source = "local first = ... return function(value) return utf8.codepoint(value, first) end"
        return assert((loadstring or load)(source, "made"))(1)
        """
    )
    body = "local text = require 'text'; return { text.unicode('ä'), text.upper('a'), (require 'text') == text }"
    assert result(lua, tmp_path, body) == [0xE4, "A", True]


def test_a_template_library(lua: str, tmp_path: Path) -> None:
    """As in lua-resty-template: it keeps references to io and string, and probes for its host."""
    (tmp_path / "view.lua").write_text(
        """
        local setmetatable, loadstring, rawget, pcall = setmetatable, loadstring, rawget, pcall
        local load, open, write, dump, concat = load, io.open, io.write, string.dump, table.concat
        local _VERSION, _ENV, jit = _VERSION, _ENV, jit
        local view, ngx = { print = write }, rawget(_G, "ngx")
        local has_new, new = pcall(require, "table.new")
        local newtab = has_new and new or function() return {} end
        local function read(path)
          local file = open(path, "rb")
          if not file then return nil end
          local content = file:read "*a"; file:close(); return content
        end
        function view.process(template, context)
          local text = template:find('%.html$') and read(template) or template
          local code = "local out = {} for _, x in ipairs(list) do out[#out + 1] = '" .. text .. "' .. x end return out"
          local env = setmetatable(context, { __index = _G })
          return concat(assert(load(code, "=template", "t", env))(), ",")
        end
        return view
        """
    )
    assert result(lua, tmp_path, "return { require('view').process('x=', { list = { 1, 2 } }) }") == ["x=1,x=2"]
