"""Replacement: a second process beside the active one, for new code, settings, a new manifest or row.

Candidate   READY                            becomes active; the old process drains
            exits, or is not READY in time   refused; the old process stays active
Draining    finishes its calls in flight, and is stopped
"""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import CallError, Invalid, ReedError
from reed.loop.timers import Timer
from reed.supervision.callbacks import Done, Failed, SupervisionContext, Waiters
from reed.supervision.launch_spec import Specification
from reed.supervision.plugin_process import SPAWN_TIMEOUT, PluginContext, PluginProcess
from reed.system_calls import describe


class Replacement:
    def __init__(self, context: PluginContext) -> None:
        self.refused = ""
        self._context = context
        self._candidate: Candidate | None = None
        self._draining: list[Draining] = []
        self._waiters: Waiters[CallError] = Waiters()

    @property
    def process(self) -> PluginProcess | None:
        return self._candidate.process if self._candidate else None

    def add_waiter(self, done: Done, failed: Failed) -> None:
        self._waiters.add(done, failed)

    def begin(self, spec: Specification) -> None:
        """An earlier candidate is dropped, and its waiters wait for this one."""
        if self._candidate is not None:
            self._candidate.drop("a newer version came")
        self._candidate = Candidate(self._context, spec, self.refuse)
        self._candidate.launch()

    def take_candidate(self) -> PluginProcess:
        assert self._candidate is not None
        process = self._candidate.release()
        self._candidate = None
        return process

    def drain(self, process: PluginProcess) -> Draining:
        self._draining.append(Draining(self._context.supervision, process, self._draining.remove))
        return self._draining[-1]

    def complete(self) -> None:
        self.refused = ""
        self._waiters.done()

    def refuse(self, reason: str) -> None:
        name = self._context.output.name
        lines = self._candidate.process.stderr_tail() if self._candidate else ""
        self._candidate = None
        self.refused = f"the new version was refused: {reason}{lines}"
        self._context.supervision.log.error("%s: %s; the old version keeps running", name, self.refused, peer=name)
        self._waiters.fail(Invalid(f"plugin {name}: {self.refused}", hint="the old version keeps running"))

    def abort(self, reason: str, next_waiters: Waiters[CallError] | None) -> None:
        """The plugin left its running states. The waiters move to `next_waiters`, or fail."""
        if self._candidate is not None:
            self._candidate.drop(reason)
            self._candidate = None
        if next_waiters is not None:
            self._waiters.move_to(next_waiters)
        self._waiters.fail(Invalid(f"plugin {self._context.output.name}: the replacement was aborted: {reason}"))

    def end_draining(self) -> None:
        """Without waiting for calls in flight."""
        for draining in list(self._draining):
            draining.end()


class Candidate:
    def __init__(self, context: PluginContext, spec: Specification, on_refused: Callable[[str], None]) -> None:
        self.process = PluginProcess(context, spec, self, is_active=False)
        self._loop = context.supervision.loop
        self._start_deadline = context.supervision.config.timing.start_deadline
        self._on_refused = on_refused
        self._deadline: Timer = self._loop.call_later(
            SPAWN_TIMEOUT, lambda: self._refuse(f"no process could be spawned within {SPAWN_TIMEOUT:g} s")
        )

    def launch(self) -> None:
        try:
            self.process.launch()
        except (ReedError, OSError) as error:
            self._refuse(describe(error))

    def release(self) -> PluginProcess:
        self._deadline.cancel()
        return self.process

    def drop(self, reason: str) -> None:
        self._deadline.cancel()
        self.process.drop(reason)

    def _refuse(self, reason: str) -> None:
        self.drop(f"refused: {reason}")
        self._on_refused(reason)

    # ProcessOwner

    def launched(self, _process: PluginProcess) -> None:
        wait = self._start_deadline
        self._deadline.cancel()
        self._deadline = self._loop.call_later(wait, lambda: self._refuse(f"it was not ready within {wait:g} s"))

    def launch_failed(self, _process: PluginProcess, reason: str) -> None:
        self._refuse(reason)

    def exited(self, _process: PluginProcess, reason: str) -> None:
        self._deadline.cancel()
        self._on_refused(reason)


class Draining:
    def __init__(
        self, context: SupervisionContext, process: PluginProcess, on_exit: Callable[[Draining], None]
    ) -> None:
        process.owner = self
        process.set_active(is_active=False)
        self._process = process
        self._context = context
        self._on_exit = on_exit
        self._deadline: Timer | None = None

    def finish(self) -> None:
        self._context.callbacks.when_idle(self._process, self.end)

    def end(self) -> None:
        if self._deadline is None:
            self._escalate()

    def _escalate(self) -> None:
        seconds = self._process.escalate_stop()
        if seconds is not None:
            self._deadline = self._context.loop.call_later(seconds, self._escalate)

    # ProcessOwner; the process has been launched before

    def launched(self, process: PluginProcess) -> None: ...

    def launch_failed(self, process: PluginProcess, reason: str) -> None: ...

    def exited(self, _process: PluginProcess, _reason: str) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._on_exit(self)
