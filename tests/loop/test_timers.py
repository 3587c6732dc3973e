"""Timers and the alarm: what a loop that waits without a limit is woken by."""

from __future__ import annotations

import os
import select
import time

import pytest

from reed.loop.loop import Loop
from reed.loop.timers import Alarm, make_alarm

_TIMERFD = hasattr(os, "timerfd_create")
needs_timerfd = pytest.mark.skipif(not _TIMERFD, reason="this Python has no timerfd, which came with 3.13")


@pytest.fixture(params=["alarm", "timeout"])
def loop(request, monkeypatch):
    """Of the real clock, with an alarm if there is one here, and without."""
    if request.param == "timeout":
        monkeypatch.setattr("reed.loop.loop.make_alarm", lambda: None)
    elif not _TIMERFD:
        pytest.skip("this Python has no timerfd, which came with 3.13")

    def on_exception(error):
        raise error

    loop = Loop(on_exception=on_exception)
    yield loop
    loop.close()


def test_timers_wake_a_loop_that_waits_each_at_its_time(loop):
    due: list[float] = []

    def ran(when: float) -> None:
        assert loop.now() >= when
        due.append(when)
        if len(due) == 4:
            loop.stop()

    began = loop.now()
    for seconds in (0.06, 0.02, 0.0, 0.04):
        loop.call_later(seconds, lambda when=began + seconds: ran(when))
    loop.run()
    assert due == sorted(due)


def test_a_timer_that_a_turn_adds_before_all_others_is_not_missed(loop):
    """The alarm is set to the hour; a callback asks for something earlier, and for something that is due already."""
    read, write = os.pipe()
    ran: list[str] = []

    def on_readable():
        os.read(read, 1)
        loop.call_later(-10.0, lambda: ran.append("late"))
        loop.call_later(0.01, lambda: (ran.append("soon"), loop.stop()))

    loop.turn(0)
    loop.call_later(3600.0, lambda: ran.append("in an hour"))
    loop.call_later(0.005, lambda: os.write(write, b"x"))
    loop.watch(read, on_readable)
    loop.run()
    assert ran == ["late", "soon"]
    loop.unwatch(read)
    os.close(read)
    os.close(write)


def test_a_cancelled_timer_hides_none_that_comes_later(loop):
    ran: list[str] = []
    loop.turn(0)
    for _ in range(3):
        loop.call_later(0.01, lambda: ran.append("cancelled")).cancel()
    loop.call_later(0.02, lambda: (ran.append("kept"), loop.stop()))
    loop.call_later(float("inf"), lambda: ran.append("never"))
    loop.run()
    assert ran == ["kept"]


def test_timers_that_do_not_fit_into_one_turn_run_in_the_next(loop):
    left = list(range(20))

    def work():
        until = time.monotonic() + 0.0003
        while time.monotonic() < until:
            pass
        left.pop()
        if not left:
            loop.stop()

    for _ in range(20):
        loop.call_later(0.0, work)
    loop.run()
    assert not left


@needs_timerfd
def test_an_alarm_is_readable_from_its_time_on_until_it_is_read_or_set_again():
    alarm = make_alarm()
    assert isinstance(alarm, Alarm)

    def is_readable(seconds: float) -> bool:
        return bool(select.select([alarm.fd], [], [], seconds)[0])

    assert not is_readable(0)
    for when in (time.monotonic() + 0.01, time.monotonic() - 1, 0.0, -5.0):
        alarm.set(when)
        assert is_readable(30)
        assert time.monotonic() >= when
        alarm.on_readable()
        assert not is_readable(0)
    alarm.set(time.monotonic() - 1)
    alarm.set(1e300)  # further than a timerfd can be set
    assert not is_readable(0)
    alarm.on_readable()  # as after a turn in which another callback has set it
    alarm.close()


@needs_timerfd
def test_without_permission_for_timerfd_a_loop_has_no_alarm(monkeypatch):
    def refuse(*_args, **_flags):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "timerfd_create", refuse)
    assert make_alarm() is None
