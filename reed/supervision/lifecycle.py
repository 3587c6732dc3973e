"""The life cycle of a plugin as one table: phase x trigger -> effect, next phase. `plugin` carries out the effects.

    stopped ── START ──▶ spawning ── LAUNCHED ──▶ starting ── READY ──▶ ready ◀──▶ busy
       └────── ADOPT ──▶ adopting ── READY ─────────────────────────────▶ │ SLEEPING
                                                                          ▼
                spawning ◀── WAKE ── hibernating ◀── EXITED_CLEANLY ── sleeping ── WAKE ──▶ waking ── READY ──▶ ready

    starting, adopting, ready, busy, sleeping, waking ─┬─ EXITED, HUNG ──▶ backoff ─┬─ RETRY ──────▶ spawning
                                                       │                            └─ EXHAUSTED ──▶ failed
                                                       └─ STOP ──▶ stopping ── EXITED ──▶ stopped
                                                             START ▼  ▲ STOP
                                                              restarting ── EXITED ──▶ stopped ──▶ spawning

    spawning, starting, adopting ── LAUNCH_FAILED, TIMED_OUT ──▶ failed
    spawning, hibernating, backoff, failed ── STOP ──▶ stopped           backoff, failed ── START ──▶ spawning

Others see one of eight states (`Phase.state`). Each TIMED_OUT escalates a stop: SHUTDOWN_GRACEFUL, SIGTERM, SIGKILL.
RELOAD launches a candidate beside the active process; REPLACEMENT_READY makes it the active one (`replacement`). Every
pair of phase and trigger is either in TABLE or in IGNORED.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The state of a plugin in PLUGIN_LIST and PLUGIN_HEALTH."""

    STOPPED = "stopped"
    STARTING = "starting"  # not READY yet
    READY = "ready"
    BUSY = "busy"  # the plugin said so: calls wait
    SLEEPING = "sleeping"  # the plugin said so: a call, message or signal wakes it
    STOPPING = "stopping"
    BACKOFF = "backoff"  # its process ended by itself and is started again after a delay
    FAILED = "failed"  # it crashed too often or could not be started; START, or a reload once mended, helps


PRESENT = frozenset({State.READY, State.BUSY, State.SLEEPING})  # registered, and not stopping
AT_REST = frozenset({State.STOPPED, State.FAILED})  # only START, or a reload, changes the state


class Phase(StrEnum):
    """A state, or a part of one."""

    STOPPED = "stopped"
    SPAWNING = "spawning"  # the launcher was asked for a process, and has not returned a pid yet
    STARTING = "starting"
    ADOPTING = "adopting"  # an earlier core launched its process, which must reconnect
    READY = "ready"
    BUSY = "busy"
    SLEEPING = "sleeping"
    WAKING = "waking"  # WAKE_UP was sent
    HIBERNATING = "hibernating"  # its process exited cleanly while it slept
    STOPPING = "stopping"
    RESTARTING = "restarting"  # stopping, to be started again
    BACKOFF = "backoff"
    FAILED = "failed"

    @property
    def state(self) -> State:
        return _STATE_OF.get(self) or State(self.value)


_STATE_OF = {
    Phase.SPAWNING: State.STARTING,
    Phase.ADOPTING: State.STARTING,
    Phase.WAKING: State.SLEEPING,
    Phase.HIBERNATING: State.SLEEPING,
    Phase.RESTARTING: State.STOPPING,
}


class Trigger(StrEnum):
    START = "start"  # requested by a person, auto_start or a call
    ADOPT = "adopt"  # a process of an earlier core was found
    STOP = "stop"
    LAUNCHED = "launched"  # the process has a pid
    LAUNCH_FAILED = "launch failed"  # no process could be made, or the plugin's folder or manifest is wrong
    READY = "ready"  # a signal from the plugin, as the next two
    BUSY = "busy"
    SLEEPING = "sleeping"
    DISCONNECTED = "disconnected"  # its last connection was closed
    EXITED = "exited"
    EXITED_CLEANLY = "exited cleanly"  # with exit status 0, or unknown for an adopted process
    WAKE = "wake"  # a call, message or signal arrived for it
    TIMED_OUT = "timed out"  # the deadline of this phase has passed
    HUNG = "hung"  # missed health checks, a call without an end
    RETRY = "retry"  # the backoff delay has passed
    EXHAUSTED = "exhausted"  # the window allows no further restart
    RELOAD = "reload"  # its code, settings, manifest or row changed
    REPLACEMENT_READY = "replacement ready"


class Effect(StrEnum):
    RESET_AND_LAUNCH = "reset and launch"  # forget earlier crashes, and launch
    LAUNCH = "launch"
    AWAIT_READY = "await ready"  # set the deadline of the start
    AWAIT_REJOIN = "await rejoin"  # set the deadline for an adopted process to register
    AWAIT_RECONNECT = "await reconnect"  # set the deadline for a new connection
    ADD_WAITER = "add waiter"  # `start` or `stop` has added the caller already
    ON_READY = "on ready"  # reply to callers, start health checks
    KEEPALIVE = "keepalive"
    END = "end"  # begin to stop the process
    ESCALATE = "escalate"
    STOP_AT_ONCE = "stop at once"  # there is no process, or none yet
    KILL = "kill"  # SIGKILL, then back off
    KILL_AND_FAIL = "kill and fail"
    BACK_OFF = "back off"  # schedule the next launch
    GIVE_UP = "give up"  # fail the waiting callers
    NOTIFY_STOPPED = "notify stopped"
    START_AGAIN = "start again"  # NOTIFY_STOPPED, then START
    REPLY_UNCHANGED = "reply unchanged"  # it runs already
    CANCEL_RESTART = "cancel restart"
    WAKE = "wake"  # send WAKE_UP
    HIBERNATE = "hibernate"
    RELAUNCH = "relaunch"  # kill the process that is not READY, and launch the new specification
    REPLACE = "replace"  # launch a candidate
    TAKE_OVER = "take over"  # the candidate becomes active, the old process drains
    USE_NEW_SPEC = "use new spec"  # the next launch uses it


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


class Lifecycle:
    """Follows the table. A subclass has a method for each effect, such as `_back_off` for Effect.BACK_OFF.

    `reason` says why the plugin does not run as it should, and is empty otherwise.
    """

    def __init__(self) -> None:
        self.phase = Phase.STOPPED
        self.reason = ""

    @property
    def state(self) -> State:
        return self.phase.state

    def handle(self, trigger: Trigger, reason: str = "") -> None:
        """The only method that changes the phase."""
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
