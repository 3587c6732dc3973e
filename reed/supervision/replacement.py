"""New code, settings, manifest or row: a second process beside the first (DESIGN.md, Plugins, Reload).

    Newcomer   launched ─┬─ READY                                       it is in charge; the first is retired
                         └─ ends, or is not READY within the deadline   refused: the first stays, with all it had

    Retired    finishes the calls that it holds ── SHUTDOWN_GRACEFUL ── SIGTERM ── SIGKILL ── ended

The core tells the processes apart by their pids. Calls that wait go to the one in charge, and an answer comes from the
process that was asked. Each reads the plugin's FIFOs only while it holds their locks, which the first gives up with its
end (reed.lua.fifo; contrib/docs/plugin-without-sdk.md).
"""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import Invalid, ReedError
from reed.loop.timers import Timer
from reed.registry.hooks import Tools
from reed.registry.output import PluginLog
from reed.registry.rows import Row
from reed.registry.run import IN_LINE, Run
from reed.registry.specs import Plan
from reed.registry.waiting import Done, Failed, Waiting


class Renewal:
    """The processes of one plugin beside the one in charge. `refused` says why the newest version was not taken."""

    def __init__(self, tools: Tools, output: PluginLog) -> None:
        self.refused = ""
        self._tools = tools
        self._output = output
        self._newcomer: Newcomer | None = None
        self._retired: list[Retired] = []
        self._askers = Waiting()

    @property
    def run(self) -> Run | None:
        """The newcomer's."""
        return self._newcomer.run if self._newcomer else None

    def ask(self, done: Done, failed: Failed) -> None:
        """Be told how the next one ends."""
        self._askers.add(done, failed)

    def begin(self, row: Row, plan: Plan, generation: int) -> None:
        """Launch a newcomer. One that is there already is not waited for: who asked for it has this one instead."""
        if self._newcomer is not None:
            self._newcomer.drop("a newer one came")
        self._newcomer = Newcomer(self._tools, row, plan, generation, self._output, self.refuse)
        self._newcomer.launch()

    def succeed(self) -> Run:
        """The newcomer is READY: its run, whose owner is another from now on."""
        assert self._newcomer is not None
        run = self._newcomer.succeed()
        self._newcomer = None
        return run

    def retire(self, run: Run) -> Retired:
        """It is in charge no more."""
        self._retired.append(Retired(self._tools, run, self._retired.remove))
        return self._retired[-1]

    def settle(self) -> None:
        """Nothing is refused: tell who asked."""
        self.refused = ""
        self._askers.done()

    def refuse(self, reason: str) -> None:
        """The newest version comes to nothing."""
        name = self._output.name
        lines = self._newcomer.run.last_words() if self._newcomer else ""
        self._newcomer = None
        self.refused = f"the new version was refused: {reason}{lines}"
        self._tools.log.error("%s: %s; the old one stays", name, self.refused, peer=name)
        self._askers.fail(Invalid(f"plugin {name}: {self.refused}", hint="the old one goes on with all it had"))

    def give_up(self, reason: str, waits: Waiting | None) -> None:
        """The plugin itself ended: who asked is told so, or waits for its next start."""
        if self._newcomer is not None:
            self._newcomer.drop(reason)
            self._newcomer = None
        if waits is not None:
            self._askers.move_to(waits)
        self._askers.fail(Invalid(f"plugin {self._output.name}: the new version was not tried to its end: {reason}"))

    def end(self) -> None:
        """Wait for no call any more."""
        for retired in list(self._retired):
            retired.end()


class Newcomer:
    """A process that is not in charge yet. `refused` is called once, in a later turn, unless it succeeded."""

    def __init__(
        self, tools: Tools, row: Row, plan: Plan, generation: int, output: PluginLog, refused: Callable[[str], None]
    ) -> None:
        self.run = Run(tools, row, plan, generation, output, self, beside=True)
        self._tools = tools
        self._refused = refused
        self._deadline: Timer = tools.loop.call_later(
            IN_LINE, lambda: self.refuse(f"no process could be made for it within {IN_LINE:g} s")
        )

    def launch(self) -> None:
        try:
            self.run.launch()
        except (ReedError, OSError) as error:
            self.refuse(str(error))

    def succeed(self) -> Run:
        """It is READY: the run, whose owner is another from now on."""
        self._deadline.cancel()
        return self.run

    def drop(self, reason: str) -> None:
        """Give it up, and tell nobody."""
        self._deadline.cancel()
        self.run.drop(reason)

    def refuse(self, reason: str) -> None:
        self.drop(f"refused: {reason}")
        self._refused(reason)

    # The owner of its run.

    def launched(self, _run: Run) -> None:
        wait = self._tools.config.timing.start_deadline
        self._deadline.cancel()
        self._deadline = self._tools.loop.call_later(wait, lambda: self.refuse(f"it was not ready within {wait:g} s"))

    def launch_failed(self, _run: Run, reason: str) -> None:
        self.refuse(reason)

    def ended(self, _run: Run, reason: str) -> None:
        self._deadline.cancel()
        self._refused(reason)


class Retired:
    """A process that was in charge."""

    def __init__(self, tools: Tools, run: Run, gone: Callable[[Retired], None]) -> None:
        run.owner = self
        run.stand_beside()
        self._run = run
        self._tools = tools
        self._gone = gone
        self._deadline: Timer | None = None

    def finish(self) -> None:
        """Let it answer what it holds, and then end."""
        self._tools.hooks.when_idle(self._run, self.end)

    def end(self) -> None:
        """Do not wait for its calls."""
        if self._deadline is None:
            self._press()

    def _press(self) -> None:
        seconds = self._run.press()
        if seconds is not None:
            self._deadline = self._tools.loop.call_later(seconds, self._press)

    # The owner of its run.

    def launched(self, run: Run) -> None:
        """It cannot be: it was ready once."""

    def launch_failed(self, run: Run, reason: str) -> None:
        """As little."""

    def ended(self, _run: Run, _reason: str) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._gone(self)
