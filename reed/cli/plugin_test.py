"""`reed plugin test`: a plugin on trial, on a core of its own.

    manifest ── row ── code ── content ── registration ── health ── actions ── signals ── messages ── memory ──┐
                               its own tests ── start time ── shutdown ──────────────────────────────────┘

Each check is ok, failed or skipped, and says why. After one that failed the plugin is started again for the next; when
it cannot be started, what is left is skipped but for its own tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reed.cli import fixtures, trial_rows
from reed.cli.fifo_check import FifoCheck
from reed.cli.output import plural
from reed.cli.output_check import difference
from reed.cli.replay import differences
from reed.config import Config
from reed.errors import ActionNotFound, CallError, Malformed, ManifestError
from reed.plugin_types import TYPES
from reed.plugin_types.plugin_type import PluginType, Project
from reed.supervision import discovery, manifest
from reed.supervision.manifest import Action
from reed.testing.forked_core import ForkedCore
from reed.testing.rows import make_row, registry_text
from reed.wire import strict_json
from reed.wire.codes import Signal

OK, FAILED, SKIPPED = "ok", "failed", "skipped"

_SIGNAL_TIME = 2.0  # seconds in which a signal is answered
_LOOK_EVERY = 0.002
_MOST_DIFFERENT = 3  # answers that are shown
_SLOWEST_START = 2000.0  # ms (reedcms-10.md#performance)
_MB = 1024 * 1024


class Check(NamedTuple):
    name: str
    result: str  # OK, FAILED or SKIPPED
    detail: str


class _Stop(Exception):
    """The plugin cannot be started: the reason is in a check already."""


class PluginTest:
    """The checks of one plugin.

    `work` is an empty folder; `say` is told what takes long; `recorded`, a file of calls to make again, may be "".
    """

    def __init__(self, name: str, site: Config, work: Path, say: Callable[[str], object], recorded: str = "") -> None:
        self.name = name
        self.version = ""
        self.kind = ""  # lua or native
        self._site = site
        self._say = say
        self._recorded = recorded
        self._config = replace(
            site,
            runtime_dir=work / "run",
            data_dir=work / "data",
            registry=work / "plugin-registry.csv",
            socket_group=None,
            groups={},
            # One crash is enough to know, and what answers a signal here is not a health check of the core.
            timing=replace(site.timing, restart_limit=0, health_interval=3600.0),
        )

    def checks(self) -> Generator[Check, None, None]:
        try:
            folder = discovery.find(self.name, self._site.plugin_dirs)
            self._manifest = manifest.load(folder)
            if self._manifest.name != self.name:
                raise ManifestError(
                    str(folder / manifest.FILE_NAME), f"its name is {self._manifest.name!r}, its folder's {self.name!r}"
                )
        except ManifestError as error:
            yield Check("manifest", FAILED, str(error))
            return
        self.version = self._manifest.version
        self._folder = folder
        yield Check("manifest", OK, f"{folder / manifest.FILE_NAME}: {plural(len(self._manifest.actions), 'action')}")
        try:
            yield from self._row_checks()
            yield from self._code_checks()
            yield from self._running_checks()
        except _Stop:
            pass
        yield from self._own_tests()

    # Before it runs.

    def _row_checks(self) -> Iterator[Check]:
        found = trial_rows.registered(self.name, self._site.registry, self._config.runtime_dir)
        self._row = found or make_row(self._folder, self._manifest, trial_rows.READING)
        self.kind = self._row.plugin_type
        if found is None:
            allowed = ", ".join(trial_rows.READING)
            yield Check("row", SKIPPED, f"{self._site.registry} has none of {self.name}: tried with {allowed}")
            return
        try:
            manifest.check_row(self._manifest, self._folder, found, self._site.registry)
        except ManifestError as error:
            yield Check("row", FAILED, str(error))
            raise _Stop from None
        yield Check("row", OK, f"{self._site.registry}:{found.line}")

    def _code_checks(self) -> Iterator[Check]:
        if built := self._type.build(self._project()):
            yield Check("build", *built)
            if built[0] == FAILED:
                raise _Stop
        try:
            path = discovery.entry_point(self._folder, self.name, self._type, self._manifest.entry)
        except ManifestError as error:
            yield Check("code", FAILED, str(error))
            raise _Stop from None
        yield Check("code", OK, str(path))

    # While it runs.

    def _running_checks(self) -> Iterator[Check]:
        self._config.registry.write_text(registry_text(), encoding="utf-8")
        with ForkedCore(self._config) as core:
            self._core = core
            refs, problem = fixtures.load(
                core, self._folder, self._manifest
            )  # before the plugin's filters could refuse it
            if (self._folder / fixtures.FILE).is_file() or problem:
                yield Check("content", FAILED if problem else OK, problem or f"{self._folder / fixtures.FILE}")
            self._config.registry.write_text(trial_rows.text(self._row), encoding="utf-8")
            core.plugin_reload()
            registered = self._registration()
            yield registered
            if registered.result == FAILED:
                raise _Stop
            yield from self._each(self._checks_of_a_running(refs))
            yield self._shut_down()
            yield self._start_time()

    def _checks_of_a_running(self, refs: dict[str, str]) -> Iterator[Callable[[], Check]]:
        yield partial(self._signal, "health", Signal.HEALTH_CHECK)
        for action in self._manifest.actions.values():
            yield partial(self._action, action, refs.get(action.name, ""))
        yield partial(self._signal, "signal wake", Signal.WAKE_UP)
        yield partial(self._signal, "signal reload", Signal.RELOAD_CONFIG)
        if self._recorded:
            yield self._replay
        yield self._messages
        yield self._memory

    def _each(self, checks: Iterator[Callable[[], Check]]) -> Iterator[Check]:
        """Each on a plugin that runs: what the one before broke is started again."""
        for check in checks:
            try:
                self._core.plugin_start(self.name)
            except CallError as error:
                yield Check("start again", FAILED, str(error))
                raise _Stop from None
            yield check()

    def _figures(self) -> dict[str, Any]:
        return self._core.plugin_health(self.name)[0]

    def _registration(self) -> Check:
        try:
            self._core.plugin_start(self.name)
        except CallError as error:
            why = str(error).removesuffix(f"; see `reed plugin logs {self.name}`")  # that of another core
            return Check("registration", FAILED, why)
        return Check("registration", OK, f"{self.name} {self.version} is READY")

    def _start_time(self) -> Check:
        """Of its second start: the first one waits for the core's own."""
        try:
            self._core.plugin_start(self.name)
        except CallError as error:
            return Check("start time", FAILED, f"it cannot be started a second time: {error}")
        took = self._figures()["ready_ms"]
        if took > _SLOWEST_START:
            return Check("start time", FAILED, f"READY {_after(took)}, expected {_SLOWEST_START:g} ms at most")
        return Check("start time", OK, f"READY {_after(took)}")

    def _signal(self, name: str, signal: Signal) -> Check:
        """Sent, and answered by READY, BUSY or SLEEPING."""
        try:
            before = self._figures()["signals"]
            since = time.monotonic()
            self._core.plugin_signal(self.name, signal)
            while time.monotonic() - since < _SIGNAL_TIME:
                if self._figures()["signals"] > before:
                    took = (time.monotonic() - since) * 1000
                    return Check(name, OK, f"{signal.name} answered {_after(took)}")
                time.sleep(_LOOK_EVERY)
        except CallError as error:
            return Check(name, FAILED, str(error))
        return Check(name, FAILED, f"{signal.name} was not answered by READY or BUSY within {_SIGNAL_TIME:g} s")

    def _action(self, action: Action, ref: str) -> Check:
        name = f"action {action.name}"
        data: Any = action.example
        if action.input == "snippet":
            data = ref
        elif action.example is None:
            return Check(name, SKIPPED, "plugin.yaml has no `example` of what it takes")
        elif action.input == "bytes":
            data = str(action.example).encode()
        since = time.monotonic()
        try:
            answer = self._core.plugin_send(self.name, action.name, data)
        except ActionNotFound:
            return Check(name, FAILED, "plugin.yaml has it, and the code did not register it")
        except CallError as error:
            return self._refused(name, action, error.status, str(error))
        told = f"{answer.status}, {_after((time.monotonic() - since) * 1000)}"
        if answer.status >= 400:
            return self._refused(name, action, answer.status, bytes(answer.body).decode("utf-8", "replace"))
        if action.output is None:
            return Check(name, OK, f"{told}; plugin.yaml has no `output` to compare it with")
        return _compared(name, action, bytes(answer.body), told)

    def _refused(self, name: str, action: Action, status: int, text: str) -> Check:
        if action.input == "snippet" and action.example is None and status < 500:
            return Check(name, SKIPPED, f"it takes no page made for the test ({status}: {text}): give it an `example`")
        return Check(name, FAILED, f"the example was answered {status}: {text}")

    def _replay(self) -> Check:
        """The recorded calls, made again; the first answers that are not as they were."""
        count, different = differences(self._core, self.name, self._manifest, self._recorded)
        if not count:
            return Check("replay", FAILED, f"{self._recorded} has no call of {self.name}")
        told = f"{plural(count, 'call')} of {self._recorded}"
        if different:
            first = "\n".join(different[:_MOST_DIFFERENT])
            return Check("replay", FAILED, f"{told}, {len(different)} not answered as recorded:\n{first}")
        return Check("replay", OK, f"{told}, answered as recorded")

    def _messages(self) -> Check:
        """A message of another plugin: one that it has no handler for is answered by ERROR."""
        fifos = self._config.runtime_dir / "fifos"
        try:
            with FifoCheck(fifos, self.name) as letters:
                return Check("messages", *letters.exchange())
        except OSError as error:
            return Check("messages", FAILED, f"{error.filename}: {error.strerror}")

    def _memory(self) -> Check:
        pid = self._figures()["pid"]
        private = _private_bytes(pid)
        if private is None:
            return Check("memory", SKIPPED, f"/proc/{pid}/smaps_rollup cannot be read here")
        most = max(self._type.max_private, self._manifest.limits.memory or 0)
        told = f"{private / _MB:.1f} MB of its own"
        if private > most:
            return Check("memory", FAILED, f"{told}, expected {most // _MB} MB at most")
        return Check("memory", OK, told)

    def _shut_down(self) -> Check:
        log, grace = Path(self._figures()["log"]), self._config.timing.stop_grace
        since = time.monotonic()
        try:
            self._core.plugin_stop(self.name)
        except CallError as error:
            return Check("shutdown", FAILED, str(error))
        took = time.monotonic() - since
        ended = [
            line
            for line in log.read_text("utf-8", "replace").splitlines()
            if line.split(" ", 1)[-1].startswith("-- pid ")
        ]
        how = ended[-1].rpartition(" ended: ")[2] if ended else "its end is not in its log"
        if took >= grace:
            return Check("shutdown", FAILED, f"it did not end on SHUTDOWN_GRACEFUL within {grace:g} s: {how}")
        if how != "exit status 0":
            return Check("shutdown", FAILED, f"it ended on SHUTDOWN_GRACEFUL, with {how}")
        return Check("shutdown", OK, f"{how}, {_after(took * 1000)}")

    # Beside it.

    def _own_tests(self) -> Iterator[Check]:
        for name, result, detail in self._type.tests(self._project()):
            yield Check(name, result, detail)

    @property
    def _type(self) -> PluginType:
        return TYPES[self.kind]

    def _project(self) -> Project:
        found = self._manifest
        settings = {**found.settings, **self._site.plugin(self.name).settings}
        actions = {action.name: action.command_id for action in found.actions.values()}
        return Project(self._folder, self.name, settings, actions, found.entry, found.lua, self._say)


def _compared(name: str, action: Action, body: bytes, told: str) -> Check:
    try:
        answered = strict_json.loads(body)
    except Malformed as error:
        if isinstance(action.output, str):
            return Check(name, OK, f"{told}, {len(body)} bytes that are no JSON")
        return Check(name, FAILED, f"answered {told}, but not JSON: {error.message}")
    wrong = difference(action.output, answered)
    return Check(name, FAILED, wrong) if wrong else Check(name, OK, f"{told}, as declared")


def _private_bytes(pid: int) -> int | None:
    """The memory that nobody shares with the process; None when the kernel does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


def _after(milliseconds: float) -> str:
    return f"after {milliseconds:.1f} ms"
