"""The turn: its order, its budgets, timers, jobs, and exceptions in callbacks."""

from __future__ import annotations

import os
import socket

import pytest

from reed.counters import TurnTimes
from reed.loop.loop import COMMIT_HOLD, Loop


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bugs() -> list[BaseException]:
    return []


@pytest.fixture
def loop(clock, bugs):
    loop = Loop(clock=clock, on_exception=bugs.append)
    yield loop
    loop.close()


class Noted:
    def __init__(self, events: list[str], name: str) -> None:
        self._events = events
        self._name = name

    def flush(self) -> None:
        self._events.append(f"flush {self._name}")

    def close(self) -> None:
        self._events.append(f"close {self._name}")


def test_a_turn_runs_in_the_documented_order(loop, clock):
    events: list[str] = []
    a, b = socket.socketpair()
    loop.commit = lambda: events.append("commit")

    def on_readable():
        events.append("read")
        a.recv(10)
        loop.schedule_flush(Noted(events, "stream"))
        loop.schedule_close(Noted(events, "dead"))
        loop.call_soon(lambda: events.append("again"))
        loop.request_commit()

    loop.watch(a.fileno(), on_readable)
    loop.call_later(0, lambda: events.append("timer"))
    loop.add_job(lambda until: bool(events.append("work")))
    b.send(b"x")
    loop.turn(0)
    assert events == ["read", "timer", "commit", "flush stream", "close dead"]
    events.clear()
    loop.turn()
    assert events == ["work"]  # after a turn with reads comes a turn for jobs; no commit was requested
    events.clear()
    loop.turn()  # does not wait in poll
    assert events == ["again"]
    loop.unwatch(a.fileno())
    a.close()
    b.close()


def test_the_first_turn_and_those_that_request_it_commit(loop):
    commits: list[int] = []
    loop.commit = lambda: commits.append(len(commits))
    for _ in range(3):
        loop.turn(0)
    assert commits == [0]
    loop.request_commit()
    loop.turn()  # does not wait in poll
    loop.turn(0)
    assert commits == [0, 1]


def test_a_commit_waits_for_a_callback_that_has_more_to_write_but_not_for_long(loop, clock):
    commits: list[float] = []
    loop.commit = lambda: commits.append(clock())
    loop.turn(0)
    commits.clear()
    writes = iter([True] * 3)

    def write() -> None:
        loop.request_commit()
        if next(writes, False):
            loop.call_soon(write)
            loop.hold_commit()
        clock.time += 0.001

    began = clock()
    loop.call_soon(write)
    for _ in range(5):
        loop.turn(0)
    assert [round(at - began, 4) for at in commits] == [0.004]  # one for the four writes

    commits.clear()
    writes = iter([True] * 100)
    began = clock()
    loop.call_soon(write)
    for _ in range(14):
        loop.turn(0)
    assert commits[0] - began <= COMMIT_HOLD + 0.0011

    writes = iter([True])
    for _ in range(20):
        loop.turn(0)
    commits.clear()
    loop.request_commit()  # of a job, after a turn that held
    loop.turn(0)
    assert len(commits) == 1


def test_timers_run_when_due_in_order_and_never_when_cancelled(loop, clock):
    ran: list[str] = []
    loop.call_later(2, lambda: ran.append("two"))
    loop.call_later(1, lambda: ran.append("one"))
    loop.call_later(1.5, lambda: ran.append("cancelled")).cancel()
    loop.turn(0)
    assert ran == []
    clock.time += 1
    loop.turn(0)
    assert ran == ["one"]
    clock.time += 5
    loop.turn(0)
    assert ran == ["one", "two"]


def test_cancelled_timers_are_swept_from_the_heap(loop):
    for _ in range(10_000):
        loop.call_later(30, lambda: None).cancel()
    assert len(loop._timers._heap) < 1000


def test_an_exception_in_a_callback_is_reported_and_the_others_still_run(loop, bugs):
    ran: list[str] = []
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(lambda: ran.append("next"))
    loop.call_later(0, lambda: {}["key"])
    loop.add_job(lambda until: 1 / 0)
    loop.turn(0)
    loop.turn(0)
    assert ran == ["next"]
    assert [type(bug) for bug in bugs] == [ZeroDivisionError, KeyError, ZeroDivisionError]


def test_a_job_runs_in_every_turn_until_it_is_done(loop):
    left = [3]

    def work(until: float) -> bool:
        left[0] -= 1
        return left[0] > 0

    loop.add_job(work)
    for _ in range(5):
        loop.turn(0)
    assert left == [0]


def test_a_descriptor_unwatched_in_its_turn_is_not_called(loop):
    (a, a2), (b, b2) = socket.socketpair(), socket.socketpair()
    called: list[str] = []

    def forget(mine: str, other: socket.socket):
        called.append(mine)
        loop.unwatch(other.fileno())

    loop.watch(a.fileno(), lambda: forget("a", b))
    loop.watch(b.fileno(), lambda: forget("b", a))
    a2.send(b"x")
    b2.send(b"x")
    loop.turn(0)
    assert len(called) == 1
    for sock in (a, a2, b, b2):
        loop.unwatch(sock.fileno())
        sock.close()


def test_stop_ends_run_with_the_turn(loop):
    read, write = os.pipe()

    def on_readable():
        os.read(read, 1)
        loop.stop()

    loop.watch(read, on_readable)
    os.write(write, b"x")
    loop.run()
    loop.unwatch(read)
    os.close(read)
    os.close(write)


def test_turn_times_give_quantiles_and_the_longest():
    times = TurnTimes()
    for _ in range(999):
        times.add(100e-6)
    times.add(20e-3)
    assert 100e-6 <= times.quantile(0.5) <= 200e-6
    assert times.quantile(1.0) == pytest.approx(20e-3)
    assert times.longest == pytest.approx(20e-3)


def test_reads_stop_at_the_budget_and_no_descriptor_starves(loop, clock):
    pairs = [socket.socketpair() for _ in range(40)]
    called: list[int] = []

    def busy(number: int) -> None:
        called.append(number)
        clock.time += 0.001  # nobody reads, so each stays readable

    def has_more(number: int) -> None:
        busy(number)
        clock.time += 0.002
        loop.call_soon(lambda: has_more(number))

    for number, (mine, other) in enumerate(pairs):
        loop.watch(mine.fileno(), lambda number=number: busy(number))
        other.send(b"x")
    loop.turn(0)
    assert len(called) == 3  # 2.5 ms, and the callback that was running then
    has_more(100)
    has_more(101)
    for _ in range(16):
        before = len(called)
        loop.turn(0)
        assert len(called) <= before + 3
    assert sorted(set(called)) == [*range(40), 100, 101]
    assert called.count(100) > 1
    assert called.count(101) > 1
    assert max(called.count(number) for number in range(40)) <= 2
    for mine, other in pairs:
        loop.unwatch(mine.fileno())
        mine.close()
        other.close()


def test_leftovers_of_an_unwatched_descriptor_are_dropped(loop, clock):
    pairs = [socket.socketpair() for _ in range(20)]
    called: list[int] = []

    def busy(number: int) -> None:
        called.append(number)
        clock.time += 1

    for number, (mine, other) in enumerate(pairs):
        loop.watch(mine.fileno(), lambda number=number: busy(number))
        other.send(b"x")
    loop.turn(0)
    for mine, other in pairs:
        loop.unwatch(mine.fileno())
        mine.close()
        other.close()
    before = len(called)
    loop.turn(0)
    assert len(called) == before


def test_the_wait_for_the_disk_is_measured_apart(clock, bugs):
    waited = [0.0]

    def commit() -> None:
        clock.time += 0.5
        waited[0] += 0.4

    loop = Loop(clock=clock, commit=commit, on_exception=bugs.append, fsync_seconds=lambda: waited[0])
    loop.turn(0)
    assert loop.times.longest == pytest.approx(0.1)
    assert loop.times.disk_longest == pytest.approx(0.4)
    loop.close()


def test_a_callback_with_much_to_read_leaves_most_of_the_budget_to_the_others(loop, clock):
    """Twenty that could read for ever, and one that comes last: it is called in the first turn."""
    pairs = [socket.socketpair() for _ in range(21)]
    served: list[int] = []

    def read(number: int) -> None:
        served.append(number)
        while not loop.over_budget():
            clock.time += 0.00001

    for number, (a, b) in enumerate(pairs):
        b.send(b"x")
        loop.watch(a.fileno(), lambda number=number: read(number))
    loop.call_soon(lambda: read(99))
    loop.turn(0)
    assert len(set(served)) > 10
    loop.turn(0)
    assert set(served) == {*range(21), 99}
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_many_timers_that_are_due_together_take_several_turns(loop, clock):
    fired: list[int] = []

    def fire(number: int) -> None:
        fired.append(number)
        clock.time += 0.0006

    for number in range(10):
        loop.call_later(1 + number / 100, lambda number=number: fire(number))
    clock.time += 2.0
    loop.turn()  # does not wait
    assert fired == [0, 1]
    while len(fired) < 10:
        loop.turn()
    assert fired == list(range(10))
