"""One plugin: its row, its state, and its process. `take(event)` is the only way its state changes.

    take(event) ── TABLE[state][event] ── new state, told to the core ── the action, a method below

A plugin has one Run (one process) at a time. Only that one is heard: what comes late from a run that was given up
changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from reed.errors import PluginOffline, ReedError
from reed.loop.timers import Timer
from reed.registry.health import Health
from reed.registry.hooks import Tools
from reed.registry.lifecycle import TABLE, Action, Event, State
from reed.registry.manifest import Manifest
from reed.registry.output import PluginLog
from reed.registry.processes import LaunchSpec
from reed.registry.restarts import Restarts
from reed.registry.rows import Row
from reed.registry.run import Run
from reed.registry.specs import plan
from reed.registry.waiting import Done, Failed, Waiting
from reed.wire.codes import Signal

_LINES_IN_ERRORS = 3
_IN_LINE = 60.0  # seconds: processes are made one by one; the deadline of a start counts from its process on
_IN_ORDER = "exit status 0"
_PRESENT = frozenset({State.READY, State.BUSY, State.SLEEPING})


class Plugin:
    """See the module. `reason` says in words why it is not running as it should; empty when it is."""

    def __init__(self, row: Row, tools: Tools) -> None:
        timing = tools.config.timing
        name = row.plugin_name
        self.row = row
        self.manifest: Manifest | None = None
        self.spec: LaunchSpec | None = None
        self.state = State.STOPPED
        self.reason = ""
        self.last_error = ""
        self.error_data = b""  # of its last PLUGIN_ERROR
        self.signals = 0  # READY, BUSY and SLEEPING that it sent: its answers to health checks among them
        self.generation = 0  # of its newest process
        self.launched_at = 0.0  # by the loop's clock
        self.ready_ms: float | None = None
        self.memory_sample = 0
        self.run: Run | None = None
        self.restarts = Restarts(timing.restart_limit, timing.restart_window, tools.random)
        self.output = PluginLog(name, tools.config.data_dir / "logs" / f"{name}.log", tools.log, tools.clock)
        self._tools = tools
        self._health = Health(tools.loop, timing, self._check_health, partial(self.take, Event.HUNG))
        self._deadline: Timer | None = None  # of the present state
        self._return: Timer | None = None  # when it must have connected again
        self._starters = Waiting()
        self._stoppers = Waiting()
        self._wanted_again = False  # when it is stopped
        self._pressed = 0
        self._roused = False  # in its sleep, and not awake yet

    # What the core and the supervisor read.

    @property
    def name(self) -> str:
        return self.row.plugin_name

    @property
    def pid(self) -> int | None:
        return self.run.pid if self.run else None

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.spec.settings) if self.spec else {}

    @property
    def last_lines(self) -> deque[str]:
        return self.output.last_lines

    def look(self) -> None:
        """Read its folder and manifest. Raises ManifestError, and then keeps what it had."""
        self.manifest, self.spec = plan(self.row, self._tools.config, self._tools.manifests)

    def look_at_settings(self) -> dict[str, Any]:
        """Its settings as its folder has them now, for the process that runs. Raises ManifestError."""
        fresh = plan(self.row, self._tools.config, self._tools.manifests).spec
        if self.spec is not None:
            self.spec = replace(self.spec, settings=fresh.settings)
        return self.settings

    # What may be asked of it.

    def start(self, done: Done, failed: Failed) -> None:
        self._starters.add(done, failed)
        self.take(Event.START)

    def stop(self, done: Done, failed: Failed) -> None:
        self._stoppers.add(done, failed)
        self.take(Event.STOP)

    def disconnected(self) -> None:
        """Its last connection is closed: it must end, or come back within the deadline of a start."""
        if self.state in _PRESENT and self._return is None:
            wait = self._tools.config.timing.start_deadline
            reason = f"killed: it closed its connections and was not back within {wait:g} s"
            self._return = self._tools.loop.call_later(wait, partial(self.take, Event.HUNG, reason))

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
            self._clear_timers()
            if new not in _PRESENT:
                self._health.stop()
                if self.run is not None:
                    self.run.drain()  # its last lines, before anyone is told of its end
            self._tools.log.debug("%s: %s, %s: %s", self.name, old, event, new)
            self._tools.hooks.on_state(self.name, old, new)
        self._ACTIONS[action](self)

    # The actions.

    def _begin(self) -> None:
        self.restarts.clear()
        self.last_lines.clear()
        self._launch()

    def _launch(self) -> None:
        self._roused = False
        self.generation += 1
        self.reason = ""
        self.ready_ms = None
        self.launched_at = self._tools.loop.now()
        try:
            self.look()
            assert self.spec is not None
            self._tools.hooks.prepare(self.name)
            self.run = Run(self._tools.loop, self.spec, self.output, self)
            self._wait(_IN_LINE, f"no process could be made for it within {_IN_LINE:g} s")
            self.run.launch(self._tools.launcher)
        except (ReedError, OSError) as error:
            self.run = None
            self.take(Event.LAUNCH_FAILED, str(error))

    def _welcome(self) -> None:
        self.ready_ms = (self._tools.loop.now() - self.launched_at) * 1000
        self._tools.log.info("%s: ready after %.1f ms, pid %s", self.name, self.ready_ms, self.pid)
        self._health.start()
        self._measure()
        self._starters.done()

    def _note(self) -> None:
        self._roused = False
        self._health.alive()
        if self._return is not None:
            self._return.cancel()
            self._return = None

    def _end(self) -> None:
        self._fail_starters("it was stopped before it was ready")
        self._pressed = 0
        self._press()

    def _press(self) -> None:
        """SHUTDOWN_GRACEFUL, SIGTERM, SIGKILL: each with its own time to work."""
        timing = self._tools.config.timing
        self._pressed += 1
        if self.run is None:
            self.take(Event.ENDED)  # it was in deep sleep
        elif self._pressed == 1 and self._tools.hooks.send_signal(self.name, Signal.SHUTDOWN_GRACEFUL, b""):
            self._wait(timing.stop_grace)
        elif self._pressed <= 2 and self.run.terminate():
            self._pressed = 2
            self._wait(timing.term_grace)
        elif self.pid is not None:
            self.run.kill()
        else:
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
        self._tools.log.warning("%s: %s", self.name, self.reason)
        self._fail_starters(self.reason)
        delay = self.restarts.crash(self._tools.loop.now())
        if delay is None:
            window = self._tools.config.timing.restart_window
            self.take(Event.EXHAUSTED, f"{self.reason}; that was crash {self.restarts.recent} within {window:g} s")
        else:
            self._deadline = self._tools.loop.call_later(delay, partial(self.take, Event.RETRY))

    def _give_up(self) -> None:
        self.last_error = self.reason
        self._tools.log.error("%s: failed: %s", self.name, self.reason)
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
            self._tools.hooks.send_signal(self.name, Signal.WAKE_UP, b"")

    def _rest(self) -> None:
        """It went to deep sleep. Was it roused on its way there, it is launched again at once."""
        self._clear_timers()
        if self._roused:
            self.take(Event.RETRY)

    def _join(self) -> None:
        """Nothing: who asked is in the list of those who wait."""

    _ACTIONS: ClassVar[dict[Action, Callable[[Plugin], None]]] = {
        Action.BEGIN: _begin,
        Action.LAUNCH: _launch,
        Action.JOIN: _join,
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
    }

    # The owner of its runs.

    def launched(self, run: Run) -> None:
        assert run.pid is not None
        self._tools.runs[run.pid] = run
        if run is self.run and self.state is State.STOPPING:
            run.kill()  # it was stopped before it was there
        elif run is self.run and self.state is State.STARTING:
            wait = self._tools.config.timing.start_deadline
            self._clear_timers()
            self._wait(wait, f"killed: it was not ready within {wait:g} s")

    def launch_failed(self, run: Run, reason: str) -> None:
        if run is self.run:
            self.run = None
            self.take(Event.LAUNCH_FAILED, reason)

    def ended(self, run: Run, reason: str) -> None:
        self._tools.runs.pop(run.pid or 0, None)
        if run is self.run:
            self.run = None
            if self.state is State.SLEEPING and reason == _IN_ORDER:
                self.take(Event.LEFT)
            else:
                self.take(Event.ENDED, "" if self.state is State.STOPPING else reason)
        self._tools.on_end()

    # Helpers.

    def _check_health(self) -> bool:
        self._measure()
        return self.state is not State.SLEEPING and self._tools.hooks.send_signal(self.name, Signal.HEALTH_CHECK, b"")

    def _measure(self) -> None:
        self.memory_sample = self.run.memory() if self.run else 0

    def _wait(self, seconds: float, reason: str = "") -> None:
        self._deadline = self._tools.loop.call_later(seconds, partial(self.take, Event.OVERDUE, reason))

    def _clear_timers(self) -> None:
        for timer in (self._deadline, self._return):
            if timer is not None:
                timer.cancel()
        self._deadline = self._return = None

    def _drop_run(self) -> None:
        """Give its process up: it is killed, and no longer heard."""
        run, self.run = self.run, None
        if run is not None:
            run.drop(self.reason)

    def _fail_starters(self, reason: str) -> None:
        lines = " | ".join(list(self.last_lines)[-_LINES_IN_ERRORS:])
        told = f"plugin {self.name}: {reason}{f'; its last lines: {lines}' if lines else ''}"
        self._starters.fail(PluginOffline(told, hint=f"see `reed plugin logs {self.name}`"))
