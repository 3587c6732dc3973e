"""Messages between plugins: a real Lua plugin, and a neighbour whose ends of the FIFOs the test holds."""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reed.errors import CallError
from reed.lua.message_buffer import MessageBuffer
from reed.lua.rubbish import CUT, LIMIT, Rubbish
from reed.wire.codes import Command, Flag, MessageType, Signal
from reed.wire.plugins import PluginMessage

if TYPE_CHECKING:
    from conftest import Workshop

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'
MAIN = (
    OPEN
    + """
local seen = json.array()
plugin.register_message_handler(1, function(payload, source, kind) seen[#seen + 1] = { payload, source, kind } end)
plugin.register_message_handler(2, function(payload) return { n = json.decode(payload).n * 2 } end)
plugin.register_message_handler(3, function() return "text" end)
plugin.register_message_handler(4, function() reed.fail(422, "no title") end)
plugin.register_message_handler(5, function() local nothing; return nothing.x end)
plugin.register_message_handler(6, function() while true do end end)
plugin.action("seen", function() return seen end)
plugin.action("tell", function(text) return plugin.send_plugin_message("peer", 9, text) end)
plugin.action("ask", function(text) return { answered = true, data = plugin.request("peer", 9, text, 5) } end)
plugin.action("ask-briefly", function(text) return plugin.request("peer", 9, text, 0.05) end)
plugin.action("to", function(target) return plugin.send_plugin_message(target, 1, {}) end)
plugin.action("fill", function()
  local queued = 0
  for number = 1, 100000 do
    local ok, failure = pcall(plugin.send_plugin_message, "peer", 9, json.encode { n = number })
    if not ok then return { number = number, status = failure.status, message = failure.message } end
  end
end)
plugin.run()
"""
)
ACTIONS = {"seen": 1, "tell": 2, "ask": 3, "ask-briefly": 4, "to": 5, "fill": 6}


class Neighbour:
    """The plugin `peer`: it writes into peer→demo and reads demo→peer."""

    def __init__(self, runtime_dir: Path) -> None:
        fifos = runtime_dir / "fifos"
        fifos.mkdir()
        self.ends = []
        for name, link in (("peer→demo", "from"), ("demo→peer", "to")):
            os.mkfifo(fifos / name, 0o600)
            os.link(fifos / name, runtime_dir / "peers" / "demo" / link / "peer")
            self.ends.append(os.open(fifos / name, os.O_RDWR | os.O_NONBLOCK))
        self.buffer = MessageBuffer("demo", "peer")
        self.newest = 0

    def send(self, kind: int, payload: Any, timestamp: int = 0) -> int:
        self.newest = timestamp or self.newest + 1
        self.write(PluginMessage(kind, "peer", "demo", self.newest, json.dumps(payload).encode()).pack())
        return self.newest

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            assert select.select([], [self.ends[0]], [], 10)[1], "demo does not read"
            rest = rest[os.write(self.ends[0], rest[:4096]) :]

    def receive(self) -> tuple[int, Any, int]:
        """The next message of demo: type, payload, timestamp."""
        while (message := self.buffer.next_message()) is None:
            assert select.select([self.ends[1]], [], [], 10)[0], "nothing came of demo"
            self.buffer.feed(os.read(self.ends[1], 65536))
        return message.message_type, json.loads(bytes(message.payload)), message.timestamp

    def ask(self, kind: int, payload: Any, timestamp: int = 0) -> tuple[int, Any]:
        asked = self.send(kind, payload, timestamp)
        kind, answer, _ = self.receive()
        assert answer.pop("in_reply_to") == asked
        return kind, answer


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[Neighbour]:
    neighbour = Neighbour(tmp_path)
    yield neighbour
    for end in neighbour.ends:
        os.close(end)


def test_each_message_gets_one_answer(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    assert json.loads(bytes(plugin.registered.manifest))["messages"] == [1, 2, 3, 4, 5, 6]
    assert neighbour.ask(1, {"a": []}) == (MessageType.RESPONSE_ACK, {})
    assert neighbour.ask(2, {"n": 21}) == (MessageType.RESPONSE_DATA, {"data": {"n": 42}})
    assert neighbour.ask(3, {}) == (MessageType.RESPONSE_DATA, {"data": "text"})
    assert neighbour.ask(4, {}) == (MessageType.RESPONSE_ERROR, {"status": 422, "error": "no title"})
    assert plugin.core.signal() == (Signal.PLUGIN_ERROR, b"demo: message 0x04 of peer: no title")
    kind, answer = neighbour.ask(5, {})
    assert (kind, answer["status"]) == (MessageType.RESPONSE_ERROR, 500)
    assert answer["error"] == "main.lua:9: attempt to index a nil value (local 'nothing')"
    assert plugin.core.signal()[0] == Signal.PLUGIN_ERROR
    assert neighbour.ask(6, {})[1] == {"status": 504, "error": "main.lua:10: time limit of 0.3 s reached"}
    assert plugin.core.signal()[0] == Signal.PLUGIN_ERROR
    assert neighbour.ask(77, {})[1] == {"status": 404, "error": "demo has no handler for messages of type 0x4D"}
    assert plugin.core.signal()[0] == Signal.PLUGIN_ERROR
    assert plugin.core.call(1) == (200, b'[["{\\"a\\": []}","peer",1]]'), "the plugin lives"
    plugin.core.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert "error: demo: message 0x05 of peer: main.lua:9: attempt to index" in plugin.output()


def test_a_repeat_is_answered_again_and_handled_once(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    for _ in range(3):
        assert neighbour.ask(1, {}, timestamp=500)[0] == MessageType.RESPONSE_ACK
    assert neighbour.ask(2, {"n": 1}, timestamp=501)[1] == {"data": {"n": 2}}
    assert neighbour.ask(2, {"n": 1}, timestamp=501)[1] == {"data": {"n": 2}}
    assert len(json.loads(plugin.core.call(1)[1])) == 1


RUBBISH = {
    "letters": b"G" * 65536,
    "bare magics": b"GMLP" * 16384,
    "starts of a header": b"GMLP\x01" * 13107,
    "names without a start": (b"peer".ljust(32, b"\0") + b"demo".ljust(32, b"\0")) * 1024,
    "headers without an end": PluginMessage(1, "peer", "demo", 9, b"{}").pack()[:82] * 800,
    "one message again and again": PluginMessage(1, "peer", "demo", 9, b"{}").pack() * 780,
}


@pytest.mark.parametrize("waits", [False, True], ids=["between jobs", "inside a job"])
@pytest.mark.parametrize("name", RUBBISH)
def test_a_neighbour_that_writes_rubbish_is_cut_off(
    workshop: Workshop, neighbour: Neighbour, name: str, waits: bool
) -> None:
    """The work for it is charged to no job; the reader answers meanwhile, and names the writer."""
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",), limits={"cpu": 0.05})
    os.set_blocking(neighbour.ends[0], False)
    if waits:
        plugin.core.send(ACTIONS["ask"], b"{}")
    asked = neighbour.receive() if waits else None
    rest, written = b"", 0
    while written < 40 * 1024 * 1024 and select.select([], [neighbour.ends[0]], [], 0.5)[1]:
        rest = rest or RUBBISH[name]
        size = os.write(neighbour.ends[0], rest)
        rest, written = rest[size:], written + size
        with contextlib.suppress(BlockingIOError):
            os.read(neighbour.ends[1], 65536)  # its answers
        if not waits and written % (1 << 20) < size:
            assert plugin.core.call(ACTIONS["seen"])[0] == 200, "the reader lives, and has its turn"
    assert written < 36 * 1024 * 1024, "it is not read any more"
    if waits:
        assert asked
        with pytest.raises(CallError) as refused:
            plugin.core.response()
        assert "did not answer" in str(refused.value), "it waited, and was not stopped for the work of others"
    plugin.core.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert plugin.exit_status() == 0
    told = [line for line in plugin.output().splitlines() if "peer" in line and "not read" in line]
    assert len(told) == 1


def test_who_was_cut_off_is_heard_again() -> None:
    now = 0.0
    rubbish = Rubbish(lambda: now)
    assert not any(rubbish.add(LIMIT // 4) for _ in range(4)), "torn messages are no rubbish yet"
    assert rubbish.add(1)
    assert rubbish.is_cut_off
    now = CUT + 1
    assert not rubbish.is_cut_off
    assert not rubbish.add(LIMIT), "and what was is forgotten"
    now += CUT / 2
    assert not rubbish.add(LIMIT // 2), "as time goes by"


def test_a_torn_message_costs_itself_alone(workshop: Workshop, neighbour: Neighbour) -> None:
    workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    whole = PluginMessage(2, "peer", "demo", 7, b'{"n":%b}' % (b"1" * 100)).pack()
    for size in (3, 60, 90, 150):
        neighbour.write(whole[:size])
        assert neighbour.ask(2, {"n": size}) == (MessageType.RESPONSE_DATA, {"data": {"n": 2 * size}})


def test_large_messages_in_both_directions(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    text = "x" * 500_000
    assert neighbour.ask(1, text)[0] == MessageType.RESPONSE_ACK
    assert json.loads(json.loads(plugin.core.call(1)[1])[0][0]) == text
    assert plugin.core.call(2, json.dumps(text).encode()) == (200, b"false"), "queued: the pipe holds 64 KiB"
    assert plugin.core.call(2, b'"small"') == (200, b"false")
    assert neighbour.receive()[1] == text
    assert neighbour.receive()[1] == "small", "in order"


def test_a_full_pipe_and_a_full_queue_are_told(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    told = json.loads(plugin.core.call(6)[1])
    assert told["status"] == 429
    assert "the FIFO to peer is full, and 1024 messages wait for it" in told["message"]
    stamps = []
    for number in range(1, told["number"]):
        _, payload, stamp = neighbour.receive()
        assert payload == {"n": number}
        stamps.append(stamp)
    assert stamps == sorted(set(stamps)), "unique and rising"
    assert plugin.core.call(2, b"1") == (200, b"true")


def test_a_request_waits_for_its_answer(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    for kind, answer, result in (
        (MessageType.RESPONSE_ACK, {}, b'{"answered":true}'),
        (MessageType.RESPONSE_DATA, {"data": {"a": []}}, b'{"answered":true,"data":{"a":[]}}'),
        (MessageType.RESPONSE_DATA, {"data": None}, b'{"answered":true,"data":null}'),
    ):
        plugin.core.send(3, b'{"q":1}')
        sent, payload, stamp = neighbour.receive()
        assert (sent, payload) == (9, {"q": 1})
        plugin.core.send(1)  # a call that comes meanwhile waits
        plugin.core.send_signal(Signal.HEALTH_CHECK)
        assert plugin.core.signal()[0] == Signal.PLUGIN_READY, "a job that waits is no hang"
        neighbour.send(MessageType.RESPONSE_DATA, {"in_reply_to": 3, "data": "of another question"})
        neighbour.send(kind, {"in_reply_to": stamp, **answer})
        assert plugin.core.response() == (200, result)
        assert plugin.core.response() == (200, b"[]")
    plugin.core.send(3, b"{}")
    stamp = neighbour.receive()[2]
    neighbour.send(MessageType.RESPONSE_ERROR, {"in_reply_to": stamp, "status": 422, "error": "no title"})
    with pytest.raises(CallError, match=r"peer: no title \(422\)"):
        plugin.core.response()
    with pytest.raises(CallError, match=r"peer did not answer a message of type 9 within 0.05 s"):
        plugin.core.call(4, b"{}")


def test_messages_that_come_during_a_request_wait_for_its_end(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    plugin.core.send(3, b"{}")
    stamp = neighbour.receive()[2]
    asked = neighbour.send(2, {"n": 4})
    neighbour.send(MessageType.RESPONSE_ACK, {"in_reply_to": stamp})
    assert neighbour.receive()[1] == {"in_reply_to": asked, "data": {"n": 8}}
    assert plugin.core.response() == (200, b'{"answered":true}')


def test_a_request_is_sent_again_with_its_timestamp(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    plugin.core.send(3, b"{}")
    first, again = neighbour.receive(), neighbour.receive()
    assert first == again
    neighbour.send(MessageType.RESPONSE_ACK, {"in_reply_to": first[2]})
    assert plugin.core.response() == (200, b'{"answered":true}')


def test_whom_it_cannot_reach(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    with pytest.raises(CallError, match=r"demo.to: main\.lua:15: no FIFO to pear"):
        plugin.core.call(5, b"pear")
    with pytest.raises(CallError, match=r"'\.\./x' is not a plugin name"):
        plugin.core.call(5, b"../x")


def test_fifos_that_come_later_are_found_by_a_health_check(workshop: Workshop, tmp_path: Path) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS)
    neighbour = Neighbour(tmp_path)
    plugin.core.send_signal(Signal.HEALTH_CHECK)
    plugin.core.answer_registration(peers=["peer"])
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert neighbour.ask(2, {"n": 1})[1] == {"data": {"n": 2}}


SLEEPER = (
    OPEN
    + """
plugin.on_sleep(function() reed.log.info("good night") end)
plugin.register_message_handler(1, function() end)
plugin.action("echo", function(payload) return payload end)
plugin.run()
"""
)


def test_light_sleep(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(SLEEPER, actions={"echo": 1}, peers=("peer",), sleep={"after": 0.05, "mode": "light"})
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.send_signal(Signal.HEALTH_CHECK)
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING, "a check wakes nobody"
    plugin.core.send(1, b"1")
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.response() == (200, b"1")
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING, "again"
    assert neighbour.ask(1, {})[0] == MessageType.RESPONSE_ACK
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.send_signal(Signal.WAKE_UP)
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY


def test_deep_sleep_ends_the_process(workshop: Workshop) -> None:
    plugin = workshop.launch(SLEEPER, actions={"echo": 1}, sleep={"after": 0.05, "mode": "deep"})
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.answer_registration()
    assert plugin.core.closed()
    assert plugin.exit_status() == 0
    assert plugin.output() == "info: good night\n"


def test_a_call_that_crosses_deep_sleep_is_answered(workshop: Workshop) -> None:
    deep = {"after": 0.05, "mode": "deep"}
    plugin = workshop.launch(SLEEPER, actions={"echo": 1}, sleep=deep)
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.send(1, b"1")
    assert plugin.core.frame()[0] == Command.PLUGIN_REGISTER
    plugin.core.send(Command.PLUGIN_REGISTER, registered(deep), Flag.RESPONSE)
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.response() == (200, b"1")


def test_a_health_check_that_crosses_deep_sleep_is_answered_and_it_leaves(workshop: Workshop) -> None:
    deep = {"after": 0.05, "mode": "deep"}
    plugin = workshop.launch(SLEEPER, actions={"echo": 1}, sleep=deep)
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.send_signal(Signal.HEALTH_CHECK)
    assert plugin.core.frame()[0] == Command.PLUGIN_REGISTER
    plugin.core.send(Command.PLUGIN_REGISTER, registered(deep), Flag.RESPONSE)
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    assert plugin.core.closed()
    assert plugin.exit_status() == 0


def registered(sleep: dict[str, Any]) -> bytes:
    from reed.wire.common import JsonResponse

    return JsonResponse(200, json.dumps({"sleep": sleep}).encode()).pack()


def test_memory_after_messages(workshop: Workshop, neighbour: Neighbour) -> None:
    """Private memory in kB after 100 messages, each answered."""
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    for number in range(100):
        neighbour.ask(2, {"n": number})
    rollup = Path(f"/proc/{plugin.pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {line.split()[0]: int(line.split()[1]) for line in rollup}
    private = fields["Private_Dirty:"] + fields["Private_Clean:"]
    assert private < 3200
