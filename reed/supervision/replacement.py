"""New code, settings, manifest or row: a second process beside the active one.

    Candidate   launched ─┬─ READY                                        it is active;  the old one drains
                          └─ exits, or is not READY within the deadline   refused: the old one stays, with all it had

    Draining    finishes the calls that it holds ── SHUTDOWN_GRACEFUL ── SIGTERM ── SIGKILL ── exited

The core tells the processes apart by their pids. Calls that wait go to the active one, and an answer comes from the
process that was asked. Each reads the plugin's FIFOs only while it holds their locks, which the old one gives up with
its exit (reed.lua.fifo; contrib/docs/guide/plugin-without-sdk.md).
"""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import Invalid, ReedError
from reed.loop.timers import Timer
from reed.supervision.callbacks import Tools
from reed.supervision.launch_spec import Specification
from reed.supervision.output import PluginLog
from reed.supervision.plugin_process import SPAWN_TIMEOUT, PluginProcess
from reed.supervision.waiters import Done, Failed, Waiters


class Replacement:
    """The processes of one plugin beside the active one. `refused` says why the newest version was not taken."""

    def __init__(self, tools: Tools, output: PluginLog) -> None:
        self.refused = ""
        self._tools = tools
        self._output = output
        self._candidate: Candidate | None = None
        self._draining: list[Draining] = []
        self._waiters = Waiters()

    @property
    def process(self) -> PluginProcess | None:
        """The candidate's."""
        return self._candidate.process if self._candidate else None

    def add_waiter(self, done: Done, failed: Failed) -> None:
        """Be told how the next replacement ends."""
        self._waiters.add(done, failed)

    def begin(self, spec: Specification, generation: int) -> None:
        """Launch a candidate. One that is there already is dropped: who asked for it waits for this one instead."""
        if self._candidate is not None:
            self._candidate.drop("a newer version came")
        self._candidate = Candidate(self._tools, spec, generation, self._output, self.refuse)
        self._candidate.launch()

    def succeed(self) -> PluginProcess:
        """The candidate is READY: its process, which the caller owns from now on."""
        assert self._candidate is not None
        process = self._candidate.succeed()
        self._candidate = None
        return process

    def drain(self, process: PluginProcess) -> Draining:
        """It is no longer active."""
        self._draining.append(Draining(self._tools, process, self._draining.remove))
        return self._draining[-1]

    def complete(self) -> None:
        """Nothing is refused: reply to all waiters."""
        self.refused = ""
        self._waiters.done()

    def refuse(self, reason: str) -> None:
        """The newest version cannot run."""
        name = self._output.name
        lines = self._candidate.process.stderr_tail() if self._candidate else ""
        self._candidate = None
        self.refused = f"the new version was refused: {reason}{lines}"
        self._tools.log.error("%s: %s; the old one stays", name, self.refused, peer=name)
        self._waiters.fail(Invalid(f"plugin {name}: {self.refused}", hint="the old one goes on with all it had"))

    def abort(self, reason: str, next_waiters: Waiters | None) -> None:
        """The plugin itself ended: the waiters are told so, or wait for its next start."""
        if self._candidate is not None:
            self._candidate.drop(reason)
            self._candidate = None
        if next_waiters is not None:
            self._waiters.move_to(next_waiters)
        self._waiters.fail(Invalid(f"plugin {self._output.name}: the new version was not tried to its end: {reason}"))

    def end_draining(self) -> None:
        """Wait for no call any more."""
        for draining in list(self._draining):
            draining.end()


class Candidate:
    """A process that is not active yet. `refused` is called once, in a later turn, unless it succeeded."""

    def __init__(
        self,
        tools: Tools,
        spec: Specification,
        generation: int,
        output: PluginLog,
        refused: Callable[[str], None],
    ) -> None:
        self.process = PluginProcess(tools, spec, generation, output, self, is_active=False)
        self._tools = tools
        self._refused = refused
        self._deadline: Timer = tools.loop.call_later(
            SPAWN_TIMEOUT, lambda: self.refuse(f"no process could be made for it within {SPAWN_TIMEOUT:g} s")
        )

    def launch(self) -> None:
        try:
            self.process.launch()
        except (ReedError, OSError) as error:
            self.refuse(str(error))

    def succeed(self) -> PluginProcess:
        self._deadline.cancel()
        return self.process

    def drop(self, reason: str) -> None:
        """Give it up without a word to anybody."""
        self._deadline.cancel()
        self.process.drop(reason)

    def refuse(self, reason: str) -> None:
        self.drop(f"refused: {reason}")
        self._refused(reason)

    # The owner of its process.

    def launched(self, _process: PluginProcess) -> None:
        wait = self._tools.config.timing.start_deadline
        self._deadline.cancel()
        self._deadline = self._tools.loop.call_later(wait, lambda: self.refuse(f"it was not ready within {wait:g} s"))

    def launch_failed(self, _process: PluginProcess, reason: str) -> None:
        self.refuse(reason)

    def exited(self, _process: PluginProcess, reason: str) -> None:
        self._deadline.cancel()
        self._refused(reason)


class Draining:
    """A process that was active."""

    def __init__(self, tools: Tools, process: PluginProcess, on_gone: Callable[[Draining], None]) -> None:
        process.owner = self
        process.deactivate()
        self._process = process
        self._tools = tools
        self._on_gone = on_gone
        self._deadline: Timer | None = None

    def finish(self) -> None:
        """Let it answer what it holds, and then end."""
        self._tools.callbacks.when_idle(self._process, self.end)

    def end(self) -> None:
        """Do not wait for its calls."""
        if self._deadline is None:
            self._escalate()

    def _escalate(self) -> None:
        seconds = self._process.escalate_stop()
        if seconds is not None:
            self._deadline = self._tools.loop.call_later(seconds, self._escalate)

    # The owner of its process.

    def launched(self, process: PluginProcess) -> None:
        """Not possible: it was ready once."""

    def launch_failed(self, process: PluginProcess, reason: str) -> None:
        """Not possible either."""

    def exited(self, _process: PluginProcess, _reason: str) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._on_gone(self)
