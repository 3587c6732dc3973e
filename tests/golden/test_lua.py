"""The exact messages of the Lua SDK; other tests assert only status, code and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed.errors import CallError
from reed.lua.sandbox import LuaSandbox
from reed.plugin_host.dispatcher import HandlerDispatcher
from reed.plugin_host.fifo import FifoPaths
from reed.plugin_host.launch_spec import HostedSpec
from reed.plugin_host.messaging import Messaging
from reed.wire.common import ErrorResponse
from reed.wire.structs import HEADER

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'


def dispatcher(main: str) -> tuple[HandlerDispatcher, str]:
    """A dispatcher with this main.lua loaded, and the error if it could not be loaded."""
    fields = {"name": "demo", "version": "1.0.0", "folder": "/", "entry": "/main.lua", "socket_path": ""}
    limits = {"cpu": 0.05, "memory": 2 << 20}
    spec = HostedSpec.of({**fields, "runtime_dir": "", "actions": {"try": 1}, "limits": limits})
    sandbox = LuaSandbox()
    sandbox.start({}, memory=spec.memory, spec=spec.for_sdk)
    made = HandlerDispatcher(sandbox, lambda *_: None, lambda _: None)
    made.spec, made.names = spec, {1: "try"}
    outcome = sandbox.load("main.lua", main.encode())
    return made, "" if outcome.kind in ("run", "done") else outcome.text()


def answer(body: str, command: int = 1, payload: bytes = b"") -> str:
    """The message of the error response to a call of a handler with this body; its first line is line 4."""
    made, error = dispatcher(f'{OPEN}plugin.action("try", function(payload)\n{body}\nend)\nplugin.run()')
    assert not error
    made.arm_timer = lambda: None  # type: ignore[method-assign]
    return ErrorResponse.unpack(made.handle_call(command, payload)[HEADER.size :]).message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("error('plain')", "plain"),
        ("error { message = 'mine' }", "mine"),
        (
            "error({})",
            "error value is a table with no fields; expected {message = text, status = 400 to 599, code = error code,"
            " hint = text}, where message and one of status and code are required",
        ),
        ("local x; x()", "attempt to call a nil value (local 'x')"),
        ("while true do end", "time limit of 0.05 s reached"),
        ("local t = {}; while true do t[#t + 1] = {} end", "memory limit of 2 MB reached"),
        ("coroutine.yield()", "coroutine.yield outside of a coroutine"),
        ("reed.fail(200, 'x'); x()", "reed.fail: the status must be an integer from 400 to 599"),
        ("reed.snippet.get(1); x()", "snippet.get: ref: expected a string, found a number"),
        ("reed.snippet.get('x'); x()", "snippet.get is not available here (500)"),
        ("plugin.run()", "run() is called once, at the end of main.lua"),
        ("plugin.action('try', 5)", "action: expected a function as handler, found a number"),
        ("plugin.register_command(240, print)", "register_command: the id must be an integer from 1 to 239"),
        ("plugin.on_message(256, print)", "on_message: the type must be an integer from 0 to 255"),
        ("reed.create_plugin {}", "create_plugin: already called; a process runs one plugin"),
        ("io.open('x')", "io.open: this plugin lacks the permission file_write (plugin-registry.csv)"),
        ("os.getenv('x')", "os.getenv: a plugin has no environment variables; use reed.settings"),
        ("require 'no name'", "require: 'no name' is not a module name (words joined by dots)"),
        ("json.decode('[1,]')", "JSON: expected a JSON value at line 1 column 4"),
        ("json.decode('\"x')", "JSON: unterminated string at line 1 column 1"),
        ('json.decode(\'{"a":1,"a":2}\')', "JSON: duplicate key 'a' at line 1 column 8"),
        ("json.decode('[1] x')", "JSON: extra data at line 1 column 5"),
        ("json.encode { 1, nil, 3 }", "JSON: array with a gap before index 3 (use json.null)"),
        ("json.encode { a = { f = print } }", "JSON: .a.f: cannot encode a function"),
        ("json.encode { [1.5] = 1 }", "JSON: the key 1.5 is not a string"),
        ("json.encode(1/0)", "JSON: inf is not a JSON number"),
    ],
)
def test_errors_of_a_handler(body: str, message: str) -> None:
    assert answer(body) == f"demo.try: main.lua:4: {message}"


def test_errors_of_a_call() -> None:
    assert answer("", command=9) == "demo has no handler for command 9"
    text = "demo.try: payload of 3145728 bytes exceeds the memory limit of 2 MB"
    assert answer("", payload=bytes(3 << 20)) == text
    text = "demo.try: main.lua:3: the handler's status must be an integer from 200 to 599"
    assert answer("return 1, 99") == text


@pytest.mark.parametrize(
    ("main", "message"),
    [
        ("local x = = 1", "main.lua:1: unexpected symbol near '='"),
        (
            "for i = 1, 2 do i = 3 end",
            "main.lua:1: attempt to assign to const variable 'i' (since Lua 5.5 the variable of a for loop is const; "
            'plugin.yaml can set lua: "5.4")',
        ),
        (OPEN + "plugin.action('tri', print)", "main.lua:3: plugin.yaml has no action 'tri'; its actions: try"),
        (
            "require('reed').create_plugin { version = '2' }",
            "main.lua:1: create_plugin: version is '2', but '1.0.0' in plugin.yaml",
        ),
        ("require 'a'", "main.lua:1: module 'a' not found: a/init.lua: no such file, and no a.lua"),
    ],
)
def test_errors_of_main(main: str, message: str) -> None:
    assert dispatcher(main)[1] == message


def test_errors_of_messages(tmp_path: Path) -> None:
    (tmp_path / "fifos").mkdir()
    messaging = Messaging(FifoPaths(str(tmp_path), "demo"), lambda _: None, lambda *_: None, memoryview(bytearray(9)))
    messaging.refresh(["peer"])
    for arguments, message in (
        (b'["pear",1]', "no FIFO to pear; did you mean 'peer'?"),
        (b'["other-one",1]', "no FIFO to other-one; is there a row for it in plugin-registry.csv?"),
        (b'["peer",256]', "message type 256; expected an integer from 0 to 255"),
    ):
        with pytest.raises(CallError) as failed:
            messaging.send(arguments, b"{}")
        assert str(failed.value) == message
