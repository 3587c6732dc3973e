"""A real plugin process of the zygote: it registers, is called and signalled, and exits."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reed.errors import CallError, NotFound
from reed.wire.codes import Command, ErrorCode, Flag, Signal
from reed.wire.common import JsonResponse
from reed.wire.snippets import Record, SnippetCreate, SnippetGot, SnippetWritten
from reed.zygote.client import Zygote

if TYPE_CHECKING:
    from conftest import Bench, Workshop

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'
ECHO = OPEN + 'plugin.action("echo", function(payload) return payload end)\nplugin.run()\n'
ACTIONS = {"echo": 1}


def test_a_call_is_answered(workshop: Workshop) -> None:
    plugin = workshop.launch(ECHO, actions=ACTIONS)
    assert plugin.registered.name == "demo"
    assert plugin.registered.version == "1.0.0"
    assert plugin.registered.pid == plugin.pid
    assert json.loads(bytes(plugin.registered.manifest))["actions"] == {"echo": {"command_id": 1}}
    assert plugin.core.call(1, b"any \xff bytes") == (200, b"any \xff bytes")
    big = os.urandom(700_000)
    assert plugin.core.call(1, big) == (200, big)


def test_calls_are_pipelined_and_answered_in_order(workshop: Workshop) -> None:
    plugin = workshop.launch(ECHO, actions=ACTIONS)
    for number in range(100):
        plugin.core.send(1, str(number).encode())
    assert [plugin.core.response()[1] for _ in range(100)] == [str(number).encode() for number in range(100)]


def test_an_async_call_gets_no_answer(workshop: Workshop) -> None:
    plugin = workshop.launch(ECHO, actions=ACTIONS)
    plugin.core.send(1, b"unheard", Flag.ASYNC)
    assert plugin.core.call(1, b"heard") == (200, b"heard")


@pytest.mark.parametrize("lua", ["5.5", "5.4"])
def test_the_version_of_lua(workshop: Workshop, lua: str) -> None:
    plugin = workshop.launch(
        OPEN + 'plugin.action("echo", function() return _VERSION end)\nplugin.run()', actions=ACTIONS, lua=lua
    )
    assert plugin.core.call(1) == (200, f"Lua {lua}".encode())


BAD = (
    OPEN
    + """
plugin.action("broken", function() local nothing; return nothing.x end)
plugin.action("endless", function() while true do pcall(function() while true do end end) end end)
plugin.action("bomb", function() local t = {}; while true do t[#t + 1] = ("x"):rep(1000) .. #t end end)
plugin.action("refuse", function() reed.fail(422, "no title") end)
plugin.action("other", function() return { reason = "later" }, 202 end)
plugin.action("good", function() return "good" end)
plugin.run()
"""
)
BAD_ACTIONS = {"broken": 1, "endless": 2, "bomb": 3, "refuse": 4, "other": 5, "good": 6}


def test_a_failing_handler_fails_only_its_call(workshop: Workshop) -> None:
    plugin = workshop.launch(BAD, actions=BAD_ACTIONS)
    expected = {
        1: (500, ErrorCode.ERR_INTERNAL, "demo.broken: main.lua:4: "),
        2: (504, ErrorCode.ERR_PLUGIN_TIMEOUT, "demo.endless: main.lua:5: "),
        3: (500, ErrorCode.ERR_INTERNAL, "demo.bomb: main.lua:6: "),
        4: (422, ErrorCode.ERR_INVALID, "no title"),
        9: (404, ErrorCode.ERR_ACTION_NOT_FOUND, "demo "),
    }
    for command, (status, code, place) in expected.items():
        with pytest.raises(CallError) as failed:
            plugin.core.call(command)
        assert (failed.value.status, failed.value.error_code) == (status, code)
        assert failed.value.message.startswith(place)
        assert plugin.core.call(6) == (200, b"good")
    assert plugin.core.call(5) == (202, b'{"reason":"later"}')
    plugin.core.send(Command.PLUGIN_HEALTH, bytes(32))
    command, _, payload = plugin.core.frame()
    metrics = json.loads(bytes(JsonResponse.unpack(payload).json))
    assert command == Command.PLUGIN_HEALTH
    assert (metrics["calls"], metrics["errors"]) == (11, 5)
    plugin.core.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert "error: demo.broken: main.lua:4: " in plugin.output()


def test_an_endless_pattern_match_ends_the_process(workshop: Workshop) -> None:
    body = 'return (("a"):rep(40)):find(("a?"):rep(40) .. ("a"):rep(40) .. "b")'
    main = OPEN + f'plugin.action("slow", function() {body} end)\nplugin.run()'
    plugin = workshop.launch(main, actions={"slow": 1}, limits={"cpu": 0.1})
    plugin.core.send(1)
    assert plugin.core.closed()
    assert plugin.exit_status() == -signal.SIGPROF


def test_a_plugin_that_keeps_its_memory_full_exits(workshop: Workshop) -> None:
    main = OPEN + 'plugin.action("grow", function() kept = kept or {}; while true do kept[#kept + 1] = {} end end)'
    plugin = workshop.launch(main, actions={"grow": 1}, limits={"memory": 2 << 20})
    with pytest.raises(CallError, match=r"demo\.grow: main\.lua:3: .*2 MB"):
        plugin.core.call(1)
    assert plugin.exit_status() == 1
    assert plugin.output().splitlines()[-1].startswith("error: demo: ")


def test_a_payload_beyond_the_memory_limit(workshop: Workshop) -> None:
    main = OPEN + 'plugin.action("echo", function(payload) return json.decode(payload) end)\nplugin.run()'
    plugin = workshop.launch(main, actions=ACTIONS, limits={"memory": 2 << 20})
    for payload, status in ((bytes(3 << 20), 413), (b"[%b0]" % (b"0," * 900_000), 500)):
        with pytest.raises(CallError, match="2 MB") as failed:
            plugin.core.call(1, payload)
        assert failed.value.status == status
    assert plugin.core.call(1, b"[]") == (200, b"[]")


@pytest.mark.parametrize(
    ("main", "place"),
    [
        ("local x = = 1", "main.lua:1: "),
        ("\nerror('no')", "main.lua:2: no"),
        ("while true do end", "main.lua:1: "),
        (OPEN, "main.lua sets no handler for echo"),
        (OPEN + "plugin.action('ecko', print)", "main.lua:3: "),
        ("require('reed').create_plugin { name = 'x' }", "main.lua:1: create_plugin: name "),
        ("require('reed').create_plugin { version = '2' }", "main.lua:1: create_plugin: version "),
        ("require 'words'", "main.lua:1: module 'words' not found"),
        (ECHO, "no core "),
    ],
)
def test_a_plugin_that_cannot_start_logs_the_reason(workshop: Workshop, main: str, place: str) -> None:
    status, output = workshop.start_in_vain(main, actions=ACTIONS)
    assert status == 1
    assert output.startswith(f"error: demo: {place}")


def test_settings_come_with_the_spec_and_with_the_registration(workshop: Workshop) -> None:
    main = (
        OPEN
        + "local at_load = reed.settings.limit\n"
        + 'plugin.action("echo", function() return { at_load, plugin.settings } end)'
    )
    plugin = workshop.launch(main, {"limit": 2}, actions=ACTIONS, settings={"limit": 1, "old": True})
    assert plugin.core.call(1) == (200, b'[1,{"limit":2}]')
    plugin.core.send_signal(Signal.RELOAD_CONFIG, b'{"limit":3}')
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.call(1) == (200, b'[1,{"limit":3}]')
    plugin.core.send_signal(Signal.RELOAD_CONFIG, b"{limit")
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.call(1) == (200, b'[1,{"limit":3}]'), "malformed settings change nothing"


def test_signals(workshop: Workshop) -> None:
    main = (
        OPEN
        + """
local seen = json.array()
plugin.on_signal(function(kind, data) seen[#seen + 1] = { kind, data } end)
plugin.action("seen", function() plugin:send_signal(reed.signals.BUSY, "counting"); return seen end)
plugin.run()
reed.log.info("goodbye from %s", plugin.name)
"""
    )
    plugin = workshop.launch(main, actions={"seen": 1})
    for kind in (Signal.HEALTH_CHECK, Signal.WAKE_UP):
        plugin.core.send_signal(kind, b"why")
        assert plugin.core.signal() == (Signal.PLUGIN_READY, b"")
    plugin.core.send(1)
    assert plugin.core.signal() == (Signal.PLUGIN_BUSY, b"counting")
    assert plugin.core.response() == (200, b'[[19,"why"],[21,"why"]]')
    plugin.core.send(1)
    plugin.core.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert plugin.core.signal()[0] == Signal.PLUGIN_BUSY
    assert plugin.core.response()[0] == 200, "a call before the signal is answered"
    assert plugin.core.closed()
    assert plugin.exit_status() == 0
    assert plugin.output() == "info: goodbye from demo\n"


RECORD = Record("0" * 36, "page", "about", 3, 10, 20, b'{"title":"About","tags":[]}')


def test_the_cores_commands(workshop: Workshop) -> None:
    main = (
        OPEN
        + """
plugin.action("get", function(ref) return reed.snippet.get(ref) end)
plugin.action("make", function(text) return reed.snippet.create("page", "about", json.decode(text)) end)
plugin.action("tell", function(ref)
  local ok, failure = pcall(reed.snippet.get, ref)
  return { ok, failure.status, failure.code, failure.message, tostring(failure) }
end)
plugin.run()
"""
    )
    plugin = workshop.launch(main, actions={"get": 1, "make": 2, "tell": 3})

    def get(ref: bytes) -> bytes:
        if ref.rstrip(b"\0") != b"about":
            raise NotFound("no snippet 'x'")
        return SnippetGot(200, RECORD).pack()

    plugin.core.answers[Command.SNIPPET_GET] = get
    plugin.core.answers[Command.SNIPPET_CREATE] = lambda _: SnippetWritten(201, "1" * 36).pack()
    status, body = plugin.core.call(1, b"about")
    assert status == 200
    assert json.loads(body) == {
        "id": "0" * 36,
        "type": "page",
        "name": "about",
        "version": 3,
        "created_at": 10,
        "updated_at": 20,
        "content": {"title": "About", "tags": []},
    }
    assert b'"tags":[]' in body
    assert plugin.core.call(2, b'{"tags":[],"n":{}}') == (200, b"1" * 36)
    assert plugin.core.seen[-1][1] == SnippetCreate("page", "about", b'{"n":{},"tags":[]}').pack()
    assert plugin.core.call(3, b"x") == (200, b"[false,404,30001,\"no snippet 'x'\",\"404: no snippet 'x'\"]")
    with pytest.raises(CallError, match=r"demo\.get: main\.lua:4: no snippet 'x' \(404\)"):
        plugin.core.call(1, b"x")
    with pytest.raises(CallError, match=r"\(400\)"):
        plugin.core.call(1, b"x" * 40)


CONTENT = b'{"a":1}'


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("'about', { a = 1 }", "about"),
        ("""'about', '{"a":1}'""", "about"),
        ("nil, { a = 1 }", ""),
        ("'', { a = 1 }", ""),
        ("""'', '{"a":1}'""", ""),
    ],
)
def test_create_takes_content_as_a_table_or_a_text(bench: Bench, arguments: str, name: str) -> None:
    seen: list[tuple[bytes, bytes]] = []
    bench.sandbox._services = {b"snippet.create": lambda *asked: seen.append(asked) or b'"id"'}  # type: ignore[func-returns-value]
    assert bench.value(f"return {{ reed.snippet.create('page', {arguments}) }}") == ["id"]
    assert [(json.loads(head), content) for head, content in seen] == [(["page", name], CONTENT)]


def test_frames_that_arrive_while_lua_waits_for_the_core(workshop: Workshop) -> None:
    main = OPEN + 'plugin.action("get", function(ref) return reed.snippet.get(ref).version end)\nplugin.run()'
    plugin = workshop.launch(main, actions={"get": 1})
    plugin.core.send(1, b"about")
    assert plugin.core.frame()[0] == Command.SNIPPET_GET
    plugin.core.send(1, b"second")
    plugin.core.send_signal(Signal.HEALTH_CHECK)
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY, "a health check is answered at once"
    plugin.core.send(Command.SNIPPET_GET, SnippetGot(200, RECORD).pack(), Flag.RESPONSE)
    assert plugin.core.response() == (200, b"3"), "one call at a time"
    assert plugin.core.frame() == (Command.SNIPPET_GET, 0, b"second".ljust(36, b"\0"))


def test_files_of_the_data_folder(workshop: Workshop) -> None:
    main = (
        OPEN
        + """
plugin.action("work", function()
  local file = assert(io.open("notes/a.jsonl", "w"))
  file:write("one\\n", 2, "\\nthree")
  assert(file:flush())
  file:close()
  local again = io.open("notes/a.jsonl", "a"); again:write("!\\n"):close()
  assert(io.rename("notes/a.jsonl", "b.jsonl"))
  local lines = json.array()
  for line in io.lines("b.jsonl") do lines[#lines + 1] = line end
  local rest = io.open("b.jsonl")
  local head, all = rest:read(5), rest:read("a")
  return { lines, io.list(), head, all, rest:read("l") or json.null, (select(2, io.open("none"))) }
end)
plugin.action("out", function(path) return { io.open(path) or json.null, (select(2, io.open(path))) } end)
plugin.action("gone", function() assert(io.remove("b.jsonl")); return io.list() end)
plugin.run()
"""
    )
    data = workshop.folder / "data"
    (data / "notes").mkdir(parents=True)
    (data / "link").symlink_to("/etc/passwd")
    (data / "links").symlink_to("/etc")
    plugin = workshop.launch(main, actions={"work": 1, "out": 2, "gone": 3}, data_dir=str(data))
    lines, names, head, everything, end, missing = json.loads(plugin.core.call(1)[1])
    assert lines == ["one", "2", "three!"]
    assert names == ["b.jsonl", "link", "links", "notes"]
    assert (head, everything, end) == ("one\n2", "\nthree!\n", None)
    assert missing == "none: no such file"
    for path in ("/etc/passwd", "../demo/main.lua", "link", "links/passwd", "notes/../../demo/main.lua"):
        opened, reason = json.loads(plugin.core.call(2, path.encode())[1])
        assert opened is None, path
        assert path in reason
    assert json.loads(plugin.core.call(3)[1]) == ["link", "links", "notes"]


def test_files_need_the_permission(workshop: Workshop) -> None:
    main = OPEN + 'plugin.action("work", function() return io.open("x") end)\nplugin.run()'
    plugin = workshop.launch(main, actions={"work": 1})
    with pytest.raises(CallError, match=r"main\.lua:3: io\.open: .*file_write"):
        plugin.core.call(1)


def test_require_finds_the_plugins_own_files(workshop: Workshop) -> None:
    folder = workshop.folder / "demo"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "words.lua").write_text(
        "#!/usr/bin/lua\nlocal name = ...\nreturn { name = name, broken = function() error('x') end }"
    )
    (folder / "tools").mkdir()
    (folder / "tools" / "init.lua").write_text("return require 'lib.words'")
    (folder / "out.lua").symlink_to("/etc/passwd")
    (folder / "binary.lua").write_bytes(b"\x1bLua")
    main = (
        OPEN
        + """
assert(require "reed" == require "reed-cms-plugin-sdk" and require "json" == json)
local words = require "tools"
assert(words == require "lib.words")
plugin.action("name", function() return words.name end)
plugin.action("broken", function() words.broken() end)
plugin.action("find", function(name) return { pcall(require, name) } end)
plugin.run()
"""
    )
    plugin = workshop.launch(main, actions={"name": 1, "broken": 2, "find": 3})
    assert plugin.core.call(1) == (200, b"lib.words")
    with pytest.raises(CallError, match=r"demo.broken: lib/words.lua:3: x"):
        plugin.core.call(2)
    for name in (
        b"out",
        b"binary",
        b"ffi",
        b"..main",
        b"/etc/passwd",
        b"lib/words",
        b"python",
    ):
        found, reason = json.loads(plugin.core.call(3, name)[1])
        assert found is False, name
        assert isinstance(reason, str)


def test_the_process_is_confined(workshop: Workshop, zygote: Zygote) -> None:
    plugin = workshop.launch(ECHO, actions=ACTIONS)
    proc = Path(f"/proc/{plugin.pid}")
    status = dict(line.split(":\t") for line in proc.joinpath("status").read_text().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Name"] == "reed:demo"
    assert int(status["PPid"]) == os.getpid(), "the core is the parent, not the zygote"
    assert os.getsid(plugin.pid) == plugin.pid
    descriptors = {int(path.name): path.readlink() for path in proc.joinpath("fd").iterdir()}
    assert str(descriptors[0]) == "/dev/null"
    sockets = [fd for fd, target in descriptors.items() if str(target).startswith("socket:")]
    assert len(sockets) == 1, "only its own connection"
    limits = proc.joinpath("limits").read_text()
    assert "Max core file size        0 " in limits
    assert "Max processes             0 " in limits
    assert zygote.pid != plugin.pid


def test_two_plugins_have_different_random_numbers(workshop: Workshop) -> None:
    main = OPEN + 'plugin.action("echo", function() return math.random(1 << 53) end)\nplugin.run()'
    first, second = (workshop.launch(main, actions=ACTIONS).core.call(1) for _ in range(2))
    assert first != second


def test_start_and_memory(workshop: Workshop) -> None:
    """Private memory in kB; measured 2,150 with Python 3.11."""
    plugins = [workshop.launch(ECHO, actions=ACTIONS) for _ in range(5)]
    private = []
    for plugin in plugins:
        for number in range(100):
            plugin.core.call(1, str(number).encode())
        rollup = Path(f"/proc/{plugin.pid}/smaps_rollup").read_text().splitlines()[1:]
        fields = {line.split()[0]: int(line.split()[1]) for line in rollup}
        private.append(fields["Private_Dirty:"] + fields["Private_Clean:"])
    assert min(private) < 3072, private
