"""PLUGIN_SEND counts against its caller's quota until it ends, however it ends."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace

import pytest

from reed.config import Limits
from reed.core.calls import Call, Caller
from reed.core.commands.plugins import handlers
from reed.core.connect_rate import ConnectRates
from reed.core.in_flight import InFlight
from reed.core.json_checks import HANDLERS, JsonChecks
from reed.core.quotas import Quotas
from reed.core.router import Router
from reed.errors import ActionNotFound, CallError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.store.workers import DEADLINES, Origin
from reed.supervision.lifecycle import State
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.plugins import PluginSend
from reed.wire.structs import HEADER
from tests.inline_store import InlineWorkers

EDITOR = Caller("somebody", "", frozenset(), frozenset(), frozenset(range(256)), is_admin=True)


class CallOrigin:
    """A connection that records the responses."""

    caller = EDITOR
    origin = Origin("somebody", 1)
    buffered_bytes = 0

    def __init__(self, quotas: Quotas) -> None:
        self.answers: list[bytes] = []
        self.in_flight = InFlight(Limits())
        self.usage = quotas.enter(self, EDITOR)

    def call_ended(self, call: Call, *, immediate: bool) -> None:
        self.in_flight.end(call)
        if call.expects_reply:
            self.answers.append(b"".join(call.response))

    def log_async_failure(self, call: Call, error: CallError) -> None: ...


class Odd:
    """An endpoint whose lookup of an action raises."""

    name = "odd"
    plugin = SimpleNamespace(state=State.READY)

    def __init__(self, error: Exception) -> None:
        self._error = error

    def lets_in(self, caller: Caller) -> bool:
        return caller is EDITOR

    def action(self, name: str) -> None:
        raise self._error


class Core:
    def __init__(self, error: Exception) -> None:
        self.bugs: list[BaseException] = []
        self.loop = Loop(on_exception=self.bugs.append)
        log = PeerLog(logging.getLogger("test"), self.loop)
        limits = Limits(user_calls=1)
        self.quotas = Quotas(limits, ConnectRates(limits, time.monotonic, log))
        self.origin = CallOrigin(self.quotas)
        checks = JsonChecks(InlineWorkers(HANDLERS), DEADLINES.job)
        table = handlers(None, None, {"odd": Odd(error)}, None, dict, lambda *_: None, checks, None)
        self._router = Router(table, {}, self.bugs.append, log)

    def send(self, flags: int = 0) -> None:
        call = Call(self.origin, int(Command.PLUGIN_SEND), flags)
        self._router.dispatch(call, memoryview(PluginSend("odd", "act", b"{}").pack()))

    def statuses(self) -> list[int]:
        return [ErrorResponse.unpack(answer[HEADER.size :]).status for answer in self.origin.answers]


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError(), 500), (ActionNotFound("none"), 404)])
def test_a_failed_call_is_no_longer_in_flight(error, status) -> None:
    core = Core(error)
    core.loop.close()
    for _ in range(3):
        core.send()
    assert core.statuses() == [status] * 3
    assert core.origin.usage.calls == 0


def test_a_failed_async_call_is_no_longer_in_flight() -> None:
    core = Core(ZeroDivisionError())
    for _ in range(3):
        core.send(int(Flag.ASYNC))
    assert len(core.bugs) == 3
    assert core.origin.usage.calls == 0


def test_a_call_holds_its_input_until_it_ends() -> None:
    core = Core(ZeroDivisionError())
    in_flight = core.origin.in_flight
    call = Call(core.origin, int(Command.PLUGIN_SEND), 0)
    call.count(input_size=1000)
    assert (in_flight.bytes, core.origin.usage.calls) == (1000, 1)
    call.fail(ActionNotFound("none"))
    assert (in_flight.bytes, core.origin.usage.calls) == (0, 0)
