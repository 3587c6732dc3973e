"""One plugin: its row, its state, and its process. `take(event)` is the only way its state changes.

    take(event) ── TABLE[state][event] ── new state, told to the core ── the action, a method below

One Run (one process) is in charge at a time: `run`, launched as `plan` says. Beside it there may be a newcomer, and
those that were in charge before and finish their calls (renewal). Only the one in charge moves the state: what comes
late from a run that was given up changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from reed.errors import PluginOffline, ReedError
from reed.registry.child import UNKNOWN_STATUS
from reed.registry.deadlines import Deadlines
from reed.registry.health import Health
from reed.registry.hooks import Process, Tools
from reed.registry.leftovers import RETURN, Leftover
from reed.registry.lifecycle import TABLE, Action, Event, State
from reed.registry.planned import Planned
from reed.registry.renewal import Renewal
from reed.registry.restarts import Restarts
from reed.registry.rows import Row
from reed.registry.run import IN_LINE, Run
from reed.registry.waiting import Done, Failed, Waiting
from reed.wire.codes import Signal

_IN_ORDER = ("exit status 0", UNKNOWN_STATUS)
_PRESENT = frozenset({State.READY, State.BUSY, State.SLEEPING})


class Plugin(Planned):
    """See the module. `reason` says in words why it is not running as it should; empty when it is."""

    def __init__(self, row: Row, tools: Tools) -> None:
        timing = tools.config.timing
        super().__init__(row, tools)
        self.state = State.STOPPED
        self.reason = ""
        self.last_error = ""
        self.error_data = b""  # of its last PLUGIN_ERROR
        self.signals = 0  # READY, BUSY and SLEEPING that it sent: its answers to health checks among them
        self.generation = 0  # of the process in charge, or of the last one
        self.ready_ms: float | None = None
        self.restarts = Restarts(timing.restart_limit, timing.restart_window, tools.random)
        self.renewal = Renewal(tools, self.output)
        self._health = Health(tools.loop, timing, self._check_health, partial(self.take, Event.HUNG))
        self._deadlines = Deadlines(tools.loop, self.take)
        self._launches = 0
        self._leftover: Leftover | None = None  # what the next launch adopts instead
        self._starters = Waiting()
        self._stoppers = Waiting()
        self._wanted_again = False  # when it is stopped
        self._roused = False  # in its sleep, and not awake yet

    # What the core and the supervisor read.

    @property
    def is_launching(self) -> bool:
        """A process of it may be there already whose pid is not known yet."""
        return any(run is not None and run.pid is None for run in (self.run, self.renewal.run))

    # What may be asked of it.

    def start(self, done: Done, failed: Failed) -> None:
        self._starters.add(done, failed)
        self.take(Event.START)

    def adopt(self, left: Leftover) -> None:
        """Its process was launched by an earlier core, and is about to come back."""
        self._leftover = left
        self.take(Event.START)

    def stop(self, done: Done, failed: Failed) -> None:
        self._stoppers.add(done, failed)
        self.take(Event.STOP)

    def renew(self, done: Done, failed: Failed, *, always: bool = False) -> None:
        """Take its code, settings, manifest and row as they are now. `done` when calls go to the new process, or when
        there is nothing new (unless `always`); `failed` with Invalid, and then everything is as it was."""
        self.renewal.ask(done, failed)
        try:
            fresh = self.planned()
        except ReedError as error:
            self.renewal.refuse(str(error))
            return
        if always or not self.is_as(fresh):
            self.take(Event.RENEW)
        elif self.renewal.run is None:
            self.renewal.settle()  # else the newcomer is what was asked for, or what went before: it decides

    def signalled(self, run: Process, event: Event) -> None:
        """One of its processes said READY, BUSY or SLEEPING."""
        if run is self.run:
            self.signals += 1
            self.take(event)
        elif run is self.renewal.run and event is Event.READY:
            self.take(Event.SUCCEEDED)

    def disconnected(self) -> None:
        """Its last connection is closed: it must end, or come back within the deadline of a start."""
        if self.state in _PRESENT:
            wait = self._tools.config.timing.start_deadline
            self._deadlines.return_within(wait, f"killed: it closed its connections and was not back within {wait:g} s")

    def take(self, event: Event, reason: str = "") -> None:
        """Let the table decide what an event means now."""
        step = TABLE[self.state].get(event)
        if step is None:
            return  # lifecycle.IGNORED
        action, new = step
        old, self.state = self.state, new
        if reason:
            self.reason = reason
        if new is not old:
            self._deadlines.clear()
            if new not in _PRESENT:
                self._health.stop()
                if self.run is not None:
                    self.run.drain()  # its last lines, before anyone is told of its end
                self.renewal.give_up(str(new), self._starters if new is State.STARTING else None)
            self._tools.log.debug("%s: %s, %s: %s", self.name, old, event, new, peer=f"plugin {self.name}")
            self._tools.hooks.on_state(self.name, old, new)
        self._ACTIONS[action](self)

    # The actions.

    def _begin(self) -> None:
        self.restarts.clear()
        self.last_lines.clear()
        self._launch()

    def _launch(self) -> None:
        self._roused = False
        self.generation = self._launches = self._launches + 1
        self.reason, self.ready_ms, self.latest = "", None, None
        self.forget_deep_sleep()
        try:
            self.look()
            assert self.plan is not None
            self.run = self.latest = Run(self._tools, self.row, self.plan, self.generation, self.output, self)
            left, self._leftover = self._leftover, None
            if left is None:
                self._deadlines.overdue_after(IN_LINE, f"no process could be made for it within {IN_LINE:g} s")
                self.run.launch()
            else:
                self._deadlines.return_within(RETURN, f"killed: it did not find the new core within {RETURN:g} s")
                self.run.adopt(left)
        except (ReedError, OSError) as error:
            self.run = None
            self.take(Event.LAUNCH_FAILED, str(error))

    def _welcome(self) -> None:
        assert self.run is not None
        self.ready_ms = (self._tools.loop.now() - self.run.launched_at) * 1000
        self._tools.log.info("%s: ready after %.1f ms, pid %s", self.name, self.ready_ms, self.pid, peer=self.name)
        self._health.start()
        self._starters.done()
        self._tools.loop.again(self.run.measure)  # in the next turn: it reads for half a millisecond

    def _note(self) -> None:
        self._roused = False
        self._health.alive()
        self._deadlines.returned()

    def _end(self) -> None:
        self._fail_starters("it was stopped before it was ready")
        self.renewal.end()
        self._press()

    def _press(self) -> None:
        if self.run is None:
            self.forget_deep_sleep()
            self.take(Event.ENDED)
            return
        seconds = self.run.press()
        if seconds is not None:
            self._deadlines.overdue_after(seconds)
        elif self.pid is None:
            self._drop_run()  # it was never there
            self.take(Event.ENDED)

    def _kill(self) -> None:
        self._drop_run()
        self._back_off()

    def _abandon(self) -> None:
        self._drop_run()
        self._give_up()

    def _back_off(self) -> None:
        self.last_error = self.reason
        self._tools.log.warning("%s: %s", self.name, self.reason, peer=self.name)
        self._fail_starters(self.reason)
        delay = self.restarts.crash(self._tools.loop.now())
        if delay is None:
            window = self._tools.config.timing.restart_window
            self.take(Event.EXHAUSTED, f"{self.reason}; that was crash {self.restarts.recent} within {window:g} s")
        else:
            self._deadlines.retry_after(delay)

    def _give_up(self) -> None:
        self.last_error = self.reason
        self._tools.log.error("%s: failed: %s", self.name, self.reason, peer=self.name)
        self._fail_starters(self.reason)

    def _conclude(self) -> None:
        self.reason = ""
        self._stoppers.done()
        if self._wanted_again:
            self._wanted_again = False
            self.take(Event.START)

    def _confirm(self) -> None:
        """It is as it was asked to be already."""
        if self.state is State.STOPPED:
            self.reason = ""
            self._stoppers.done()
        else:
            self._starters.done()

    def _start_after(self) -> None:
        self._wanted_again = True

    def _stay_down(self) -> None:
        self._wanted_again = False
        self._fail_starters("it was stopped")

    def _rouse(self) -> None:
        self._roused = True
        if self.run is None:
            self.take(Event.RETRY)
        else:
            self._tools.hooks.send_signal(self.run, Signal.WAKE_UP, b"")

    def _rest(self) -> None:
        """It went to deep sleep. Was it roused on its way there, it is launched again at once."""
        self._deadlines.clear()
        self.note_deep_sleep()
        if self._roused:
            self.take(Event.RETRY)

    def _relaunch(self) -> None:
        self._drop_run()
        self._deadlines.clear()
        self.renewal.give_up("relaunched", self._starters)
        self._launch()

    def _renew(self) -> None:
        self._launches += 1
        self.renewal.begin(self.newest_row, self.planned(), self._launches)

    def _take_over(self) -> None:
        old = self.run
        self.run = self.latest = self.renewal.succeed()
        retired = self.renewal.retire(old) if old is not None else None
        self.run.owner = self
        self.run.be_in_charge()
        self.plan, self.generation, self.reason = self.run.plan, self.run.generation, ""
        self.row = self.run.row
        self._tools.hooks.on_new_run(self.name)
        if retired is not None:
            retired.finish()
        self._welcome()
        self.take(Event.READY)
        self.renewal.settle()

    _ACTIONS: ClassVar[dict[Action, Callable[[Plugin], None]]] = {
        Action.BEGIN: _begin,
        Action.LAUNCH: _launch,
        Action.JOIN: lambda _: None,  # who asked is in the list of those who wait
        Action.WELCOME: _welcome,
        Action.NOTE: _note,
        Action.END: _end,
        Action.PRESS: _press,
        Action.KILL: _kill,
        Action.ABANDON: _abandon,
        Action.BACK_OFF: _back_off,
        Action.GIVE_UP: _give_up,
        Action.CONCLUDE: _conclude,
        Action.CONFIRM: _confirm,
        Action.START_AFTER: _start_after,
        Action.STAY_DOWN: _stay_down,
        Action.ROUSE: _rouse,
        Action.REST: _rest,
        Action.RELAUNCH: _relaunch,
        Action.RENEW: _renew,
        Action.TAKE_OVER: _take_over,
        Action.DEFER: lambda self: self.renewal.settle(),
    }

    # The owner of its runs.

    def launched(self, _run: Run) -> None:
        wait = self._tools.config.timing.start_deadline
        if self.state is State.STARTING:
            self._deadlines.clear()
            self._deadlines.overdue_after(wait, f"killed: it was not ready within {wait:g} s")

    def launch_failed(self, _run: Run, reason: str) -> None:
        self.run = None
        self.take(Event.LAUNCH_FAILED, reason)

    def ended(self, _run: Run, reason: str) -> None:
        self.run = None
        if self.state is State.SLEEPING and reason in _IN_ORDER:
            self.take(Event.LEFT)
        else:
            self.take(Event.ENDED, "" if self.state is State.STOPPING else reason)

    # Helpers.

    def _check_health(self) -> bool:
        if self.run is None:
            return False
        self.run.measure()
        return self.state is not State.SLEEPING and self._tools.hooks.send_signal(self.run, Signal.HEALTH_CHECK, b"")

    def _drop_run(self) -> None:
        """Give its process up: it is killed, and no longer heard."""
        run, self.run = self.run, None
        if run is not None:
            run.drop(self.reason)

    def _fail_starters(self, reason: str) -> None:
        told = f"plugin {self.name}: {reason}{self.latest.last_words() if self.latest else ''}"
        self._starters.fail(PluginOffline(told, hint=f"see `reed plugin logs {self.name}`"))
