"""The fast path of PLUGIN_SEND (core.forward): which calls take it, and that no answer depends on it.

The core runs in a thread of the test, which records what the path took; its sockets and plugins are real.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reed.client import Client
from reed.config import load
from reed.core.call_queue import CallQueue
from reed.core.calls import Call
from reed.core.forward import Forwarder
from reed.daemon import Daemon
from reed.testing.rows import registry_text
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import ErrorResponse
from reed.wire.plugins import PluginSend
from reed.wire.requests import ConnectionAssume
from reed.wire.snippets import SnippetCreate
from reed.wire.structs import HEADER
from tests import bare_plugin
from tests.system.raw_connection import DEADLINE, Answer, RawConnection

SEND = int(Command.PLUGIN_SEND)
MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "%s", version = "1.0.0" }
local kept = 0
plugin.action("echo", function(text) return text end)
plugin.action("hold", function(_, seconds)
  local stop = os.clock() + seconds
  while os.clock() < stop do end
  return "held"
end)
plugin.action("status", function(text) return text, tonumber(text) end)
plugin.action("refuse", function() reed.fail(422, "not this") end)
plugin.action("keep", function(text) kept = #text end)
plugin.action("kept", function() return tostring(kept) end)
plugin.action("read", function(_, name) return reed.snippet.get(name).name end)
plugin.action("length", function(bytes) return tostring(#bytes) end)
plugin.action("long", function(bytes) return (" "):rep(tonumber(bytes)) end)
plugin.action("title", function(_, page) return page.content.title end)
plugin.action("busy", function() plugin.send_signal(reed.signals.BUSY, "counting") end)
plugin.on_signal(function(kind)
  if kind == reed.signals.WAKE_UP then plugin.send_signal(reed.signals.READY) end
end)
plugin.run()
"""
MANIFEST = """
name: %s
version: 1.0.0
actions:
  echo: {command_id: 1}
  hold: {command_id: 2, timeout: 500ms}
  status: {command_id: 3}
  refuse: {command_id: 4}
  keep: {command_id: 5}
  kept: {command_id: 6}
  read: {command_id: 7}
  length: {command_id: 8, input: bytes}
  long: {command_id: 9, input: bytes}
  title: {command_id: 10, input: snippet}
  busy: {command_id: 11}
limits: {cpu: 50s, memory: 128MB}
%s
"""
ROW = '{},lua,/tmp/reed-cms/plugins/{}.sock,1.0.0,"snippet_read","editor,reader",false,""\n'

BARE = """
register(answer=1)
while True:
    command, flags, payload = receive()
    if command == 1:
        answer(1, payload, int(payload))
    elif payload[0] == 0x10:
        break
    else:
        ready()
"""


class Asker(RawConnection):
    def send(self, *requests: bytes) -> Asker:
        self.sock.sendall(b"".join(requests))
        return self

    def error(self) -> str:
        command_id, flags, status, body = self.answer()
        assert (command_id, flags) == (SEND, Flag.RESPONSE | Flag.ERROR), (command_id, flags, status, body)
        return ErrorResponse.unpack(struct.pack("<H", status) + body).message

    def ask(self, action: str, given: bytes = b"1", plugin: str = "tool") -> Answer:
        return self.send(request(action, given, plugin)).answer()


class World:
    """A core with the plugins tool and other, and what its fast path took: "call" and "answer"."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.taken: list[str] = []
        self.bugs = 0  # that the test has put in
        self._spy(monkeypatch, "take", "call")
        self._spy(monkeypatch, "take_answer", "answer")
        self.more = ""  # of the manifest
        self.core: Daemon

    def _spy(self, monkeypatch: pytest.MonkeyPatch, name: str, what: str) -> None:
        method: Callable[..., int] = getattr(Forwarder, name)

        def spy(forwarder: Forwarder, origin: Any, data: memoryview) -> int:
            size = method(forwarder, origin, data)
            self.taken += [what] if size else []
            return size

        monkeypatch.setattr(Forwarder, name, spy)

    def write(self, name: str, main: str = MAIN, manifest: str = MANIFEST) -> None:
        folder = self.root / "plugins" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.lua").write_text(main % name)
        (folder / "plugin.yaml").write_text(manifest % (name, self.more))

    def start(self, settings: str = "", hold: str = "500ms") -> World:
        for name in ("tool", "other"):
            self.write(name, manifest=MANIFEST.replace("500ms", hold))
        self.rows = self.root / "rows.csv"
        self.rows.write_text(registry_text() + ROW.replace("{}", "tool") + ROW.replace("{}", "other"))
        (self.root / "reed.yaml").write_text(
            "groups: {editor: {permissions: [plugin_send]}, reader: {permissions: [snippet_read]}}\n" + settings
        )
        places = {"runtime_dir": str(self.root / "run"), "data_dir": str(self.root / "data")}
        places |= {"registry": str(self.rows), "plugin_dirs": [str(self.root / "plugins")]}
        self.core = Daemon(load(self.root / "reed.yaml", {}, places))
        self.core.run_in_thread()
        self.client = Client(self.core.socket)
        self.client.plugin_start("tool")
        self.client.plugin_start("other")
        return self

    def asker(self) -> Asker:
        return Asker(self.core.socket)

    def figures(self, plugin: str = "tool") -> dict[str, Any]:
        found: dict[str, Any] = self.client.plugin_health(plugin)[0]
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, self.figures()

    def took(self, expected: list[str]) -> None:
        """What the path has taken so far; the core notes an answer after it was sent."""
        self.until(lambda: len(self.taken) >= len(expected))
        assert self.taken == expected

    def end(self) -> None:
        self.client.close()
        self.core.stop()


def request(action: str, given: bytes = b"1", plugin: str = "tool", flags: int = 0) -> bytes:
    return frames.encode(SEND, PluginSend(plugin, action, given).pack(), flags)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    """Not started yet."""
    world = World(tmp_path, monkeypatch)
    yield world
    world.end()
    assert sum("the core continues" in each.getMessage() for each in caplog.get_records("call")) == world.bugs


BOTH = ["call", "answer"]


def test_calls_are_forwarded_and_their_answers_too(world: World) -> None:
    asker = world.start().asker()
    for number in range(3):
        assert asker.ask("echo", b"%d" % number) == (SEND, Flag.RESPONSE, 200, b"%d" % number)
    assert asker.ask("length", b"\0\xff") == (SEND, Flag.RESPONSE, 200, b"2")
    assert asker.ask("status", b"503") == (SEND, Flag.RESPONSE, 503, b"503")
    world.took(BOTH * 5)
    assert asker.ask("refuse").status == 422
    world.took([*BOTH * 5, "call"])  # errors go the usual way


@pytest.mark.parametrize("given", [b"{", b'{"a":1,"a":2}', b"1 2", b"\xff", b"NaN", b" "])
def test_an_input_that_is_no_json_is_400(world: World, given: bytes) -> None:
    asker = world.start().asker()
    asker.ask("echo")
    assert asker.send(request("echo", given)).error().startswith("JSON: ")
    world.took(BOTH)
    assert asker.ask("length", given).body == b"%d" % len(given)


def test_an_empty_input_is_null(world: World) -> None:
    asker = world.start().asker()
    assert asker.ask("echo", b"").body == b"null"
    assert asker.ask("length", b"").body == b"0"


def test_a_snippet_as_input_goes_the_usual_way(world: World) -> None:
    asker = world.start().asker()
    world.client.registry_define("page", {})
    world.client.snippet_create("page", "intro", {"title": "Hello"})
    for _ in range(2):
        assert asker.ask("title", b'"intro"').body == b"Hello"
    assert not world.taken


def test_flags_and_other_lengths_go_the_usual_way(world: World) -> None:
    asker = world.start().asker()
    asker.send(request("echo", b"7", flags=int(Flag.BROADCAST)))
    assert json.loads(asker.answer().body)["other"] == {"status": 200, "answer": 7}
    asker.send(request("keep", b"12345", flags=int(Flag.ASYNC)))
    assert asker.ask("kept").body == b"5"
    wrong = bytearray(request("echo", b"77"))
    wrong[HEADER.size + 64] = 1  # input_len
    assert "length field" in asker.send(bytes(wrong)).error()
    longer = bytearray(request("echo", b"77"))
    longer[8] += 5  # payload_len
    before = world.client.stats()["loop"]["turns"]
    asker.send(bytes(longer))
    world.until(lambda: world.client.stats()["loop"]["turns"] > before + 2)
    assert "length field" in asker.send(b"more.").error()


def test_the_second_call_of_an_action_times_out_too_and_the_next_gets_its_own_answer(world: World) -> None:
    asker = world.start().asker()
    assert asker.ask("hold", b"0").body == b"held"
    for _ in range(2):
        assert "plugin tool, action hold: no response within 0.5 s" in asker.send(request("hold", b"0.6")).error()
        assert asker.ask("echo", b'"mine"').body == b'"mine"'
    assert world.taken.count("call") >= 3
    figures = world.figures()
    assert (figures["calls"], figures["errors"], figures["calls_in_flight"], figures["calls_waiting"]) == (5, 2, 0, 0)


def test_a_crash_during_a_forwarded_call_is_502(world: World) -> None:
    asker = world.start(hold="60s").asker()
    asker.ask("echo")
    asker.send(request("hold", b"40"))
    world.until(lambda: world.figures()["calls_in_flight"] == 1)
    world.took([*BOTH, "call"])
    os.kill(world.figures()["pid"], signal.SIGKILL)
    assert "plugin tool, action hold: killed by SIGKILL" in asker.error()
    assert asker.ask("echo", b"5").body == b"5"


def test_a_reload_may_change_the_ids_of_actions(world: World) -> None:
    """Also while calls go on: some are forwarded to the old process after the new version was read."""
    asker = world.start().asker()
    for first, second in ((6, 1), (1, 6)):
        swapped = MANIFEST.replace("echo: {command_id: 1}", f"echo: {{command_id: {first}}}")
        world.write("tool", manifest=swapped.replace("kept: {command_id: 6}", f"kept: {{command_id: {second}}}"))
        reloading = threading.Thread(target=world.client.plugin_reload, args=("tool",))
        reloading.start()
        while reloading.is_alive():
            assert asker.ask("echo", b"5").body == b"5"
        for _ in range(2):
            assert asker.ask("echo", b"5").body == b"5"
            assert asker.ask("kept").body == b"0"


def test_a_stopped_plugin_is_503_until_it_is_started(world: World) -> None:
    asker = world.start().asker()
    asker.ask("echo")
    world.client.plugin_stop("tool")
    assert "plugin tool is stopped" in asker.send(request("echo")).error()
    world.client.plugin_start("tool")
    assert asker.ask("echo", b"6").body == b"6"
    world.took(BOTH * 2)


def test_a_sleeping_plugin_is_woken(world: World) -> None:
    world.more = "sleep: {after: 50ms, mode: deep}"
    asker = world.start().asker()
    for _ in range(2):
        asker.ask("echo")
        world.until(lambda: world.figures()["state"] == "sleeping")
    assert asker.ask("echo", b"6").body == b"6"


def test_a_busy_plugin_gets_its_call_when_it_is_ready(world: World) -> None:
    asker = world.start().asker()
    asker.ask("busy")
    world.until(lambda: world.figures()["state"] == "busy")
    asker.send(request("echo", b"7"))
    world.until(lambda: world.figures()["calls_waiting"] == 1)
    world.client.plugin_signal("tool", Signal.WAKE_UP)
    assert asker.answer().body == b"7"
    assert asker.ask("echo", b"8").body == b"8"
    assert world.taken.count("call") == 2


def test_calls_that_wait_come_first(world: World) -> None:
    world.start(hold="60s")
    askers = [world.asker() for _ in range(4)]
    askers[0].send(request("hold", b"40"))
    world.until(lambda: world.figures()["calls_in_flight"] == 1)
    for number in (1, 2, 3):
        askers[number].send(request("echo", b"%d" % number))
        world.until(lambda number=number: world.figures()["calls_waiting"] == number)
    assert world.taken.count("call") == 1
    os.kill(world.figures()["pid"], signal.SIGKILL)
    assert "killed by SIGKILL" in askers[0].error()
    assert [askers[number].answer().body for number in (1, 2, 3)] == [b"1", b"2", b"3"]


def test_a_forwarded_call_that_ends_makes_room_for_one_that_waits(world: World) -> None:
    world.start(hold="60s")
    first, second = world.asker(), world.asker()
    first.send(request("hold", b"0.2"))
    assert second.ask("echo", b"2").body == b"2"
    assert first.answer().body == b"held"


def test_forwarded_calls_count_against_the_quota(world: World) -> None:
    world.start("limits: {user_calls: 1}\n")
    first, second = world.asker(), world.asker()
    second.ask("echo", plugin="other")
    first.send(request("hold", b"0.7"))
    world.until(lambda: world.figures()["calls_in_flight"] == 1)
    assert "limits.user_calls in reed.yaml is 1" in second.send(request("echo", plugin="other")).error()
    assert "no response" in first.error()
    assert second.ask("echo", b"3", "other").body == b"3"
    assert world.taken.count("call") == 4
    assert world.client.stats()["refused"]["limits.user_calls"] == 1


def test_a_monitor_sees_both_frames_of_both_sides(world: World) -> None:
    asker = world.start().asker()
    asker.ask("echo")
    with socket.socket(socket.AF_UNIX) as watcher:
        watcher.settimeout(DEADLINE)
        watcher.connect(str(world.core.socket.parent / "monitor.sock"))
        world.until(lambda: world.core._context.monitor.watched)
        assert asker.ask("echo", b'"watched"').body == b'"watched"'
        seen = b""
        while seen.count(b'"watched"') < 4:
            seen += watcher.recv(65536)
    world.until(lambda: not world.core._context.monitor.watched)
    world.took(BOTH)
    asker.ask("echo")
    world.took(BOTH * 2)


def test_forwarded_calls_are_counted(world: World) -> None:
    asker = world.start().asker()
    for given in (b"200", b"503", b"404"):
        asker.ask("status", given)
    world.took(BOTH * 3)
    figures = world.figures()
    assert (figures["calls"], figures["errors"], sum(figures["latency"]["histogram"])) == (3, 1, 3)
    assert figures["latency_ms"]["p50"] > 0
    counted = world.client.stats()["commands"]["PLUGIN_SEND"]
    assert counted["calls"] == sum(counted["histogram"]) == 3
    assert counted["errors"] == {"404": 1, "503": 1}
    assert (counted["bytes_in"], counted["bytes_out"]) == (3 * len(request("status", b"200")), 3 * (HEADER.size + 5))


def test_requests_that_come_together_or_in_pieces_are_answered_in_order(world: World) -> None:
    asker = world.start().asker()
    asker.send(*(request("echo", b"%d" % number) for number in range(5)))
    assert [asker.answer().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    whole = request("echo", b'"' + b"x" * 300 + b'"')
    for size in (5, HEADER.size, 100, len(whole) - 1):
        before = world.client.stats()["loop"]["turns"]
        asker.send(whole[:size])
        world.until(lambda before=before: world.client.stats()["loop"]["turns"] > before + 2)
        assert asker.send(whole[size:]).answer().body == whole[80:]
    inner = request("echo", b"1")
    outer = request("length", inner)
    before = world.client.stats()["loop"]["turns"]
    asker.send(outer[: -len(inner)])
    world.until(lambda: world.client.stats()["loop"]["turns"] > before + 2)
    assert asker.send(inner).answer().body == b"%d" % len(inner)
    asker.send(request("echo", b"8") + request("echo", b"9")[:50])
    assert asker.answer().body == b"8"
    assert asker.send(request("echo", b"9")[50:]).answer().body == b"9"


def test_a_request_during_a_forwarded_call_waits_for_its_answer(world: World) -> None:
    asker = world.start().asker()
    asker.send(request("hold", b"0.7"))
    world.until(lambda: world.figures()["calls_in_flight"] == 1)
    asker.send(request("echo", b"1", "other"))
    world.until(lambda: not (found := world.figures("other"))["calls_in_flight"] and found["calls"] == 1)
    asker.send(frames.encode(Command.PLUGIN_LIST))
    world.asker().ask("length", bytes(1000), "other")  # the receive buffer is used again
    assert "no response" in asker.error()
    assert asker.answer()[::3] == (SEND, b"1")
    assert asker.answer().command_id == Command.PLUGIN_LIST


def test_inputs_and_answers_of_16_mb(world: World) -> None:
    asker = world.start().asker()
    asker.ask("echo")
    size = 16 * 1024 * 1024 - 68
    asker.send(request("length", bytes(size)))
    assert asker.answer().body == b"%d" % size
    assert asker.ask("long", b"%d" % size).body == b" " * size
    before = world.taken.count("call")
    for size in (16 * 1024 - 81, 16 * 1024 - 80, 16 * 1024 - 79, 300_000):
        given = b'"' + b"x" * (size - 2) + b'"'
        assert asker.ask("echo", given).body == given
    assert world.taken.count("call") == before + 2


def test_an_answer_that_is_not_read_is_kept(world: World) -> None:
    """While a caller reads nothing, the socket is full, and the receive buffer is used again."""
    slow, other = world.start().asker(), world.asker()
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    size = 60_000
    for number in range(6):
        slow.send(request("long", b"%d" % size))
        world.until(
            lambda number=number: world.figures()["calls"] == 2 * number + 1 and not world.figures()["calls_in_flight"]
        )
        other.ask("length", b"y" * size)
    assert [slow.answer().body for _ in range(6)] == [b" " * size] * 6


def test_an_invalid_status_is_an_error(world: World) -> None:
    """A plugin without an SDK may answer with any."""
    world.start(f"plugins: {{bare: {{paths: {json.dumps([sys.base_prefix, sys.prefix])}}}}}\n")
    folder = world.root / "plugins" / "bare"
    folder.mkdir()
    (folder / "plugin.yaml").write_text("name: bare\nversion: 1.0.0\nactions: {answer: {command_id: 1}}\n")
    bare_plugin.write(folder / "bare", BARE)
    with world.rows.open("a") as file:
        file.write(ROW.replace("{}", "bare").replace(",lua,", ",native,"))
    world.client.plugin_reload()
    world.client.plugin_start("bare")
    asker = world.asker()
    for status in (99, 600, 0):
        given = b"%d" % status
        assert (
            f"plugin bare, action answer: invalid status {status}"
            in asker.send(request("answer", given, "bare")).error()
        )
    assert asker.ask("answer", b"201", "bare") == (SEND, Flag.RESPONSE, 201, b"201")
    world.took(["call", "call", "call", *BOTH])


def test_a_caller_that_goes_away_costs_nobody_else(world: World) -> None:
    world.start("limits: {user_calls: 1}\n")
    asker, next_one = world.asker(), world.asker()
    asker.send(request("hold", b"0.7"))
    world.until(lambda: world.figures()["calls_in_flight"] == 1)
    asker.sock.close()
    world.until(lambda: world.figures()["errors"] == 1)
    assert next_one.ask("echo", b"4", "other").body == b"4"


def test_permissions_that_a_connection_gave_up_are_gone(world: World) -> None:
    asker = world.start().asker()
    asker.ask("echo")
    asker.send(frames.encode(Command.CONNECTION_ASSUME, ConnectionAssume("anna", "reader").pack()))
    assert asker.answer().status == 200
    assert "may not PLUGIN_SEND" in asker.send(request("echo")).error()
    world.took(BOTH)


def test_a_changed_row_is_respected(world: World) -> None:
    asker = world.start().asker()
    asker.send(frames.encode(Command.CONNECTION_ASSUME, ConnectionAssume("anna", "editor").pack()))
    assert asker.answer().status == 200
    assert asker.ask("echo", b"5").body == b"5"
    rows = world.rows.read_text()
    world.rows.write_text(rows.replace('"editor,reader"', '"reviewer"'))
    world.client.plugin_reload()
    assert "may not send to tool" in asker.send(request("echo")).error()
    world.rows.write_text(rows)
    world.client.plugin_reload()
    assert asker.ask("echo", b"6").body == b"6"
    world.took(BOTH * 2)
    world.rows.write_text(registry_text() + ROW.replace("{}", "other"))
    world.client.plugin_reload()
    assert "plugin tool" in asker.send(request("echo")).error()
    world.rows.write_text(rows)
    world.client.plugin_reload()
    world.client.plugin_start("tool")
    assert asker.ask("echo", b"7").body == b"7"
    world.took(BOTH * 3)


def test_a_call_after_a_write_sees_it(world: World) -> None:
    asker = world.start().asker()
    world.client.registry_define("page", {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}})
    for number in range(3):
        content = b'{"a":"%s"}' % (b"x" * 1_000_000)  # checked by a worker
        create = frames.encode(Command.SNIPPET_CREATE, SnippetCreate("page", f"p{number}", content).pack(), Flag.ASYNC)
        asker.send(create)
        name = b'"p%d"' % number
        assert asker.ask("read", name) == (SEND, Flag.RESPONSE, 200, name.strip(b'"'))


def test_a_call_does_not_overtake_one_whose_input_a_worker_checks(world: World) -> None:
    asker = world.start().asker()
    for size in (400_000, 500_000):
        asker.send(request("keep", b'"' + b"x" * (size - 2) + b'"', flags=int(Flag.ASYNC)))
        assert asker.ask("kept").body == b"%d" % size


@pytest.mark.parametrize(
    ("owner", "name"), [(CallQueue, "begin"), (CallQueue, "end"), (Call, "count"), (Forwarder, "_learn")]
)
def test_a_bug_is_a_500(world: World, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    asker = world.start().asker()
    asker.ask("echo")
    world.bugs = 1
    with monkeypatch.context() as patched:
        once = [ZeroDivisionError("a test")]
        method = getattr(owner, name)

        def broken(*arguments: Any, **options: Any) -> Any:
            if once:
                raise once.pop()
            return method(*arguments, **options)

        patched.setattr(owner, name, broken)
        answer = asker.ask("echo", b"2") if name != "_learn" else world.asker().ask("echo", b"2")
    if name == "_learn":
        assert answer.body == b"2"  # nothing had begun: the usual way
    else:
        assert answer.status == 500
        assert b"ZeroDivisionError" in answer.body
    assert asker.ask("echo", b"3").body == b"3"
    assert world.figures()["calls_in_flight"] == 0


def test_a_core_that_stops_ends_a_forwarded_call(world: World) -> None:
    asker = world.start().asker()
    asker.send(request("hold", b"0.7"))
    world.until(lambda: world.figures()["calls_in_flight"] == 1)
    stopping = threading.Thread(target=world.core.stop)
    stopping.start()
    assert "no response within 0.5 s" in asker.error()
    stopping.join(DEADLINE)
    assert not stopping.is_alive()


def test_a_restart_of_the_core_during_a_forwarded_call(site) -> None:  # type: ignore[no-untyped-def]
    """And the plugin keeps running."""
    site.add_lua_plugin("tool", MAIN % "tool", (MANIFEST.replace("500ms", "60s") % ("tool", "")).split("\n", 3)[3])
    site.set_rows('tool,lua,{},1.0.0,"snippet_read","admin",false,""')
    site.start()
    with Client(site.socket_path) as client:
        client.plugin_start("tool")
        pid = client.plugin_health("tool")[0]["pid"]
        asker = Asker(site.socket_path)
        assert asker.ask("echo", b"4").body == b"4"
        asker.send(request("hold", b"0.3"))
        restarted = site.reed("restart")
        assert restarted.returncode == 0, restarted.stderr
        said = asker.sock.recv(65536)  # nothing, if it took too long
        assert said in (b"", frames.encode(SEND, struct.pack("<H", 200) + b"held", int(Flag.RESPONSE)))
        assert Asker(site.socket_path).ask("echo", b"5").body == b"5"
        assert client.plugin_health("tool")[0]["pid"] == pid
    site.no_tracebacks()
