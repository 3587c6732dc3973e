"""The one table of states and events: complete, closed, and what the drawing says."""

from __future__ import annotations

import itertools

import pytest

from reed.registry.lifecycle import IGNORED, TABLE, Action, Event, State
from reed.registry.plugin import Plugin
from reed.registry.restarts import Restarts

PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=[f"{state}-{event}" for state, event in PAIRS])
def test_every_pair_is_in_the_table_or_ignored_on_purpose(state: State, event: Event) -> None:
    assert (event in TABLE[state]) != (event in IGNORED[state])


def test_every_state_can_be_reached_and_stopped_and_every_action_is_used() -> None:
    steps = {state: {new for _, new in TABLE[state].values()} for state in State}
    reached, todo = set(), {State.STOPPED}
    while todo:
        state = todo.pop()
        reached.add(state)
        todo |= steps[state] - reached
    assert reached == set(State)
    for state in State:
        _, after_stop = TABLE[state][Event.STOP]
        assert after_stop in {State.STOPPED, State.STOPPING}
        assert Event.START in TABLE[state]
    assert {action for row in TABLE.values() for action, _ in row.values()} == set(Action) == set(Plugin._ACTIONS)


def test_a_process_that_ends_is_started_again_unless_it_was_to_end() -> None:
    after = {state: TABLE[state][Event.ENDED][1] for state in State if Event.ENDED in TABLE[state]}
    back = dict.fromkeys([State.STARTING, State.READY, State.BUSY, State.SLEEPING], State.BACKOFF)
    assert after == {**back, State.STOPPING: State.STOPPED}


def test_delays_grow_and_end() -> None:
    restarts = Restarts(limit=5, window=60, random=lambda: 0.0)
    delays = [restarts.crash(now) for now in range(6)]
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, None])
    assert restarts.total == 5


def test_jitter_shortens_by_up_to_half() -> None:
    assert Restarts(5, 60, lambda: 1.0).crash(0) == pytest.approx(0.1)


def test_old_crashes_are_forgotten() -> None:
    restarts = Restarts(limit=2, window=60, random=lambda: 0.0)
    assert restarts.crash(0) == pytest.approx(0.2)
    assert restarts.crash(1) == pytest.approx(0.4)
    assert restarts.crash(61) == pytest.approx(0.2)
    assert restarts.crash(62) == pytest.approx(0.4)
    assert restarts.crash(63) is None
    restarts.clear()
    assert restarts.crash(64) == pytest.approx(0.2)
