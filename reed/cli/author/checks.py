"""`reed plugin test`: checks of one plugin, on an ephemeral core.

    manifest ── row ── version ── build, code ── content ── registration ── health, actions, signals, messages, memory
                                            own tests ── start time ── shutdown ──┘

A plugin that a check has stopped is started again. If that fails, only its own tests follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reed.cli.author import fixtures
from reed.cli.author.answers import difference, replayed
from reed.cli.author.fifo_check import PEER, FifoCheck
from reed.cli.author.project import DEFAULT_PERMISSIONS, load_manifest, private, project, row_of
from reed.config import Config
from reed.errors import ActionNotFound, CallError, Malformed, ManifestError
from reed.figures import plural
from reed.own_tests import Case, Project
from reed.plugin_types import TYPES
from reed.plugin_types.plugin_type import PluginType
from reed.supervision import discovery, manifest
from reed.supervision.manifest import Action
from reed.supervision.registry_csv import Row, standard_socket
from reed.testing.forked_core import ForkedCore
from reed.testing.rows import make_row, registry_text
from reed.wire import strict_json
from reed.wire.codes import Signal

OK, FAILED, SKIPPED = "ok", "failed", "skipped"

_PEER_ROW = Row(PEER, "native", standard_socket(PEER), "1.0.0")  # the sender of the FIFO check
_SIGNAL_TIMEOUT = 2.0  # seconds
_POLL_INTERVAL = 0.002
_MAX_DIFFERENCES = 3
_MAX_START = 2000.0  # ms (reedcms-10.md#performance)
_MB = 1024 * 1024


class Check(NamedTuple):
    name: str
    result: str  # OK, FAILED or SKIPPED
    detail: str
    cases: tuple[Case, ...] = ()  # of a file of the plugin's own tests


class _Abort(Exception):
    """A check failed that the remaining ones depend on."""

    def __init__(self, check: Check) -> None:
        self.check = check


@contextmanager
def _required(name: str) -> Iterator[None]:
    try:
        yield
    except (ManifestError, CallError) as error:
        raise _Abort(Check(name, FAILED, str(error))) from None


class PluginTest:
    """`work` is an empty folder, `say` reports slow steps, `recorded` is a recording to replay, or ""."""

    def __init__(self, name: str, site: Config, work: Path, say: Callable[[str], object], recorded: str = "") -> None:
        self.name = name
        self.version = ""
        self.kind = ""  # lua or native
        self._site = site
        self._say = say
        self._recorded = recorded
        # A restart would hide a crash, and the core's own health checks would count as answered signals.
        timing = replace(site.timing, restart_limit=0, health_interval=3600.0)
        self._config = replace(private(site, work), timing=timing)

    def checks(self) -> Generator[Check, None, None]:
        try:
            yield self._check_manifest()
        except _Abort as failed:
            yield failed.check
            return
        try:
            yield self._check_row()
            yield self._check_version()
            yield from self._check_code()
            yield from self._check_running()
        except _Abort as failed:
            yield failed.check
        for own_test in self._type.tests(self._project()):
            yield Check(*own_test)

    def _check_manifest(self) -> Check:
        with _required("manifest"):
            self._folder = discovery.find(self.name, self._site.plugin_dirs)
            self._manifest = load_manifest(self._folder)
        self.version = self._manifest.version
        path = self._folder / manifest.FILE_NAME
        return Check("manifest", OK, f"{path}: {plural(len(self._manifest.actions), 'action')}")

    def _check_row(self) -> Check:
        registry, found = self._site.registry, row_of(self.name, self._site)
        requested = self._manifest.permissions or DEFAULT_PERMISSIONS
        self._row = found or make_row(self._folder, self._manifest, requested)
        self.kind = self._row.plugin_type
        if found is None:
            permissions = ", ".join(requested)
            return Check("row", SKIPPED, f"{registry} has no row for {self.name}; it runs with {permissions}")
        with _required("row"):
            manifest.check_row(self._manifest, self._folder, found, registry)
        return Check("row", OK, f"{registry}:{found.line}")

    def _check_version(self) -> Check:
        with _required("version"):
            stated = manifest.check_stated_versions(self._manifest, self._folder, self._type)
        places = f", also in {', '.join(stated)}" if stated else ""
        return Check("version", OK, f"{self.version} in {manifest.FILE_NAME}{places}")

    def _check_code(self) -> Iterator[Check]:
        if built := self._type.build(self._project()):
            check = Check("build", *built)
            if check.result == FAILED:
                raise _Abort(check)
            yield check
        with _required("code"):
            path = discovery.entry_point(self._folder, self.name, self._type, self._manifest.entry)
        yield Check("code", OK, str(path))

    def _check_running(self) -> Iterator[Check]:
        registry = self._config.registry
        registry.write_text(registry_text(), encoding="utf-8")
        with ForkedCore(self._config) as core:
            self._core = core
            content = self._folder / fixtures.FILE
            refs, problem = fixtures.load(core, self._folder, self._manifest)  # the plugin's filters may reject it
            if content.is_file() or problem:
                yield Check("content", FAILED if problem else OK, problem or str(content))
            registry.write_text(
                registry_text([replace(self._row, auto_start=False, description=""), _PEER_ROW]), encoding="utf-8"
            )
            core.plugin_reload()
            yield self._check_registration()
            for check in self._checks_of_running(refs):
                with _required("start again"):
                    core.plugin_start(self.name)
                yield check()
            yield self._check_shutdown()
            yield self._check_start_time()

    def _checks_of_running(self, refs: dict[str, str]) -> Iterator[Callable[[], Check]]:
        yield partial(self._check_signal, "health", Signal.HEALTH_CHECK)
        for action in self._manifest.actions.values():
            yield partial(self._check_action, action, refs.get(action.name, ""))
        yield partial(self._check_signal, "signal wake", Signal.WAKE_UP)
        yield partial(self._check_signal, "signal reload", Signal.RELOAD_CONFIG)
        if self._recorded:
            yield self._check_replay
        yield self._check_messages
        yield self._check_memory

    def _check_registration(self) -> Check:
        try:
            self._core.plugin_start(self.name)
        except CallError as error:
            reason = str(error).removesuffix(f"; see `reed plugin logs {self.name}`")  # the log of the site's plugin
            raise _Abort(Check("registration", FAILED, reason)) from None
        return Check("registration", OK, f"{self.name} {self.version} is READY")

    def _check_start_time(self) -> Check:
        """The second start, because the first one includes preparations of the core."""
        try:
            self._core.plugin_start(self.name)
        except CallError as error:
            return Check("start time", FAILED, f"the second start failed: {error}")
        ready_ms = self._health()["ready_ms"]
        if ready_ms > _MAX_START:
            return Check("start time", FAILED, f"READY {_after(ready_ms)}, expected at most {_MAX_START:g} ms")
        return Check("start time", OK, f"READY {_after(ready_ms)}")

    def _check_signal(self, name: str, signal: Signal) -> Check:
        try:
            before = self._health()["signals"]
            since = time.monotonic()
            self._core.plugin_signal(self.name, signal)
            while time.monotonic() - since < _SIGNAL_TIMEOUT:
                if self._health()["signals"] > before:
                    return Check(name, OK, f"{signal.name} answered {_after(_ms_since(since))}")
                time.sleep(_POLL_INTERVAL)
        except CallError as error:
            return Check(name, FAILED, str(error))
        return Check(name, FAILED, f"no READY or BUSY within {_SIGNAL_TIMEOUT:g} s of {signal.name}")

    def _check_action(self, action: Action, ref: str) -> Check:
        name = f"action {action.name}"
        data: Any = action.example
        if action.input == "snippet":
            data = ref
        elif action.example is None:
            return Check(name, SKIPPED, "no `example` in plugin.yaml")
        elif action.input == "bytes":
            data = str(action.example).encode()
        since = time.monotonic()
        try:
            answer = self._core.plugin_send(self.name, action.name, data)
        except ActionNotFound:
            return Check(name, FAILED, "in plugin.yaml, but not registered by the code")
        except CallError as error:
            return _rejected(name, action, error.status, str(error))
        summary = f"{answer.status}, {_after(_ms_since(since))}"
        if answer.status >= 400:
            return _rejected(name, action, answer.status, bytes(answer.body).decode("utf-8", "replace"))
        if action.output is None:
            return Check(name, OK, f"{summary}; no `output` in plugin.yaml to compare with")
        return _compare(name, action, bytes(answer.body), summary)

    def _check_replay(self) -> Check:
        count, different = replayed(self._core, self.name, self._manifest, self._recorded)
        if not count:
            return Check("replay", FAILED, f"{self._recorded} has no calls of {self.name}")
        summary = f"{plural(count, 'call')} of {self._recorded}"
        if different:
            first = "\n".join(different[:_MAX_DIFFERENCES])
            return Check("replay", FAILED, f"{summary}, {len(different)} answered differently:\n{first}")
        return Check("replay", OK, f"{summary}, answered as recorded")

    def _check_messages(self) -> Check:
        try:
            with FifoCheck(self._config.runtime_dir / "fifos", self.name) as fifos:
                return Check("messages", *fifos.exchange())
        except OSError as error:
            return Check("messages", FAILED, f"{error.filename}: {error.strerror}")

    def _check_memory(self) -> Check:
        pid = self._health()["pid"]
        private = _private_bytes(pid)
        if private is None:
            return Check("memory", SKIPPED, f"/proc/{pid}/smaps_rollup cannot be read")
        limit = max(self._type.max_private, self._manifest.limits.memory or 0)
        summary = f"{private / _MB:.1f} MB private"
        if private > limit:
            return Check("memory", FAILED, f"{summary}, expected at most {limit // _MB} MB")
        return Check("memory", OK, summary)

    def _check_shutdown(self) -> Check:
        log, grace = Path(self._health()["log"]), self._config.timing.stop_grace
        since = time.monotonic()
        try:
            self._core.plugin_stop(self.name)
        except CallError as error:
            return Check("shutdown", FAILED, str(error))
        took = _ms_since(since)
        lines = (line.partition(" ")[2] for line in log.read_text("utf-8", "replace").splitlines())
        exits = [line.rpartition(" ended: ")[2] for line in lines if line.startswith("-- pid ")]
        exit_status = exits[-1] if exits else "no exit in its log"
        if took >= grace * 1000:
            return Check("shutdown", FAILED, f"still running {grace:g} s after SHUTDOWN_GRACEFUL: {exit_status}")
        if exit_status != "exit status 0":
            return Check("shutdown", FAILED, f"{exit_status} after SHUTDOWN_GRACEFUL")
        return Check("shutdown", OK, f"{exit_status}, {_after(took)}")

    def _health(self) -> dict[str, Any]:
        return self._core.plugin_health(self.name)[0]

    @property
    def _type(self) -> PluginType:
        return TYPES[self.kind]

    def _project(self) -> Project:
        row = getattr(self, "_row", None)
        return project(self._folder, self._manifest, self._site, self._say, row and row.required_permissions)


def _rejected(name: str, action: Action, status: int, text: str) -> Check:
    if action.input == "snippet" and action.example is None and status < 500:
        return Check(name, SKIPPED, f"rejected the generated page ({status}: {text}); add an `example`")
    return Check(name, FAILED, f"rejected its example, {status}: {text}")


def _compare(name: str, action: Action, body: bytes, summary: str) -> Check:
    try:
        answered = strict_json.loads(body)
    except Malformed as error:
        if isinstance(action.output, str):
            return Check(name, OK, f"{summary}, {len(body)} bytes, not JSON")
        return Check(name, FAILED, f"{summary}, but not JSON: {error.message}")
    found = difference(action.output, answered)
    return Check(name, FAILED, found) if found else Check(name, OK, f"{summary}, as declared")


def _private_bytes(pid: int) -> int | None:
    """None if the kernel does not report it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


def _ms_since(start: float) -> float:
    return (time.monotonic() - start) * 1000


def _after(milliseconds: float) -> str:
    return f"after {milliseconds:.1f} ms"
