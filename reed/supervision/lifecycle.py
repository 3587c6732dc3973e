"""The life of a plugin: one table, phase x trigger -> effect, next phase. `plugin` only carries it out.

                 START                    READY             SLEEPING            EXITED_ASLEEP
      stopped ───────────▶ starting ───────────────▶ ready ──────────▶ sleeping ────────────▶ hibernating
         ▲  ▲    ADOPT     │ ▲ ▲ │                   │ ▲ ▲              │    │WAKE                │WAKE
         │  │      │       │ │ │ │LAUNCH_FAILED  BUSY│ │ └─ READY, BUSY ┴─ waking               │
         │  │      ▼       │ │ │ │TIMED_OUT          ▼ │READY                                   │
         │  │   adopting   │ │ │ │                  busy          starting ◀────────────────────┘
         │  │ STOP   EXITED▼ │RETRY
         │  └─────────── backoff ◀──── EXITED, HUNG of ready, busy, sleeping, waking
         │                 │     │
         │ STOP   EXHAUSTED▼     ▼
         ├────────────── failed ◀┘           START leads from stopped, backoff and failed to starting at once
         │
         └─ EXITED ── stopping ◀── STOP of starting, adopting, ready, busy, sleeping, waking, hibernating
                         │ ▲
                    START▼ │STOP
                      restarting ── EXITED ── stopped ── starting

Others see a phase as one of eight states (`Phase.state`). An adopting plugin's process was launched by an earlier core
and has not come back yet. A hibernating plugin has no process: it slept and ended. STOPPING escalates with each
TIMED_OUT: SHUTDOWN_GRACEFUL, SIGTERM, SIGKILL. RELOAD launches a replacement beside the active process;
REPLACEMENT_READY makes it active (replacement). Every pair of phase and trigger is in TABLE or in IGNORED.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What PLUGIN_LIST and PLUGIN_HEALTH say of a plugin."""

    STOPPED = "stopped"
    STARTING = "starting"  # it has a process that is not READY yet
    READY = "ready"
    BUSY = "busy"  # it said so: calls wait
    SLEEPING = "sleeping"  # it said so: a call, a message or a signal wakes it
    STOPPING = "stopping"  # asked to end
    BACKOFF = "backoff"  # its process ended by itself: started again after a delay
    FAILED = "failed"  # it ended too often, or could not be started: only START helps


class Phase(StrEnum):
    """What the table knows of a plugin: a state, or a part of one."""

    STOPPED = "stopped"
    STARTING = "starting"
    ADOPTING = "adopting"  # its process was launched by an earlier core and is expected to come back
    READY = "ready"
    BUSY = "busy"
    SLEEPING = "sleeping"
    WAKING = "waking"  # WAKE_UP was sent, or something came for it while it went to sleep
    HIBERNATING = "hibernating"  # it ended in its sleep, with exit status 0
    STOPPING = "stopping"
    RESTARTING = "restarting"  # stopping, and to be started again
    BACKOFF = "backoff"
    FAILED = "failed"

    @property
    def state(self) -> State:
        return _STATE_OF.get(self) or State(self.value)


_STATE_OF = {
    Phase.ADOPTING: State.STARTING,
    Phase.WAKING: State.SLEEPING,
    Phase.HIBERNATING: State.SLEEPING,
    Phase.RESTARTING: State.STOPPING,
}


class Trigger(StrEnum):
    START = "start"  # a person, auto_start or a call wants it
    ADOPT = "adopt"  # a process of an earlier core was found
    STOP = "stop"
    LAUNCH_FAILED = "launch failed"  # there is no process, or cannot be: its folder or manifest is wrong
    READY = "ready"  # signals of the plugin
    BUSY = "busy"
    SLEEPING = "sleeping"
    EXITED = "exited"  # its process is gone
    EXITED_ASLEEP = "exited asleep"  # its process ended in its sleep, with exit status 0
    WAKE = "wake"  # there is something for it to do
    TIMED_OUT = "timed out"  # the deadline of this phase is over
    HUNG = "hung"  # it does not answer: health checks missed, a call without an end
    RETRY = "retry"  # the delay of backoff is over
    EXHAUSTED = "exhausted"  # no restart is left in the window
    RELOAD = "reload"  # its code, settings, manifest or row changed
    REPLACEMENT_READY = "replacement ready"


class Effect(StrEnum):
    RESET_AND_LAUNCH = "reset and launch"  # forget earlier crashes, and launch
    LAUNCH = "launch"
    WAIT_FOR_RETURN = "wait for return"  # the adopted process has a deadline to register again
    ADD_WAITER = "add waiter"  # the caller waits with those who asked before
    ON_READY = "on ready"  # reply to those who wait, watch its health
    KEEPALIVE = "keepalive"
    END = "end"  # ask it to end
    ESCALATE = "escalate"  # ask harder
    KILL = "kill"  # SIGKILL, and try again later
    KILL_AND_FAIL = "kill and fail"
    BACK_OFF = "back off"  # plan the next launch
    GIVE_UP = "give up"  # fail those who wait
    NOTIFY_STOPPED = "notify stopped"
    START_AGAIN = "start again"  # the same, and then START
    REPLY_UNCHANGED = "reply unchanged"  # it is running already
    CANCEL_RESTART = "cancel restart"
    WAKE = "wake"  # send WAKE_UP
    HIBERNATE = "hibernate"  # nothing is waited for any more
    RELAUNCH = "relaunch"  # SIGKILL to what is not READY yet, and launch what is there now
    REPLACE = "replace"  # launch a replacement beside it
    TAKE_OVER = "take over"  # calls go to the replacement; the old process drains, and ends
    USE_NEW_SPEC = "use new spec"  # the next launch uses it


P, T, E = Phase, Trigger, Effect
Step = tuple[Effect, Phase | None]  # None: the phase stays

_STARTING: dict[Trigger, Step] = {
    T.RELOAD: (E.RELAUNCH, P.STARTING),
    T.START: (E.ADD_WAITER, None),
    T.STOP: (E.END, P.STOPPING),
    T.LAUNCH_FAILED: (E.GIVE_UP, P.FAILED),
    T.READY: (E.ON_READY, P.READY),
    T.EXITED: (E.BACK_OFF, P.BACKOFF),
    T.TIMED_OUT: (E.KILL_AND_FAIL, P.FAILED),
    T.HUNG: (E.KILL, P.BACKOFF),
}
_PRESENT: dict[Trigger, Step] = {
    T.RELOAD: (E.REPLACE, None),
    T.REPLACEMENT_READY: (E.TAKE_OVER, None),
    T.START: (E.REPLY_UNCHANGED, None),
    T.STOP: (E.END, P.STOPPING),
    T.READY: (E.KEEPALIVE, P.READY),
    T.BUSY: (E.KEEPALIVE, P.BUSY),
    T.SLEEPING: (E.KEEPALIVE, P.SLEEPING),
}
_WITH_PROCESS: dict[Trigger, Step] = {
    **_PRESENT,
    T.EXITED: (E.BACK_OFF, P.BACKOFF),
    T.HUNG: (E.KILL, P.BACKOFF),
}
TABLE: dict[Phase, dict[Trigger, Step]] = {
    P.STOPPED: {
        T.RELOAD: (E.USE_NEW_SPEC, None),
        T.START: (E.RESET_AND_LAUNCH, P.STARTING),
        T.ADOPT: (E.WAIT_FOR_RETURN, P.ADOPTING),
        T.STOP: (E.NOTIFY_STOPPED, None),
        T.LAUNCH_FAILED: (E.GIVE_UP, P.FAILED),
    },
    P.STARTING: _STARTING,
    P.ADOPTING: _STARTING,
    P.READY: _WITH_PROCESS,
    P.BUSY: _WITH_PROCESS,
    P.SLEEPING: {
        **_WITH_PROCESS,
        T.WAKE: (E.WAKE, P.WAKING),
        T.EXITED_ASLEEP: (E.HIBERNATE, P.HIBERNATING),
    },
    P.WAKING: {
        **_WITH_PROCESS,
        T.WAKE: (E.WAKE, None),
        T.EXITED_ASLEEP: (E.LAUNCH, P.STARTING),
    },
    P.HIBERNATING: {
        **_PRESENT,
        T.WAKE: (E.LAUNCH, P.STARTING),
    },
    P.STOPPING: {
        T.RELOAD: (E.USE_NEW_SPEC, None),
        T.START: (E.ADD_WAITER, P.RESTARTING),
        T.STOP: (E.ADD_WAITER, None),
        T.LAUNCH_FAILED: (E.NOTIFY_STOPPED, P.STOPPED),
        T.EXITED: (E.NOTIFY_STOPPED, P.STOPPED),
        T.TIMED_OUT: (E.ESCALATE, None),
    },
    P.RESTARTING: {
        T.RELOAD: (E.USE_NEW_SPEC, None),
        T.START: (E.ADD_WAITER, None),
        T.STOP: (E.CANCEL_RESTART, P.STOPPING),
        T.LAUNCH_FAILED: (E.START_AGAIN, P.STOPPED),
        T.EXITED: (E.START_AGAIN, P.STOPPED),
        T.TIMED_OUT: (E.ESCALATE, None),
    },
    P.BACKOFF: {
        T.RELOAD: (E.USE_NEW_SPEC, None),
        T.START: (E.RESET_AND_LAUNCH, P.STARTING),
        T.STOP: (E.NOTIFY_STOPPED, P.STOPPED),
        T.RETRY: (E.LAUNCH, P.STARTING),
        T.EXHAUSTED: (E.GIVE_UP, P.FAILED),
    },
    P.FAILED: {
        T.RELOAD: (E.USE_NEW_SPEC, None),
        T.START: (E.RESET_AND_LAUNCH, P.STARTING),
        T.STOP: (E.NOTIFY_STOPPED, P.STOPPED),
    },
}

# What cannot happen there, or says nothing new: a signal that was on its way, the exit of a process that was killed,
# a deadline that passed in the same turn as what it waited for.
_SIGNALS = frozenset({T.READY, T.BUSY, T.SLEEPING})
_DELAYS = frozenset({T.RETRY, T.EXHAUSTED})
_SLEEP = frozenset({T.EXITED_ASLEEP, T.WAKE})
IGNORED: dict[Phase, frozenset[Trigger]] = {
    P.STOPPED: _SIGNALS | _DELAYS | _SLEEP | {T.REPLACEMENT_READY, T.EXITED, T.TIMED_OUT, T.HUNG},
    P.STARTING: _DELAYS | _SLEEP | {T.REPLACEMENT_READY, T.BUSY, T.SLEEPING, T.ADOPT},
    P.ADOPTING: _DELAYS | _SLEEP | {T.REPLACEMENT_READY, T.BUSY, T.SLEEPING, T.ADOPT},
    P.READY: _DELAYS | _SLEEP | {T.LAUNCH_FAILED, T.TIMED_OUT, T.ADOPT},
    P.BUSY: _DELAYS | _SLEEP | {T.LAUNCH_FAILED, T.TIMED_OUT, T.ADOPT},
    P.SLEEPING: _DELAYS | {T.LAUNCH_FAILED, T.TIMED_OUT, T.ADOPT},
    P.WAKING: _DELAYS | {T.LAUNCH_FAILED, T.TIMED_OUT, T.ADOPT},
    P.HIBERNATING: _DELAYS | {T.LAUNCH_FAILED, T.TIMED_OUT, T.ADOPT, T.EXITED, T.EXITED_ASLEEP, T.HUNG},
    P.STOPPING: _SIGNALS | _DELAYS | _SLEEP | {T.REPLACEMENT_READY, T.HUNG, T.ADOPT},
    P.RESTARTING: _SIGNALS | _DELAYS | _SLEEP | {T.REPLACEMENT_READY, T.HUNG, T.ADOPT},
    P.BACKOFF: _SIGNALS | _SLEEP | {T.REPLACEMENT_READY, T.LAUNCH_FAILED, T.EXITED, T.TIMED_OUT, T.HUNG, T.ADOPT},
    P.FAILED: _SIGNALS
    | _DELAYS
    | _SLEEP
    | {T.REPLACEMENT_READY, T.LAUNCH_FAILED, T.EXITED, T.TIMED_OUT, T.HUNG, T.ADOPT},
}


class Lifecycle:
    """Carries out the table. A subclass has a method for each effect: Effect.BACK_OFF is `_back_off`.

    `reason` says in words why it is not running as it should; empty when it is.
    """

    def __init__(self) -> None:
        self.phase = Phase.STOPPED
        self.reason = ""

    @property
    def state(self) -> State:
        return self.phase.state

    def handle(self, trigger: Trigger, reason: str = "") -> None:
        """The only way in which the phase changes. What the table lacks is in IGNORED and means nothing."""
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
        """It is in another state than before; the effect follows."""
        raise NotImplementedError
