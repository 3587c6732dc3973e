"""The life of a plugin: one table, state x event -> action, next state. The supervisor only carries it out.

                 START                    READY             SLEEPING
      stopped ───────────▶ starting ───────────────▶ ready ──────────▶ sleeping
         ▲  ▲                │ ▲ │                   │ ▲ ▲                │
         │  │           ENDED│ │ │LAUNCH_FAILED  BUSY│ │ └── READY, BUSY ─┘
         │  │                │ │ │OVERDUE            ▼ │READY
         │  │ STOP           ▼ │ │                  busy
         │  └───────────backoff│ │
         │                 │ ▲ RETRY
         │        EXHAUSTED│ └─── ENDED, HUNG of ready, busy, sleeping
         │                 ▼   │
         │ STOP         failed ◀┘            START leads from stopped, backoff and failed to starting at once
         │
         └── ENDED ── stopping ◀── STOP of starting, ready, busy, sleeping

SLEEPING has a process (light), or after LEFT none (deep): WAKE sends WAKE_UP to the one, and launches the other.
RENEW of ready, busy, sleeping launches a second process beside the first; SUCCEEDED, when it is READY, puts it in
charge. Neither changes the state: the plugin is there all the time. If it comes to nothing, nothing happened (renewal).
A process that an earlier core left behind and this one adopts is starting too, until it comes back and is READY.
STOPPING presses harder each time it is OVERDUE: SHUTDOWN_GRACEFUL, then SIGTERM, then SIGKILL.
Every pair of state and event is in TABLE or in IGNORED: nothing is forgotten, and nothing else can happen.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    STOPPED = "stopped"  # no process, and none is wanted
    STARTING = "starting"  # launched, not READY yet
    READY = "ready"
    BUSY = "busy"  # it said so: calls wait
    SLEEPING = "sleeping"  # it said so: a call, a message or a signal wakes it; in deep sleep it has no process
    STOPPING = "stopping"  # asked to end
    BACKOFF = "backoff"  # its process ended by itself: it is started again after a delay
    FAILED = "failed"  # it ended too often, or could not be started: only a person's START helps


class Event(StrEnum):
    START = "start"  # a person, auto_start or a call wants it
    STOP = "stop"
    LAUNCH_FAILED = "launch failed"  # no process came to be, or none could: its folder or manifest is wrong
    READY = "ready"  # signals of the plugin
    BUSY = "busy"
    SLEEPING = "sleeping"
    ENDED = "ended"  # its process is gone
    LEFT = "left"  # its process ended in its sleep, with exit status 0: deep sleep
    WAKE = "wake"  # there is something for it to do
    OVERDUE = "overdue"  # the deadline of this state is over
    HUNG = "hung"  # it does not answer: health checks missed, a call without an end
    RETRY = "retry"  # the delay of backoff is over, or a deep sleep
    EXHAUSTED = "exhausted"  # no restart is left in the window
    RENEW = "renew"  # its code, settings, manifest or row are others now
    SUCCEEDED = "succeeded"  # the process that was launched beside it is READY


class Action(StrEnum):
    BEGIN = "begin"  # forget earlier crashes, and launch
    LAUNCH = "launch"  # launch once more
    JOIN = "join"  # who asked waits with those who asked before
    WELCOME = "welcome"  # it is ready: tell who waits, watch its health
    NOTE = "note"  # it gave a sign of life
    END = "end"  # ask it to end
    PRESS = "press"  # ask harder
    KILL = "kill"  # SIGKILL, and try again later
    ABANDON = "abandon"  # SIGKILL, and give up
    BACK_OFF = "back off"  # plan the next launch
    GIVE_UP = "give up"  # tell who waits
    CONCLUDE = "conclude"  # it is gone as it was asked to: tell who waits
    CONFIRM = "confirm"  # it is as it was asked to be: say so
    START_AFTER = "start after"  # launch when the old process is gone
    STAY_DOWN = "stay down"  # do not, after all
    ROUSE = "rouse"  # send WAKE_UP, or launch what has no process
    REST = "rest"  # nothing is to be waited for any more
    RELAUNCH = "relaunch"  # nobody has got anything of it yet: SIGKILL, and launch what is there now
    RENEW = "renew"  # launch the new one beside it
    TAKE_OVER = "take over"  # calls go to the new one; the old one finishes what it holds, and ends
    DEFER = "defer"  # what is launched next is the new one


S, E, A = State, Event, Action

TABLE: dict[State, dict[Event, tuple[Action, State]]] = {
    S.STOPPED: {
        E.RENEW: (A.DEFER, S.STOPPED),
        E.START: (A.BEGIN, S.STARTING),
        E.STOP: (A.CONFIRM, S.STOPPED),
        E.LAUNCH_FAILED: (A.GIVE_UP, S.FAILED),
    },
    S.STARTING: {
        E.RENEW: (A.RELAUNCH, S.STARTING),
        E.START: (A.JOIN, S.STARTING),
        E.STOP: (A.END, S.STOPPING),
        E.LAUNCH_FAILED: (A.GIVE_UP, S.FAILED),
        E.READY: (A.WELCOME, S.READY),
        E.ENDED: (A.BACK_OFF, S.BACKOFF),
        E.OVERDUE: (A.ABANDON, S.FAILED),
        E.HUNG: (A.KILL, S.BACKOFF),
    },
    S.READY: {
        E.RENEW: (A.RENEW, S.READY),
        E.SUCCEEDED: (A.TAKE_OVER, S.READY),
        E.START: (A.CONFIRM, S.READY),
        E.STOP: (A.END, S.STOPPING),
        E.READY: (A.NOTE, S.READY),
        E.BUSY: (A.NOTE, S.BUSY),
        E.SLEEPING: (A.NOTE, S.SLEEPING),
        E.ENDED: (A.BACK_OFF, S.BACKOFF),
        E.HUNG: (A.KILL, S.BACKOFF),
    },
    S.BUSY: {
        E.RENEW: (A.RENEW, S.BUSY),
        E.SUCCEEDED: (A.TAKE_OVER, S.BUSY),
        E.START: (A.CONFIRM, S.BUSY),
        E.STOP: (A.END, S.STOPPING),
        E.READY: (A.NOTE, S.READY),
        E.BUSY: (A.NOTE, S.BUSY),
        E.SLEEPING: (A.NOTE, S.SLEEPING),
        E.ENDED: (A.BACK_OFF, S.BACKOFF),
        E.HUNG: (A.KILL, S.BACKOFF),
    },
    S.SLEEPING: {
        E.RENEW: (A.RENEW, S.SLEEPING),
        E.SUCCEEDED: (A.TAKE_OVER, S.SLEEPING),
        E.START: (A.CONFIRM, S.SLEEPING),
        E.STOP: (A.END, S.STOPPING),
        E.READY: (A.NOTE, S.READY),
        E.BUSY: (A.NOTE, S.BUSY),
        E.SLEEPING: (A.NOTE, S.SLEEPING),
        E.ENDED: (A.BACK_OFF, S.BACKOFF),
        E.LEFT: (A.REST, S.SLEEPING),
        E.WAKE: (A.ROUSE, S.SLEEPING),
        E.RETRY: (A.LAUNCH, S.STARTING),
        E.HUNG: (A.KILL, S.BACKOFF),
    },
    S.STOPPING: {
        E.RENEW: (A.DEFER, S.STOPPING),
        E.START: (A.START_AFTER, S.STOPPING),
        E.STOP: (A.STAY_DOWN, S.STOPPING),
        E.LAUNCH_FAILED: (A.CONCLUDE, S.STOPPED),
        E.ENDED: (A.CONCLUDE, S.STOPPED),
        E.OVERDUE: (A.PRESS, S.STOPPING),
    },
    S.BACKOFF: {
        E.RENEW: (A.DEFER, S.BACKOFF),
        E.START: (A.BEGIN, S.STARTING),
        E.STOP: (A.CONCLUDE, S.STOPPED),
        E.RETRY: (A.LAUNCH, S.STARTING),
        E.EXHAUSTED: (A.GIVE_UP, S.FAILED),
    },
    S.FAILED: {
        E.RENEW: (A.DEFER, S.FAILED),
        E.START: (A.BEGIN, S.STARTING),
        E.STOP: (A.CONFIRM, S.STOPPED),
    },
}

# What cannot happen there, or says nothing new: a signal that was under way, the end of a process that was killed,
# a deadline that passed in the same turn as what it waited for.
_SIGNALS = frozenset({E.READY, E.BUSY, E.SLEEPING})
_DELAYS = frozenset({E.RETRY, E.EXHAUSTED})
_SLEEP = frozenset({E.LEFT, E.WAKE})
IGNORED: dict[State, frozenset[Event]] = {
    S.STOPPED: _SIGNALS | _DELAYS | _SLEEP | {E.SUCCEEDED, E.ENDED, E.OVERDUE, E.HUNG},
    S.STARTING: _DELAYS | _SLEEP | {E.SUCCEEDED, E.BUSY, E.SLEEPING},
    S.READY: _DELAYS | _SLEEP | {E.LAUNCH_FAILED, E.OVERDUE},
    S.BUSY: _DELAYS | _SLEEP | {E.LAUNCH_FAILED, E.OVERDUE},
    S.SLEEPING: frozenset({E.EXHAUSTED, E.LAUNCH_FAILED, E.OVERDUE}),
    S.STOPPING: _SIGNALS | _DELAYS | _SLEEP | {E.SUCCEEDED, E.HUNG},
    S.BACKOFF: _SIGNALS | _SLEEP | {E.SUCCEEDED, E.LAUNCH_FAILED, E.ENDED, E.OVERDUE, E.HUNG},
    S.FAILED: _SIGNALS | _DELAYS | _SLEEP | {E.SUCCEEDED, E.LAUNCH_FAILED, E.ENDED, E.OVERDUE, E.HUNG},
}
