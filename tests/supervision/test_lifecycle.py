"""The table of phases and triggers: complete, and as the drawing shows it."""

from __future__ import annotations

import itertools

import pytest

from reed.supervision.lifecycle import TABLE, Effect, Phase, State, Trigger
from reed.supervision.plugin import Plugin
from reed.supervision.timers import Backoff

P, T = Phase, Trigger

# Pairs that cannot happen or say nothing new: a signal that was in flight, the exit of a process that was killed, a
# deadline that passed in the same turn as the event it waited for.
_SIGNALS = frozenset({T.READY, T.BUSY, T.SLEEPING, T.DISCONNECTED})
_LAUNCH = frozenset({T.LAUNCHED, T.LAUNCH_FAILED})
_EXITS = frozenset({T.EXITED, T.EXITED_CLEANLY, T.HUNG})
_DELAYS = frozenset({T.RETRY, T.EXHAUSTED})
_NOT_READY = frozenset({T.REPLACEMENT_READY, T.WAKE})
_RUNNING = _LAUNCH | _DELAYS | {T.TIMED_OUT, T.ADOPT}
IGNORED: dict[Phase, frozenset[Trigger]] = {
    P.STOPPED: _SIGNALS | _EXITS | _DELAYS | _NOT_READY | {T.LAUNCHED, T.TIMED_OUT},
    P.SPAWNING: _SIGNALS | _DELAYS | _NOT_READY | {T.EXITED, T.EXITED_CLEANLY, T.ADOPT},
    P.STARTING: _DELAYS | _NOT_READY | {T.LAUNCHED, T.BUSY, T.SLEEPING, T.DISCONNECTED, T.ADOPT},
    P.ADOPTING: _DELAYS | _NOT_READY | {T.LAUNCHED, T.BUSY, T.SLEEPING, T.DISCONNECTED, T.ADOPT},
    P.READY: _RUNNING | {T.WAKE},
    P.BUSY: _RUNNING | {T.WAKE},
    P.SLEEPING: _RUNNING,
    P.WAKING: _RUNNING,
    P.HIBERNATING: _RUNNING | _EXITS | {T.DISCONNECTED},
    P.STOPPING: _SIGNALS | _LAUNCH | _DELAYS | _NOT_READY | {T.HUNG, T.ADOPT},
    P.RESTARTING: _SIGNALS | _LAUNCH | _DELAYS | _NOT_READY | {T.HUNG, T.ADOPT},
    P.BACKOFF: _SIGNALS | _LAUNCH | _EXITS | _NOT_READY | {T.TIMED_OUT, T.ADOPT},
    P.FAILED: _SIGNALS | _EXITS | _DELAYS | _NOT_READY | {T.LAUNCHED, T.TIMED_OUT, T.ADOPT},
}
PAIRS = list(itertools.product(Phase, Trigger))


@pytest.mark.parametrize(("phase", "trigger"), PAIRS, ids=[f"{phase}-{trigger}" for phase, trigger in PAIRS])
def test_every_pair_is_either_in_the_table_or_ignored(phase: Phase, trigger: Trigger) -> None:
    assert (trigger in TABLE[phase]) != (trigger in IGNORED[phase])


def test_every_phase_can_be_reached_and_stopped() -> None:
    steps = {phase: {new or phase for _, new in TABLE[phase].values()} for phase in Phase}
    reached, todo = set(), {Phase.STOPPED}
    while todo:
        phase = todo.pop()
        reached.add(phase)
        todo |= steps[phase] - reached
    assert reached == set(Phase)
    for phase in Phase:
        _, after_stop = TABLE[phase][Trigger.STOP]
        assert (after_stop or phase) in {Phase.STOPPED, Phase.STOPPING}
        assert Trigger.START in TABLE[phase]


def test_every_effect_is_used_and_is_a_method_of_a_plugin() -> None:
    assert {effect for row in TABLE.values() for effect, _ in row.values()} == set(Effect)
    assert not [effect for effect in Effect if not callable(getattr(Plugin, f"_{effect.name.lower()}", None))]


def test_every_phase_has_a_state() -> None:
    assert {phase.state for phase in Phase} == set(State)


def test_an_exit_leads_to_backoff_unless_the_plugin_was_stopping() -> None:
    after = {phase: TABLE[phase][Trigger.EXITED][1] for phase in Phase if Trigger.EXITED in TABLE[phase]}
    running = [Phase.STARTING, Phase.ADOPTING, Phase.READY, Phase.BUSY, Phase.SLEEPING, Phase.WAKING]
    back = dict.fromkeys(running, Phase.BACKOFF)
    assert after == {**back, Phase.STOPPING: Phase.STOPPED, Phase.RESTARTING: Phase.STOPPED}


def test_backoff_delays_grow_and_end() -> None:
    backoff = Backoff(limit=5, window=60, random=lambda: 0.0)
    delays = [backoff.crash(now) for now in range(6)]
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, None])
    assert backoff.total == 5


def test_jitter_shortens_by_up_to_half() -> None:
    assert Backoff(5, 60, lambda: 1.0).crash(0) == pytest.approx(0.1)


def test_old_crashes_are_forgotten() -> None:
    backoff = Backoff(limit=2, window=60, random=lambda: 0.0)
    assert backoff.crash(0) == pytest.approx(0.2)
    assert backoff.crash(1) == pytest.approx(0.4)
    assert backoff.crash(61) == pytest.approx(0.2)
    assert backoff.crash(62) == pytest.approx(0.4)
    assert backoff.crash(63) is None
    backoff.clear()
    assert backoff.crash(64) == pytest.approx(0.2)
