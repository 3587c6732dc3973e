"""The call queue of one plugin: deadlines, late responses, and statuses out of range."""

from __future__ import annotations

import pytest

from reed.core.call_queue import CallQueue, PluginCall
from reed.errors import BadAnswer, PluginTimeout
from reed.loop.loop import Loop
from reed.wire.common import unpack_status
from reed.wire.structs import STATUS, Bytes


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class FakeChannel:
    """Carries a call until the test answers."""

    def __init__(self) -> None:
        self.in_flight: PluginCall | None = None
        self.sent: list[str] = []

    @property
    def process(self) -> object:
        return self

    def send_call(self, call: PluginCall) -> None:
        self.sent.append(call.action)


class Calls:
    def __init__(self) -> None:
        self.clock = Clock()
        self.bugs: list[BaseException] = []
        self.loop = Loop(clock=self.clock, on_exception=self.bugs.append)
        self.queue = CallQueue("seo", self.loop)
        self.ended: list[tuple[str, object]] = []

    def ask(self, name: str, timeout: float) -> None:
        def answered(payload: Bytes) -> None:
            self.ended.append((name, unpack_status(payload)))

        def failed(error: Exception) -> None:
            self.ended.append((name, type(error)))

        self.queue.submit(PluginCall(name, 1, b"{}", timeout, answered, failed), 100)

    def at(self, time: float) -> list[tuple[str, object]]:
        """The calls that have ended by that time."""
        self.clock.time = time
        self.loop.turn(0)
        assert not self.bugs
        return self.ended


@pytest.fixture
def calls():
    calls = Calls()
    yield calls
    calls.loop.close()


def test_the_earlier_deadline_expires_first_whatever_the_order_of_submission(calls):
    calls.ask("slow", 30)
    calls.ask("quick", 1)
    assert calls.at(100.9) == []
    assert calls.at(101.1) == [("quick", PluginTimeout)]
    assert calls.at(129.9) == [("quick", PluginTimeout)]
    assert calls.at(130.1) == [("quick", PluginTimeout), ("slow", PluginTimeout)]


def test_each_call_has_its_own_deadline(calls):
    channel = FakeChannel()
    calls.queue.add_channel(channel)
    calls.queue.set_accepting(True)
    calls.ask("first", 30)
    calls.queue.answer(channel, STATUS.pack(200) + b"{}")
    calls.at(110)
    calls.ask("second", 30)  # in flight
    calls.at(115)
    calls.ask("third", 30)  # waits for it
    assert calls.at(130.1) == [("first", 200)]
    assert calls.at(140.1) == [("first", 200), ("second", PluginTimeout)]
    assert calls.at(145.1) == [("first", 200), ("second", PluginTimeout), ("third", PluginTimeout)]


def test_a_call_whose_channel_closed_still_times_out(calls):
    channel = FakeChannel()
    calls.queue.add_channel(channel)
    calls.queue.set_accepting(True)
    calls.ask("lost", 5)
    calls.queue.remove_channel(channel)
    assert calls.at(104.9) == []
    assert calls.at(105.1) == [("lost", PluginTimeout)]


def test_a_call_in_flight_at_the_old_process_keeps_its_deadline(calls):
    before, now = FakeChannel(), FakeChannel()
    calls.queue.add_channel(before)
    calls.queue.set_accepting(True)
    calls.ask("held", 5)
    calls.queue.set_channels([now])
    calls.ask("new", 50)
    assert calls.at(105.1) == [("held", PluginTimeout)]
    assert now.sent == ["new"]


def test_a_late_response_is_dropped_and_the_channel_carries_the_next_call(calls):
    channel = FakeChannel()
    calls.queue.add_channel(channel)
    calls.queue.set_accepting(True)
    calls.ask("late", 5)
    calls.ask("next", 50)
    calls.at(105.1)
    assert channel.sent == ["late"]
    calls.queue.answer(channel, STATUS.pack(200) + b"{}")
    assert channel.sent == ["late", "next"]
    assert calls.ended == [("late", PluginTimeout)]


@pytest.mark.parametrize(
    ("status", "ends"), [(99, BadAnswer), (100, 100), (599, 599), (600, BadAnswer), (0, BadAnswer)]
)
def test_a_status_out_of_range_becomes_an_error(status: int, ends: object) -> None:
    calls, channel = Calls(), FakeChannel()
    calls.queue.add_channel(channel)
    calls.queue.set_accepting(True)
    calls.ask("check", 5.0)
    calls.queue.answer(channel, STATUS.pack(status))
    assert calls.ended == [("check", ends)]
    calls.ask("again", 5.0)
    calls.queue.answer(channel, STATUS.pack(200))
    assert calls.ended[1:] == [("again", 200)], "and the next call is answered"
