"""One plugin: its specification, its phase (lifecycle), and its processes.

spec          what the active process was launched from, or the next one will be
process       the active process; only it moves the phase
replacement   the processes that are not active
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from reed.errors import CallError, PluginOffline, ReedError
from reed.supervision.adoption import REJOIN_TIMEOUT, PidFile, mark_hibernating, unmark_hibernating
from reed.supervision.callbacks import Done, Failed, Process, SupervisionContext, Waiters
from reed.supervision.launch_spec import Specification, settings_of, specify
from reed.supervision.lifecycle import PRESENT, Lifecycle, State, Trigger
from reed.supervision.manifest import Manifest
from reed.supervision.output import PluginLog
from reed.supervision.plugin_process import SPAWN_TIMEOUT, PluginContext, PluginProcess
from reed.supervision.registry_csv import Row
from reed.supervision.replacement import Replacement
from reed.supervision.timers import Backoff, Deadlines, HealthCheck
from reed.system_calls import describe
from reed.wire.codes import Signal

_MEASURE_DELAY = 0.5  # seconds after READY: it takes a millisecond, which the first calls would wait for


class Plugin(Lifecycle):
    def __init__(self, row: Row, context: SupervisionContext) -> None:
        super().__init__()
        config, loop = context.config, context.loop
        timing = config.timing
        self.name = row.plugin_name
        self.newest_row = row
        self.spec: Specification | None = None
        self.process: PluginProcess | None = None
        self.last_process: PluginProcess | None = None  # the active process, or else the last one
        self.generation = 0  # of `last_process`
        self.last_error = ""
        self.error_data = b""  # of the last PLUGIN_ERROR
        self.signals = 0  # received, including replies to health checks
        self.ready_ms: float | None = None
        self.output = PluginLog(self.name, config.data_dir / "logs" / f"{self.name}.log", context.log, context.clock)
        self.backoff = Backoff(timing.restart_limit, timing.restart_window, context.random)
        self._processes = PluginContext(context, self.output)
        self.replacement = Replacement(self._processes)
        self._context = context
        self._health = HealthCheck(loop, timing, self._send_health_check, partial(self.handle, Trigger.HUNG))
        self._deadlines = Deadlines(loop, self.handle)
        self._start_waiters: Waiters[CallError] = Waiters()
        self._stop_waiters: Waiters[CallError] = Waiters()

    @property
    def row(self) -> Row:
        """The row that the process was launched from, with the columns of the newest one that apply at once."""
        return self.spec.row if self.spec else self.newest_row

    @property
    def manifest(self) -> Manifest | None:
        return self.spec.manifest if self.spec else None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def is_launching(self) -> bool:
        """May there be a process whose pid the core has not received yet?"""
        return any(each is not None and each.pid is None for each in (self.process, self.replacement.process))

    def specify(self) -> Specification:
        return specify(self.newest_row, self._context.config, self._context.manifests)

    def read_settings(self) -> Mapping[str, Any]:
        """As the files are now: `specify` takes ten times as long. Raises ManifestError."""
        return settings_of(self.newest_row, self._context.config, self._context.manifests)

    def refresh(self) -> None:
        """Raises ManifestError, and then keeps the old specification."""
        self.spec = self.specify()

    def reject(self, error: ReedError) -> None:
        self.last_process = None  # its output is not the cause
        self.handle(Trigger.LAUNCH_FAILED, describe(error))

    def set_row(self, row: Row) -> None:
        """Columns such as user_groups apply at once, the rest to the next process."""
        self.newest_row = row
        if self.spec is not None:
            self.spec = self.spec.with_row(row)

    def use_settings(self, settings: Mapping[str, Any]) -> None:
        if self.spec is not None:
            self.spec = self.spec.with_settings(settings)
            if self.process is not None:
                self.process.spec = self.spec

    def start(self, done: Done, failed: Failed) -> None:
        self._start_waiters.add(done, failed)
        self.handle(Trigger.START)

    def adopt(self, found: PidFile) -> None:
        assert self.spec is not None
        try:
            self._new_process(self.spec).adopt(found)
        except (ReedError, OSError) as error:
            self.process = None
            self.handle(Trigger.LAUNCH_FAILED, describe(error))
        else:
            self.handle(Trigger.ADOPT)

    def stop(self, done: Done, failed: Failed) -> None:
        self._stop_waiters.add(done, failed)
        self.handle(Trigger.STOP)

    def reload(self, done: Done, failed: Failed, *, always: bool = False) -> None:
        """Use the code, settings, manifest and row as they are now.

        `done` is called once calls go to the new process, or if nothing changed (unless `always`). `failed` gets
        Invalid, and the old process keeps running.
        """
        self.replacement.add_waiter(done, failed)
        try:
            fresh = self.specify()
        except ReedError as error:
            self.replacement.refuse(str(error))
            return
        if always or not fresh.matches(self.spec):
            self.handle(Trigger.RELOAD)
        elif self.replacement.process is None:  # otherwise that candidate decides
            self.replacement.complete()

    def signalled(self, process: Process, trigger: Trigger) -> None:
        if process is self.process:
            self.signals += 1
            self.handle(trigger)
        elif process is self.replacement.process and trigger is Trigger.READY:
            self.handle(Trigger.REPLACEMENT_READY)

    def enter_state(self, old: State, trigger: Trigger) -> None:
        self._deadlines.clear()
        if self.state is State.STOPPED:
            self.reason = ""
        if self.state not in PRESENT:
            self._health.stop()
            if self.process is not None:
                self.process.drain_output()  # its last lines, before anyone hears of its exit
            self.replacement.abort(str(self.state), self._start_waiters if self.state is State.STARTING else None)
        self._context.log.debug("%s: %s, %s: %s", self.name, old, trigger, self.state, peer=f"plugin {self.name}")
        self._context.callbacks.on_state(self.name, old, self.state)

    # Effects

    def _reset_and_launch(self) -> None:
        self.backoff.clear()
        self.output.last_lines.clear()
        self._launch()

    def _launch(self) -> None:
        self.reason, self.ready_ms, self.last_process = "", None, None
        self._unmark_hibernating()
        try:
            self.refresh()
            assert self.spec is not None
            process = self._new_process(self.spec)
            self._deadlines.time_out_after(SPAWN_TIMEOUT, f"no process could be spawned within {SPAWN_TIMEOUT:g} s")
            process.launch()
        except (ReedError, OSError) as error:
            self.process = None
            self.handle(Trigger.LAUNCH_FAILED, describe(error))

    def _await_ready(self) -> None:
        wait = self._context.config.timing.start_deadline
        self._deadlines.clear()
        self._deadlines.time_out_after(wait, f"killed: it was not ready within {wait:g} s")

    def _await_rejoin(self) -> None:
        reason = f"killed: it did not reconnect to the new core within {REJOIN_TIMEOUT:g} s"
        self._deadlines.reconnect_within(REJOIN_TIMEOUT, reason)

    def _await_reconnect(self) -> None:
        wait = self._context.config.timing.start_deadline
        reason = f"killed: it closed its connections and did not reconnect within {wait:g} s"
        self._deadlines.reconnect_within(wait, reason)

    def _on_ready(self) -> None:
        assert self.process is not None
        self.ready_ms = (self._context.loop.now() - self.process.launched_at) * 1000
        self._context.log.info("%s: ready after %.1f ms, pid %s", self.name, self.ready_ms, self.pid, peer=self.name)
        self._health.start()
        self._start_waiters.done()
        self._context.loop.call_later(_MEASURE_DELAY, self.process.measure)

    def _keepalive(self) -> None:
        self._health.answer()
        self._deadlines.reconnected()

    def _end(self) -> None:
        self._fail_start_waiters("it was stopped before it was ready")
        self.replacement.end_draining()
        self._escalate()

    def _escalate(self) -> None:
        assert self.process is not None
        seconds = self.process.escalate_stop()
        if seconds is not None:
            self._deadlines.time_out_after(seconds)

    def _stop_at_once(self) -> None:
        self._fail_start_waiters("it was stopped before it was ready")
        self.replacement.end_draining()
        self._unmark_hibernating()
        self._drop_process()
        self._notify_stopped()

    def _kill(self) -> None:
        self._drop_process()
        self._back_off()

    def _kill_and_fail(self) -> None:
        self._drop_process()
        self._give_up()

    def _back_off(self) -> None:
        self.last_error = self.reason
        self._context.log.warning("%s: %s", self.name, self.reason, peer=self.name)
        self._fail_start_waiters(self.reason)
        delay = self.backoff.crash(self._context.loop.now())
        if delay is None:
            window = self._context.config.timing.restart_window
            self.handle(Trigger.EXHAUSTED, f"{self.reason}; that was crash {self.backoff.recent} within {window:g} s")
        else:
            self._deadlines.retry_after(delay)

    def _give_up(self) -> None:
        self.last_error = self.reason
        self._context.log.error("%s: failed: %s", self.name, self.reason, peer=self.name)
        self._fail_start_waiters(self.reason)

    def _notify_stopped(self) -> None:
        self._stop_waiters.done()

    def _start_again(self) -> None:
        self._notify_stopped()
        self.handle(Trigger.START)

    def _reply_unchanged(self) -> None:
        self._start_waiters.done()

    def _add_waiter(self) -> None: ...

    def _cancel_restart(self) -> None:
        self._fail_start_waiters("it was stopped")

    def _wake(self) -> None:
        assert self.process is not None
        self._context.callbacks.send_signal(self.process, Signal.WAKE_UP, b"")

    def _hibernate(self) -> None:
        self.reason = ""
        self._deadlines.clear()
        mark_hibernating(self._context.config.runtime_dir, self.name)

    def _relaunch(self) -> None:
        self._drop_process()
        self._deadlines.clear()
        self.replacement.abort("relaunched", self._start_waiters)
        self._launch()

    def _replace(self) -> None:
        self.replacement.begin(self.specify())

    def _take_over(self) -> None:
        self._unmark_hibernating()
        draining = self.replacement.drain(self.process) if self.process is not None else None
        self.process = self.last_process = self.replacement.take_candidate()
        self.process.owner = self
        self.process.set_active(is_active=True)
        self.spec, self.generation, self.reason = self.process.spec, self.process.generation, ""
        self._context.callbacks.on_replaced(self.name)
        if draining is not None:
            draining.finish()
        self._on_ready()
        self.handle(Trigger.READY)
        self.replacement.complete()

    def _use_new_spec(self) -> None:
        self.replacement.complete()

    # ProcessOwner

    def launched(self, _process: PluginProcess) -> None:
        self.handle(Trigger.LAUNCHED)

    def launch_failed(self, _process: PluginProcess, reason: str) -> None:
        self.process = None
        self.handle(Trigger.LAUNCH_FAILED, reason)

    def exited(self, process: PluginProcess, reason: str) -> None:
        self.process = None
        self.handle(Trigger.EXITED_CLEANLY if process.exited_cleanly else Trigger.EXITED, reason)

    def _new_process(self, spec: Specification) -> PluginProcess:
        self.process = self.last_process = PluginProcess(self._processes, spec, self)
        self.generation = self.process.generation
        return self.process

    def _send_health_check(self) -> bool:
        if self.process is None:
            return False
        self.process.measure()
        awake = self.state is not State.SLEEPING
        return awake and self._context.callbacks.send_signal(self.process, Signal.HEALTH_CHECK, b"")

    def _drop_process(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.drop(self.reason)

    def _unmark_hibernating(self) -> None:
        unmark_hibernating(self._context.config.runtime_dir, self.name)

    def _fail_start_waiters(self, reason: str) -> None:
        tail = self.last_process.stderr_tail() if self.last_process else ""
        error = f"plugin {self.name}: {reason}{tail}"
        self._start_waiters.fail(PluginOffline(error, hint=f"see `reed plugin logs {self.name}`"))
