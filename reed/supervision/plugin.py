"""One plugin: its specification, its phase (lifecycle), its processes.

    handle(trigger) ── the table ── new phase ── enter_state, if the state is another ── the effect: a method below

    spec     what the active process was launched from, or the next one will be; specify() is what the files say
    process  the active one; replacement has those beside it

Only the active process moves the phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from reed.errors import PluginOffline, ReedError
from reed.supervision.adoption import REJOIN_TIMEOUT, Adoptable
from reed.supervision.callbacks import Process, Tools
from reed.supervision.launch_spec import Specification, specify
from reed.supervision.lifecycle import Lifecycle, State, Trigger
from reed.supervision.manifest import Manifest
from reed.supervision.output import PluginLog
from reed.supervision.pidfile import forget_hibernation, note_hibernation
from reed.supervision.plugin_process import SPAWN_TIMEOUT, PluginProcess
from reed.supervision.registry_csv import Row
from reed.supervision.replacement import Replacement
from reed.supervision.timers import Backoff, Deadlines, HealthCheck
from reed.supervision.waiters import Done, Failed, Waiters
from reed.supervision.watched_process import UNKNOWN_STATUS
from reed.wire.codes import Signal

_CLEAN_EXIT = ("exit status 0", UNKNOWN_STATUS)
_PRESENT = frozenset({State.READY, State.BUSY, State.SLEEPING})


class Plugin(Lifecycle):
    """See the module."""

    def __init__(self, row: Row, tools: Tools) -> None:
        super().__init__()
        timing = tools.config.timing
        self.name = row.plugin_name
        self.newest_row = row
        self.spec: Specification | None = None
        self.process: PluginProcess | None = None
        self.last_error = ""
        self.error_data = b""  # of its last PLUGIN_ERROR
        self.signals = 0  # READY, BUSY and SLEEPING that it sent: its answers to health checks among them
        self.generation = 0  # of the active process, or of the last one
        self.ready_ms: float | None = None
        self.output = PluginLog(self.name, tools.config.data_dir / "logs" / f"{self.name}.log", tools.log, tools.clock)
        self.backoff = Backoff(timing.restart_limit, timing.restart_window, tools.random)
        self.replacement = Replacement(tools, self.output)
        self._tools = tools
        self.last_process: PluginProcess | None = None  # the active one, or the last that was to be
        self._launches = 0
        self._health = HealthCheck(tools.loop, timing, self._send_health_check, partial(self.handle, Trigger.HUNG))
        self._deadlines = Deadlines(tools.loop, self.handle)
        self._start_waiters = Waiters()
        self._stop_waiters = Waiters()

    @property
    def row(self) -> Row:
        """The row that the process was launched from, with what the newest one says of people."""
        return self.spec.row if self.spec else self.newest_row

    @property
    def manifest(self) -> Manifest | None:
        return self.spec.manifest if self.spec else None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def is_launching(self) -> bool:
        """A process of it may be there already whose pid is not known yet."""
        return any(each is not None and each.pid is None for each in (self.process, self.replacement.process))

    def specify(self) -> Specification:
        """What the files say now. Raises ManifestError."""
        return specify(self.newest_row, self._tools.config, self._tools.manifests)

    def refresh(self) -> None:
        """Use what the files say now. Raises ManifestError, and then keeps what it had."""
        self.spec = self.specify()

    def set_row(self, row: Row) -> None:
        """Who may send to it holds at once, the rest for the next process."""
        self.newest_row = row
        if self.spec is not None:
            self.spec = self.spec.with_row(row)

    def use_settings(self, settings: Mapping[str, Any]) -> None:
        """For the process that runs: it is about to be told."""
        if self.spec is not None:
            self.spec = self.spec.with_settings(settings)
            if self.process is not None:
                self.process.spec = self.spec

    def start(self, done: Done, failed: Failed) -> None:
        self._start_waiters.add(done, failed)
        self.handle(Trigger.START)

    def adopt(self, found: Adoptable) -> None:
        """Its process was launched by an earlier core, and is about to come back."""
        assert self.spec is not None
        try:
            self._new_process(self.spec).adopt(found)
        except (ReedError, OSError) as error:
            self.process = None
            self.handle(Trigger.LAUNCH_FAILED, str(error))
        else:
            self.handle(Trigger.ADOPT)

    def stop(self, done: Done, failed: Failed) -> None:
        self._stop_waiters.add(done, failed)
        self.handle(Trigger.STOP)

    def reload(self, done: Done, failed: Failed, *, always: bool = False) -> None:
        """Take its code, settings, manifest and row as they are now. `done` when calls go to the new process, or when
        there is nothing new (unless `always`); `failed` with Invalid, and then everything is as it was."""
        self.replacement.add_waiter(done, failed)
        try:
            fresh = self.specify()
        except ReedError as error:
            self.replacement.refuse(str(error))
            return
        if always or not fresh.matches(self.spec):
            self.handle(Trigger.RELOAD)
        elif self.replacement.process is None:
            self.replacement.complete()  # else the candidate is what was asked for, or what went before: it decides

    def signalled(self, process: Process, trigger: Trigger) -> None:
        """One of its processes said READY, BUSY or SLEEPING."""
        if process is self.process:
            self.signals += 1
            self.handle(trigger)
        elif process is self.replacement.process and trigger is Trigger.READY:
            self.handle(Trigger.REPLACEMENT_READY)

    def disconnected(self) -> None:
        """Its last connection is closed: it must end, or come back within the deadline of a start."""
        if self.state in _PRESENT:
            wait = self._tools.config.timing.start_deadline
            self._deadlines.return_within(wait, f"killed: it closed its connections and was not back within {wait:g} s")

    def enter_state(self, old: State, trigger: Trigger) -> None:
        self._deadlines.clear()
        if self.state not in _PRESENT:
            self._health.stop()
            if self.process is not None:
                self.process.drain()  # its last lines, before anyone is told of its end
            self.replacement.abort(str(self.state), self._start_waiters if self.state is State.STARTING else None)
        self._tools.log.debug("%s: %s, %s: %s", self.name, old, trigger, self.state, peer=f"plugin {self.name}")
        self._tools.callbacks.on_state(self.name, old, self.state)

    # The effects.

    def _reset_and_launch(self) -> None:
        self.backoff.clear()
        self.output.last_lines.clear()
        self._launch()

    def _launch(self) -> None:
        self.reason, self.ready_ms, self.last_process = "", None, None
        forget_hibernation(self._tools.config.runtime_dir, self.name)
        try:
            self.refresh()
            assert self.spec is not None
            process = self._new_process(self.spec)
            self._deadlines.time_out_after(SPAWN_TIMEOUT, f"no process could be made for it within {SPAWN_TIMEOUT:g} s")
            process.launch()
        except (ReedError, OSError) as error:
            self.process = None
            self.handle(Trigger.LAUNCH_FAILED, str(error))

    def _new_process(self, spec: Specification) -> PluginProcess:
        self.generation = self._launches = self._launches + 1
        self.process = self.last_process = PluginProcess(self._tools, spec, self.generation, self.output, self)
        return self.process

    def _wait_for_return(self) -> None:
        wait = REJOIN_TIMEOUT
        self._deadlines.return_within(wait, f"killed: it did not find the new core within {wait:g} s")

    def _on_ready(self) -> None:
        assert self.process is not None
        self.ready_ms = (self._tools.loop.now() - self.process.launched_at) * 1000
        self._tools.log.info("%s: ready after %.1f ms, pid %s", self.name, self.ready_ms, self.pid, peer=self.name)
        self._health.start()
        self._start_waiters.done()
        self._tools.loop.call_soon(self.process.measure)  # in the next turn: it reads for half a millisecond

    def _keepalive(self) -> None:
        self._health.answer()
        self._deadlines.returned()

    def _end(self) -> None:
        self._fail_start_waiters("it was stopped before it was ready")
        self.replacement.end_draining()
        self._escalate()

    def _escalate(self) -> None:
        if self.process is None:
            forget_hibernation(self._tools.config.runtime_dir, self.name)
            self.handle(Trigger.EXITED)
            return
        seconds = self.process.escalate_stop()
        if seconds is not None:
            self._deadlines.time_out_after(seconds)
        elif self.pid is None:
            self._drop_process()  # it was never there
            self.handle(Trigger.EXITED)

    def _kill(self) -> None:
        self._drop_process()
        self._back_off()

    def _kill_and_fail(self) -> None:
        self._drop_process()
        self._give_up()

    def _back_off(self) -> None:
        self.last_error = self.reason
        self._tools.log.warning("%s: %s", self.name, self.reason, peer=self.name)
        self._fail_start_waiters(self.reason)
        delay = self.backoff.crash(self._tools.loop.now())
        if delay is None:
            window = self._tools.config.timing.restart_window
            self.handle(Trigger.EXHAUSTED, f"{self.reason}; that was crash {self.backoff.recent} within {window:g} s")
        else:
            self._deadlines.retry_after(delay)

    def _give_up(self) -> None:
        self.last_error = self.reason
        self._tools.log.error("%s: failed: %s", self.name, self.reason, peer=self.name)
        self._fail_start_waiters(self.reason)

    def _notify_stopped(self) -> None:
        self.reason = ""
        self._stop_waiters.done()

    def _start_again(self) -> None:
        self._notify_stopped()
        self.handle(Trigger.START)

    def _reply_unchanged(self) -> None:
        self._start_waiters.done()

    def _add_waiter(self) -> None:
        """`start` or `stop` added it."""

    def _cancel_restart(self) -> None:
        self._fail_start_waiters("it was stopped")

    def _wake(self) -> None:
        assert self.process is not None
        self._tools.callbacks.send_signal(self.process, Signal.WAKE_UP, b"")

    def _hibernate(self) -> None:
        self._deadlines.clear()
        note_hibernation(self._tools.config.runtime_dir, self.name)

    def _relaunch(self) -> None:
        self._drop_process()
        self._deadlines.clear()
        self.replacement.abort("relaunched", self._start_waiters)
        self._launch()

    def _replace(self) -> None:
        self._launches += 1
        self.replacement.begin(self.specify(), self._launches)

    def _take_over(self) -> None:
        forget_hibernation(self._tools.config.runtime_dir, self.name)
        draining = self.replacement.drain(self.process) if self.process is not None else None
        self.process = self.last_process = self.replacement.succeed()
        self.process.owner = self
        self.process.activate()
        self.spec, self.generation, self.reason = self.process.spec, self.process.generation, ""
        self._tools.callbacks.on_replaced(self.name)
        if draining is not None:
            draining.finish()
        self._on_ready()
        self.handle(Trigger.READY)
        self.replacement.complete()

    def _use_new_spec(self) -> None:
        self.replacement.complete()

    # The owner of its process.

    def launched(self, _process: PluginProcess) -> None:
        if self.state is State.STARTING:
            wait = self._tools.config.timing.start_deadline
            self._deadlines.clear()
            self._deadlines.time_out_after(wait, f"killed: it was not ready within {wait:g} s")

    def launch_failed(self, _process: PluginProcess, reason: str) -> None:
        self.process = None
        self.handle(Trigger.LAUNCH_FAILED, reason)

    def exited(self, _process: PluginProcess, reason: str) -> None:
        self.process = None
        if self.state is State.SLEEPING and reason in _CLEAN_EXIT:
            self.handle(Trigger.EXITED_ASLEEP)
        else:
            self.handle(Trigger.EXITED, "" if self.state is State.STOPPING else reason)

    def _send_health_check(self) -> bool:
        if self.process is None:
            return False
        self.process.measure()
        return self.state is not State.SLEEPING and self._tools.callbacks.send_signal(
            self.process, Signal.HEALTH_CHECK, b""
        )

    def _drop_process(self) -> None:
        """Give its process up: it is killed, and no longer heard."""
        process, self.process = self.process, None
        if process is not None:
            process.drop(self.reason)

    def _fail_start_waiters(self, reason: str) -> None:
        tail = self.last_process.stderr_tail() if self.last_process else ""
        error = f"plugin {self.name}: {reason}{tail}"
        self._start_waiters.fail(PluginOffline(error, hint=f"see `reed plugin logs {self.name}`"))
