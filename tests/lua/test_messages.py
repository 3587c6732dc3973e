"""Messages between plugins: a real Lua plugin, and a neighbour that the test plays."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reed.errors import CallError
from reed.plugin_host.fifo import BLOCK_SECONDS, JUNK_LIMIT, MAX_QUEUED, MAX_QUEUED_BYTES, JunkMeter
from reed.plugin_host.message_buffer import MessageBuffer
from reed.wire.codes import Command, Flag, MessageType, Signal
from reed.wire.common import JsonResponse
from reed.wire.plugins import PluginMessage

if TYPE_CHECKING:
    from conftest import Workshop

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'
MAIN = (
    OPEN
    + """
local seen = json.array()
plugin.on_message(1, function(payload, source, kind) seen[#seen + 1] = { payload, source, kind } end)
plugin.on_message(2, function(payload) return { n = json.decode(payload).n * 2 } end)
plugin.on_message(3, function() return "text" end)
plugin.on_message(4, function() reed.fail(422, "no title") end)
plugin.on_message(5, function() local nothing; return nothing.x end)
plugin.on_message(6, function() while true do end end)
plugin.action("seen", function() return seen end)
plugin.action("tell", function(text) return plugin.send_message("peer", 9, text) end)
plugin.action("ask", function(text) return { answered = true, data = plugin.request("peer", 9, text, 5) } end)
plugin.action("ask-briefly", function(text) return plugin.request("peer", 9, text, 0.05) end)
plugin.action("to", function(target) return plugin.send_message(target, 1, {}) end)
plugin.action("fill", function()
  local queued = 0
  for number = 1, 100000 do
    local ok, failure = pcall(plugin.send_message, "peer", 9, json.encode { n = number })
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
        """The next message from demo: type, payload, timestamp."""
        while (message := self.buffer.next_message()) is None:
            assert select.select([self.ends[1]], [], [], 10)[0], "demo sends nothing"
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
    for message, status, place in (
        (4, 422, "no title"),
        (5, 500, "main.lua:9: "),
        (6, 504, "main.lua:10: "),
        (77, 404, ""),
    ):
        kind, answer = neighbour.ask(message, {})
        assert (kind, answer["status"]) == (MessageType.RESPONSE_ERROR, status)
        assert answer["error"].startswith(place)
        kind, text = plugin.core.signal()
        assert kind == Signal.PLUGIN_ERROR
        assert answer["error"].encode() in text
    assert plugin.core.call(1) == (200, b'[["{\\"a\\": []}","peer",1]]'), "the plugin still answers"
    plugin.core.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert plugin.output().count("error: demo: message ") == 4


def test_a_repeated_message_is_handled_once_and_answered_each_time(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    for _ in range(3):
        assert neighbour.ask(1, {}, timestamp=500)[0] == MessageType.RESPONSE_ACK
    assert neighbour.ask(2, {"n": 1}, timestamp=501)[1] == {"data": {"n": 2}}
    assert neighbour.ask(2, {"n": 1}, timestamp=501)[1] == {"data": {"n": 2}}
    assert len(json.loads(plugin.core.call(1)[1])) == 1


JUNK = {
    "one byte": b"G" * 65536,
    "magic": b"GMLP" * 16384,
    "magic and version": b"GMLP\x01" * 13107,
    "names without magic": (b"peer".ljust(32, b"\0") + b"demo".ljust(32, b"\0")) * 1024,
    "headers without payload": PluginMessage(1, "peer", "demo", 9, b"{}").pack()[:82] * 800,
    "one message repeated": PluginMessage(1, "peer", "demo", 9, b"{}").pack() * 780,
}


@pytest.mark.parametrize("waits", [False, True], ids=["between jobs", "inside a job"])
@pytest.mark.parametrize("name", JUNK)
def test_a_neighbour_that_writes_junk_is_blocked(
    workshop: Workshop, neighbour: Neighbour, name: str, waits: bool
) -> None:
    """Reading it is charged to no job; the reader keeps answering, and logs the writer's name once."""
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",), limits={"cpu": 0.05})
    os.set_blocking(neighbour.ends[0], False)
    if waits:
        plugin.core.send(ACTIONS["ask"], b"{}")
    asked = neighbour.receive() if waits else None
    rest, written, began = b"", 0, time.monotonic()

    def allowed() -> float:
        """What a plugin reads at most, with what the pipe holds: some junk is forgiven each second."""
        return 36 * 1024 * 1024 + (time.monotonic() - began) * JUNK_LIMIT / BLOCK_SECONDS

    def is_read() -> bool:
        """Whether the pipe has room; while it is full, a health check shows that the plugin had its turn to read it."""
        for _ in range(3):
            if select.select([], [neighbour.ends[0]], [], 2 if waits else 0.1)[1]:
                return True
            if waits:
                break
            plugin.core.send_signal(Signal.HEALTH_CHECK)
            assert plugin.core.signal()[0] == Signal.PLUGIN_READY
        return False

    while is_read():
        assert written < allowed(), "the FIFO is still read"
        rest = rest or JUNK[name]
        size = os.write(neighbour.ends[0], rest)
        rest, written = rest[size:], written + size
        with contextlib.suppress(BlockingIOError):
            os.read(neighbour.ends[1], 65536)  # its answers
        if not waits and written % (1 << 20) < size:
            assert plugin.core.call(ACTIONS["seen"])[0] == 200
    if waits:
        assert asked
        with pytest.raises(CallError) as failed:
            plugin.core.response()
        assert failed.value.status == 500, "an uncaught failure, not the job's time limit"
        assert failed.value.message.endswith("(504)")
    plugin.core.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert plugin.exit_status() == 0
    assert len([line for line in plugin.output().splitlines() if line.startswith("error: peer ")]) == 1


def test_a_blocked_writer_is_read_again_after_a_minute() -> None:
    now = 0.0
    meter = JunkMeter(lambda: now)
    assert not any(meter.add(JUNK_LIMIT // 4) for _ in range(4)), "up to the limit"
    assert meter.add(1)
    assert meter.is_blocked
    now = BLOCK_SECONDS + 1
    assert not meter.is_blocked
    assert not meter.add(JUNK_LIMIT), "it starts again at zero"
    now += BLOCK_SECONDS / 2
    assert not meter.add(JUNK_LIMIT // 2), "it empties with time"


def test_only_a_torn_message_is_lost(workshop: Workshop, neighbour: Neighbour) -> None:
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


def test_sending_to_a_full_queue_fails(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    failure = json.loads(plugin.core.call(6)[1])
    assert failure["status"] == 429
    stamps = []
    for number in range(1, failure["number"]):
        _, payload, stamp = neighbour.receive()
        assert payload == {"n": number}
        stamps.append(stamp)
    assert len(stamps) > MAX_QUEUED
    assert stamps == sorted(set(stamps)), "strictly increasing"
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
        plugin.core.send(1)  # a call waits until the request ends
        plugin.core.send_signal(Signal.HEALTH_CHECK)
        assert plugin.core.signal()[0] == Signal.PLUGIN_READY, "a health check does not wait"
        neighbour.send(MessageType.RESPONSE_DATA, {"in_reply_to": 3, "data": "of another question"})
        neighbour.send(kind, {"in_reply_to": stamp, **answer})
        assert plugin.core.response() == (200, result)
        assert plugin.core.response() == (200, b"[]")
    plugin.core.send(3, b"{}")
    stamp = neighbour.receive()[2]
    neighbour.send(MessageType.RESPONSE_ERROR, {"in_reply_to": stamp, "status": 422, "error": "no title"})
    with pytest.raises(CallError, match=r"peer: no title \(422\)"):
        plugin.core.response()
    with pytest.raises(CallError, match=r"\(504\)"):
        plugin.core.call(4, b"{}")


def test_messages_wait_until_a_request_ends(workshop: Workshop, neighbour: Neighbour) -> None:
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


def test_the_older_names_are_aliases(workshop: Workshop, neighbour: Neighbour) -> None:
    main = (
        OPEN
        + """
plugin.register_message_handler(1, function(payload) return { got = json.decode(payload) } end)
plugin.action("tell", function(text) return plugin.send_plugin_message("peer", 9, text) end)
plugin.run()
"""
    )
    plugin = workshop.launch(main, actions={"tell": 1}, peers=("peer",))
    assert neighbour.ask(1, [7]) == (MessageType.RESPONSE_DATA, {"data": {"got": [7]}})
    assert plugin.core.call(1, b"5") == (200, b"true")
    assert neighbour.receive()[:2] == (9, 5)


def test_an_unknown_target_is_an_error(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))
    for target, status in ((b"pear", 503), (b"../x", 400)):
        with pytest.raises(CallError, match=rf"demo\.to: main\.lua:15: .*\({status}\)"):
            plugin.core.call(5, target)


def test_new_fifos_are_opened_at_the_next_health_check(workshop: Workshop, tmp_path: Path) -> None:
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
plugin.on_message(1, function() end)
plugin.action("echo", function(payload) return payload end)
plugin.run()
"""
)


def test_light_sleep(workshop: Workshop, neighbour: Neighbour) -> None:
    plugin = workshop.launch(SLEEPER, actions={"echo": 1}, peers=("peer",), sleep={"after": 0.05, "mode": "light"})
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.send_signal(Signal.HEALTH_CHECK)
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING, "a health check does not wake it"
    plugin.core.send(1, b"1")
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.response() == (200, b"1")
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING, "again"
    assert neighbour.ask(1, {})[0] == MessageType.RESPONSE_ACK
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.send_signal(Signal.WAKE_UP)
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY


def test_in_deep_sleep_the_process_exits(workshop: Workshop) -> None:
    plugin = workshop.launch(SLEEPER, actions={"echo": 1}, sleep={"after": 0.05, "mode": "deep"})
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.answer_registration()
    assert plugin.core.closed()
    assert plugin.exit_status() == 0
    assert plugin.output() == "info: good night\n"


def test_a_call_sent_before_deep_sleep_is_answered(workshop: Workshop) -> None:
    deep = {"after": 0.05, "mode": "deep"}
    plugin = workshop.launch(SLEEPER, actions={"echo": 1}, sleep=deep)
    assert plugin.core.signal()[0] == Signal.PLUGIN_SLEEPING
    plugin.core.send(1, b"1")
    assert plugin.core.frame()[0] == Command.PLUGIN_REGISTER
    plugin.core.send(Command.PLUGIN_REGISTER, registered(deep), Flag.RESPONSE)
    assert plugin.core.signal()[0] == Signal.PLUGIN_READY
    assert plugin.core.response() == (200, b"1")


def test_a_health_check_sent_before_deep_sleep_does_not_prevent_it(workshop: Workshop) -> None:
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
    return JsonResponse(200, json.dumps({"sleep": sleep}).encode()).pack()


def test_memory_after_messages(workshop: Workshop, neighbour: Neighbour) -> None:
    """Private memory in kB; measured 2,900 after 100 messages and 3,000 after 4,000, with Python 3.11."""
    plugin = workshop.launch(MAIN, actions=ACTIONS, peers=("peer",))

    def private_after(messages: int) -> int:
        for number in range(messages):
            neighbour.ask(2, {"n": number})
        rollup = Path(f"/proc/{plugin.pid}/smaps_rollup").read_text().splitlines()[1:]
        fields = {line.split()[0]: int(line.split()[1]) for line in rollup}
        return fields["Private_Dirty:"] + fields["Private_Clean:"]

    assert private_after(100) < 3072
    warm = private_after(900)
    assert private_after(3000) < warm + 64, "it does not grow"


RUST = Path(__file__).parents[2] / "reed" / "rust" / "src"


@pytest.mark.skipif(not RUST.is_dir(), reason="the crate's sources are not part of an installed reed")
def test_the_rust_sdk_has_queues_of_the_same_size() -> None:
    sources = "\n".join(path.read_text() for path in RUST.glob("*.rs"))
    found = re.findall(r"const MAX_(?:QUEUED|INBOX)_(MESSAGES|BYTES): usize = ([\d* ]+);", sources)
    sizes = {(unit, math.prod(map(int, size.split("*")))) for unit, size in found}
    assert len(found) == 4
    assert sizes == {("MESSAGES", MAX_QUEUED), ("BYTES", MAX_QUEUED_BYTES)}
