"""The life cycle of a plugin as one table: phase x trigger -> effect, next phase. `plugin` carries out the effects.

    stopped ── START ──▶ spawning ── LAUNCHED ──▶ starting ── READY ──▶ ready ◀──▶ busy
       └────── ADOPT ──▶ adopting ── READY ─────────────────────────────▶ │ SLEEPING
                                                                          ▼
                spawning ◀── WAKE ── hibernating ◀── EXITED_CLEANLY ── sleeping ── WAKE ──▶ waking ── READY ──▶ ready

    all with a process ─┬─ EXITED, HUNG ──▶ backoff ─┬─ RETRY ──────▶ spawning
                        │                            └─ EXHAUSTED ──▶ failed
                        └─ STOP ──▶ stopping ── EXITED ──▶ stopped
                                      ▲▼ STOP, START
                                  restarting ── EXITED ──▶ stopped ──▶ spawning

    spawning, starting, adopting ── LAUNCH_FAILED, TIMED_OUT ──▶ failed

contrib/docs/internals/plugin-lifecycle.md explains the phases.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    SLEEPING = "sleeping"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"


PRESENT = frozenset({State.READY, State.BUSY, State.SLEEPING})
AT_REST = frozenset({State.STOPPED, State.FAILED})


class Phase(StrEnum):
    state: State  # an attribute, because every call to a plugin reads it

    STOPPED = "stopped"
    SPAWNING = "spawning"  # there is no pid yet
    STARTING = "starting"
    ADOPTING = "adopting"  # the process of an earlier core must reconnect
    READY = "ready"
    BUSY = "busy"
    SLEEPING = "sleeping"
    WAKING = "waking"
    HIBERNATING = "hibernating"  # no process until WAKE
    STOPPING = "stopping"
    RESTARTING = "restarting"
    BACKOFF = "backoff"
    FAILED = "failed"


_STATE_OF = {
    Phase.SPAWNING: State.STARTING,
    Phase.ADOPTING: State.STARTING,
    Phase.WAKING: State.SLEEPING,
    Phase.HIBERNATING: State.SLEEPING,
    Phase.RESTARTING: State.STOPPING,
}
for _phase in Phase:
    _phase.state = _STATE_OF.get(_phase) or State(_phase.value)


class Trigger(StrEnum):
    START = "start"
    ADOPT = "adopt"
    STOP = "stop"
    LAUNCHED = "launched"
    LAUNCH_FAILED = "launch failed"
    READY = "ready"
    BUSY = "busy"
    SLEEPING = "sleeping"
    DISCONNECTED = "disconnected"  # its last connection was closed
    EXITED = "exited"
    EXITED_CLEANLY = "exited cleanly"  # WatchedProcess.exited_cleanly
    WAKE = "wake"
    TIMED_OUT = "timed out"
    HUNG = "hung"
    RETRY = "retry"
    EXHAUSTED = "exhausted"  # too many crashes
    RELOAD = "reload"
    REPLACEMENT_READY = "replacement ready"


class Effect(StrEnum):
    RESET_AND_LAUNCH = "reset and launch"
    LAUNCH = "launch"
    AWAIT_READY = "await ready"
    AWAIT_REJOIN = "await rejoin"
    AWAIT_RECONNECT = "await reconnect"
    ADD_WAITER = "add waiter"  # done already, by `start` or `stop`
    ON_READY = "on ready"
    KEEPALIVE = "keepalive"
    END = "end"
    ESCALATE = "escalate"
    STOP_AT_ONCE = "stop at once"
    KILL = "kill"  # SIGKILL, then back off
    KILL_AND_FAIL = "kill and fail"
    BACK_OFF = "back off"
    GIVE_UP = "give up"
    NOTIFY_STOPPED = "notify stopped"
    START_AGAIN = "start again"  # NOTIFY_STOPPED, then START
    REPLY_UNCHANGED = "reply unchanged"
    CANCEL_RESTART = "cancel restart"
    WAKE = "wake"
    HIBERNATE = "hibernate"
    RELAUNCH = "relaunch"  # kill the process, which is not READY
    REPLACE = "replace"
    TAKE_OVER = "take over"
    USE_NEW_SPEC = "use new spec"


P, T, E = Phase, Trigger, Effect
Step = tuple[Effect, Phase | None]  # None: the phase stays

_SPAWNING: dict[Trigger, Step] = {
    T.RELOAD: (E.RELAUNCH, P.SPAWNING),
    T.START: (E.ADD_WAITER, None),
    T.LAUNCH_FAILED: (E.GIVE_UP, P.FAILED),
    T.TIMED_OUT: (E.KILL_AND_FAIL, P.FAILED),
    T.HUNG: (E.KILL, P.BACKOFF),
}
_STARTING: dict[Trigger, Step] = {
    **_SPAWNING,
    T.STOP: (E.END, P.STOPPING),
    T.READY: (E.ON_READY, P.READY),
    T.EXITED: (E.BACK_OFF, P.BACKOFF),
    T.EXITED_CLEANLY: (E.BACK_OFF, P.BACKOFF),
}
_PRESENT: dict[Trigger, Step] = {
    T.RELOAD: (E.REPLACE, None),
    T.REPLACEMENT_READY: (E.TAKE_OVER, None),
    T.START: (E.REPLY_UNCHANGED, None),
    T.READY: (E.KEEPALIVE, P.READY),
    T.BUSY: (E.KEEPALIVE, P.BUSY),
    T.SLEEPING: (E.KEEPALIVE, P.SLEEPING),
}
_WITH_PROCESS: dict[Trigger, Step] = {
    **_PRESENT,
    T.STOP: (E.END, P.STOPPING),
    T.DISCONNECTED: (E.AWAIT_RECONNECT, None),
    T.EXITED: (E.BACK_OFF, P.BACKOFF),
    T.EXITED_CLEANLY: (E.BACK_OFF, P.BACKOFF),
    T.HUNG: (E.KILL, P.BACKOFF),
}
_STOPPING: dict[Trigger, Step] = {
    T.RELOAD: (E.USE_NEW_SPEC, None),
    T.TIMED_OUT: (E.ESCALATE, None),
}
_WITHOUT_PROCESS: dict[Trigger, Step] = {
    T.RELOAD: (E.USE_NEW_SPEC, None),
    T.START: (E.RESET_AND_LAUNCH, P.SPAWNING),
    T.STOP: (E.NOTIFY_STOPPED, P.STOPPED),
}
TABLE: dict[Phase, dict[Trigger, Step]] = {
    P.STOPPED: {
        **_WITHOUT_PROCESS,
        T.ADOPT: (E.AWAIT_REJOIN, P.ADOPTING),
        T.LAUNCH_FAILED: (E.GIVE_UP, P.FAILED),
    },
    P.SPAWNING: {
        **_SPAWNING,
        T.STOP: (E.STOP_AT_ONCE, P.STOPPED),
        T.LAUNCHED: (E.AWAIT_READY, P.STARTING),
    },
    P.STARTING: _STARTING,
    P.ADOPTING: _STARTING,
    P.READY: _WITH_PROCESS,
    P.BUSY: _WITH_PROCESS,
    P.SLEEPING: {
        **_WITH_PROCESS,
        T.WAKE: (E.WAKE, P.WAKING),
        T.EXITED_CLEANLY: (E.HIBERNATE, P.HIBERNATING),
    },
    P.WAKING: {
        **_WITH_PROCESS,
        T.WAKE: (E.WAKE, None),
        T.EXITED_CLEANLY: (E.LAUNCH, P.SPAWNING),
    },
    P.HIBERNATING: {
        **_PRESENT,
        T.STOP: (E.STOP_AT_ONCE, P.STOPPED),
        T.WAKE: (E.LAUNCH, P.SPAWNING),
    },
    P.STOPPING: {
        **_STOPPING,
        T.START: (E.ADD_WAITER, P.RESTARTING),
        T.STOP: (E.ADD_WAITER, None),
        T.EXITED: (E.NOTIFY_STOPPED, P.STOPPED),
        T.EXITED_CLEANLY: (E.NOTIFY_STOPPED, P.STOPPED),
    },
    P.RESTARTING: {
        **_STOPPING,
        T.START: (E.ADD_WAITER, None),
        T.STOP: (E.CANCEL_RESTART, P.STOPPING),
        T.EXITED: (E.START_AGAIN, P.STOPPED),
        T.EXITED_CLEANLY: (E.START_AGAIN, P.STOPPED),
    },
    P.BACKOFF: {
        **_WITHOUT_PROCESS,
        T.RETRY: (E.LAUNCH, P.SPAWNING),
        T.EXHAUSTED: (E.GIVE_UP, P.FAILED),
    },
    P.FAILED: {
        **_WITHOUT_PROCESS,
        T.LAUNCH_FAILED: (E.GIVE_UP, None),
    },
}


class Lifecycle:
    """A subclass has a method for each effect, such as `_back_off` for Effect.BACK_OFF."""

    def __init__(self) -> None:
        self.phase = Phase.STOPPED
        self.reason = ""  # why the plugin does not run as it should

    @property
    def state(self) -> State:
        return self.phase.state

    def handle(self, trigger: Trigger, reason: str = "") -> None:
        """The only method that changes the phase. A trigger that the table omits is ignored."""
        step = TABLE[self.phase].get(trigger)
        if step is None:
            return
        effect, new = step
        old, self.phase = self.state, new or self.phase
        if reason:
            self.reason = reason
        if self.state is not old:
            self.enter_state(old, trigger)
        getattr(self, f"_{effect.name.lower()}")()

    def enter_state(self, old: State, trigger: Trigger) -> None:
        """Called after a change of state, before the effect."""
        raise NotImplementedError
