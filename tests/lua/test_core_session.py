"""A plugin whose core dies reconnects to the next one, and keeps its state (plugin-lifecycle.md#adoption)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reed.errors import Conflict
from reed.plugin_host.core_connection import CoreGone
from reed.plugin_host.core_session import RECONNECT_TIMEOUT, CoreSession
from reed.wire.codes import Command, Flag, MessageType, Signal
from reed.wire.common import ErrorResponse, JsonResponse
from reed.wire.plugins import PluginMessage

if TYPE_CHECKING:
    from conftest import Workshop

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "demo", version = "1.0.0" }\n'
COUNTER = (
    OPEN
    + """
local calls = 0
plugin.action("count", function() calls = calls + 1; print("call " .. calls); return tostring(calls) end)
plugin.action("ask", function()
  local ok, snippet = pcall(reed.snippet.get, "about")
  return ok and "found" or tostring(snippet)
end)
plugin.action("busy", function() plugin:send_signal(reed.signals.BUSY, "counting") end)
plugin.on_message(0x10, function() calls = calls + 1; return { calls = calls } end)
plugin.run()
"""
)
ACTIONS = {"count": 1, "ask": 2, "busy": 3}


def test_it_registers_again_and_keeps_its_state(workshop: Workshop) -> None:
    plugin = workshop.launch(COUNTER, actions=ACTIONS)
    assert plugin.core.call(1) == (200, b"1")
    plugin.core.close()
    core = workshop.next_core()
    assert core.call(1) == (200, b"2")
    core.close()
    again = workshop.next_core()
    assert again.call(1) == (200, b"3")
    again.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert plugin.exit_status() == 0
    assert [line.split(":")[0] for line in plugin.output().splitlines()] == ["info", "warn", "info", "warn", "info"]


def test_log_lines_without_a_reader_are_dropped(workshop: Workshop) -> None:
    plugin = workshop.launch(COUNTER, actions=ACTIONS)
    plugin.stop_reading()
    plugin.core.close()
    core = workshop.next_core()
    assert core.call(1) == (200, b"1")
    core.send_signal(Signal.SHUTDOWN_GRACEFUL)
    assert plugin.exit_status() == 0


def test_a_core_that_dies_during_a_command(workshop: Workshop) -> None:
    plugin = workshop.launch(COUNTER, actions=ACTIONS)
    plugin.core.send(2)
    assert plugin.core.frame()[0] == Command.SNIPPET_GET
    plugin.core.close()
    core = workshop.next_core()
    assert core.call(1) == (200, b"1")


def test_a_busy_plugin_sends_busy_to_the_next_core(workshop: Workshop) -> None:
    plugin = workshop.launch(COUNTER, actions=ACTIONS)
    plugin.core.send(3)
    assert plugin.core.signal() == (Signal.PLUGIN_BUSY, b"counting")
    assert plugin.core.response()[0] in {200, 204}
    plugin.core.close()
    assert workshop.next_core().signal()[0] == Signal.PLUGIN_BUSY


def test_a_core_that_closes_the_connection_is_tried_again(workshop: Workshop) -> None:
    plugin = workshop.launch(COUNTER, actions=ACTIONS)
    plugin.core.close()
    with workshop.listening() as listener:
        listener.accept()[0].close()
    assert workshop.next_core().call(1) == (200, b"1")


def test_a_call_that_comes_with_the_answer_to_the_registration(workshop: Workshop) -> None:
    """READY was sent with the registration, so the core may call before the plugin has read the answer to it."""
    plugin = workshop.launch(COUNTER, actions=ACTIONS)
    plugin.core.close()
    core = workshop.next_connection()
    assert core.frame()[0] == Command.PLUGIN_REGISTER
    assert core.signal()[0] == Signal.PLUGIN_READY
    core.send_at_once((Command.PLUGIN_REGISTER, JsonResponse(200, b"{}").pack(), Flag.RESPONSE), (1, b"null", 0))
    assert core.response() == (200, b"1")


def test_a_plugin_whose_registration_is_rejected_exits(workshop: Workshop) -> None:
    plugin = workshop.launch(COUNTER, actions=ACTIONS)
    plugin.core.close()
    core = workshop.next_connection()
    assert core.frame()[0] == Command.PLUGIN_REGISTER
    core.send(
        Command.PLUGIN_REGISTER,
        ErrorResponse.of(Conflict("its row says 2.0.0")).pack(),
        Flag.RESPONSE | Flag.ERROR,
    )
    assert plugin.exit_status() == 1
    assert "the core rejected the registration: " in plugin.output()


def test_the_next_core_sends_new_settings(workshop: Workshop) -> None:
    main = OPEN + 'plugin.action("count", function() return plugin.settings.limit end)\nplugin.run()'
    plugin = workshop.launch(main, {"limit": 1}, actions={"count": 1})
    plugin.core.close()
    assert workshop.next_core(settings={"limit": 2}).call(1) == (200, b"2")


def test_messages_are_answered_while_there_is_no_core(workshop: Workshop) -> None:
    fifos = workshop.folder / "fifos"
    fifos.mkdir()
    pipes = {}
    for name in ("other→demo", "demo→other"):
        os.mkfifo(fifos / name)
        pipes[name] = os.open(fifos / name, os.O_RDWR)
    for link, name in (("from", "other→demo"), ("to", "demo→other")):
        os.link(fifos / name, workshop.folder / "peers" / "demo" / link / "other")
    plugin = workshop.launch(COUNTER, actions=ACTIONS, peers=("other",))
    plugin.core.close()
    os.write(pipes["other→demo"], PluginMessage(0x10, "other", "demo", 7, b"{}").pack())
    answer = PluginMessage.unpack(os.read(pipes["demo→other"], 4096))
    assert (answer.message_type, bytes(answer.payload)) == (
        MessageType.RESPONSE_DATA,
        b'{"in_reply_to":7,"data":{"calls":1}}',
    )
    assert workshop.next_core(peers=("other",)).call(1) == (200, b"2")
    for fd in pipes.values():
        os.close(fd)


def test_reconnecting_ends_after_the_timeout() -> None:
    """With growing pauses, by a fake clock."""
    session = CoreSession(lambda _: None)
    now, pauses = 0.0, []

    def connect(_fd: int) -> None:
        raise ConnectionRefusedError

    while now < RECONNECT_TIMEOUT:
        pauses.append(session.reconnect(connect, now))
        now += pauses[-1]
    with pytest.raises(CoreGone):
        session.reconnect(connect, now)
    assert pauses[:3] == [0.005, 0.01, 0.02]
    assert max(pauses) == pauses[-1] == 0.5
