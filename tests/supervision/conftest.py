"""A registry of real plugins with real processes on a real loop, whose clock the test advances."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reed.config import Config, PluginConfig, Timing
from reed.errors import CallError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.process_handle import read_stat
from reed.supervision.callbacks import Process
from reed.supervision.launch_spec import LaunchSpec, environment
from reed.supervision.lifecycle import State
from reed.supervision.orphans import become_subreaper
from reed.supervision.registry_csv import COLUMNS
from reed.supervision.supervisor import Plugin, Supervisor
from reed.wire.codes import Signal

TIMEOUT = 10.0  # real seconds
SLEEPER = "exec sleep 1000"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    """The result of a start or stop."""

    done: int = 0
    error: CallError | None = None

    def on_done(self, _report: object = None) -> None:
        self.done += 1

    def on_failed(self, error: CallError) -> None:
        self.error = error


class DirectLauncher:
    """A launcher without zygote and sandbox; tests/system has those."""

    zygotes: tuple[int, ...] = ()
    queue: list[Callable[[], None]] | None = None  # holds launches back, unless it is None
    forks = True

    def is_launching(self) -> bool:
        return False

    def may_fork(self, _spec: LaunchSpec) -> bool:
        return self.forks

    def launch(
        self, spec: LaunchSpec, output_fd: int, on_launched: Callable[[int], None], on_failed: Callable[[str], None]
    ) -> None:
        try:
            process = subprocess.Popen(
                [spec.entry], stdout=output_fd, stderr=output_fd, start_new_session=True, env=environment(spec)
            )
        except OSError as error:
            on_failed(f"{spec.entry} cannot be run: {error.strerror}")
            return
        process.returncode = 0  # its pidfd waits for it
        if self.queue is None:
            on_launched(process.pid)
        else:
            self.queue.append(lambda: on_launched(process.pid))


@dataclass
class World:
    """A core's folders and its supervisor. `hears` is called for each signal sent to a plugin."""

    root: Path
    clock: Clock
    loop: Loop
    bugs: list[BaseException]
    changes: list[tuple[str, State]] = field(default_factory=list)
    sent: list[tuple[str, Signal]] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    hears: Callable[[str, Signal], bool] = lambda _name, _signal: True
    rows: dict[str, str] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    settings: dict[str, PluginConfig] = field(default_factory=dict)
    supervisor: Supervisor = field(init=False)

    @property
    def config(self) -> Config:
        return Config(
            runtime_dir=self.root / "run",
            data_dir=self.root / "data",
            registry=self.root / "plugin-registry.csv",
            plugin_dirs=(self.root / "plugins",),
            timing=self.timing,
            plugins=self.settings,
        )

    # Before the core starts.

    def plugin(
        self,
        name: str,
        script: str = SLEEPER,
        *,
        manifest: str = "",
        version: str = "1.0.0",
        auto_start: bool = False,
        permissions: str = "snippet_read",
        groups: str = "editor",
    ) -> Path:
        """A native plugin: a shell script, its manifest and its row."""
        folder = self.root / "plugins" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: {version}\n{manifest}")
        self.script(name, script)
        self.rows[name] = (
            f"{name},native,/tmp/reed-cms/plugins/{name}.sock,{version},"
            f'"{permissions}","{groups}",{str(auto_start).lower()},""'
        )
        return folder

    def script(self, name: str, script: str) -> None:
        path = self.root / "plugins" / name / name
        new = path.with_suffix(".new")
        new.write_text(f"#!/bin/sh\n{script}\n")
        new.chmod(0o755)
        new.replace(path)

    def write_rows(self) -> None:
        (self.root / "plugin-registry.csv").write_text("\n".join([",".join(COLUMNS), *self.rows.values(), ""]))

    def start_core(self) -> Supervisor:
        self.write_rows()
        log = logging.getLogger("tests.supervision")
        log.setLevel(logging.DEBUG)
        self.launcher = DirectLauncher()
        peer_log = PeerLog(log, self.loop)
        self.supervisor = Supervisor(self.loop, self.config, self.launcher, self, peer_log, random=lambda: 0.0)
        self.supervisor.load_registry()
        return self.supervisor

    # Callbacks of the supervisor.

    def prepare(self, name: str) -> None: ...

    def send_signal(self, process: Process, kind: Signal, _data: bytes) -> bool:
        self.sent.append((process.name, kind))
        return self.hears(process.name, kind)

    def on_state(self, name: str, _old: State, new: State) -> None:
        self.changes.append((name, new))

    def on_gone(self, process: Process, reason: str) -> None: ...

    def on_replaced(self, name: str) -> None: ...

    def when_idle(self, _process: Process, done: Callable[[], None]) -> None:
        done()

    def on_adding(self, name: str) -> Iterator[None]:
        yield from ()

    def on_added(self, name: str) -> None:
        self.added.append(name)

    def on_removed(self, name: str) -> None:
        self.removed.append(name)

    # While it runs.

    def __getitem__(self, name: str) -> Plugin:
        return self.supervisor.plugins[name]

    def until(self, true: Callable[[], object], why: str = "") -> None:
        """Run turns, with the clock stopped, until the condition is true."""
        deadline = time.monotonic() + TIMEOUT
        while not true():
            assert time.monotonic() < deadline, f"still not {why or 'true'}: {self.changes}"
            self.loop.turn(0.02)
            assert not self.bugs, self.bugs

    def until_state(self, name: str, state: State) -> None:
        self.until(lambda: self[name].state is state, f"{name} {state}")

    def pass_time(self, seconds: float) -> None:
        """Advance the clock, and run what is due."""
        self.clock.now += seconds
        self.loop.turn(0)
        assert not self.bugs, self.bugs

    def says(self, name: str, kind: Signal, data: bytes = b"") -> None:
        """The plugin's active process sends a signal."""
        process = self[name].process
        if process is not None:
            self.supervisor.on_signal(process, kind, data)

    def candidate_says(self, name: str, kind: Signal) -> None:
        process = self[name].replacement.process
        assert process is not None
        self.supervisor.on_signal(process, kind, b"")

    def start(self, name: str) -> Answer:
        answer = Answer()
        self.supervisor.start(name, answer.on_done, answer.on_failed)
        return answer

    def stop(self, name: str) -> Answer:
        answer = Answer()
        self.supervisor.stop(name, answer.on_done, answer.on_failed)
        return answer

    def make_ready(self, name: str) -> int:
        """Start the plugin, send READY, and return its pid."""
        self.start(name)
        self.until(lambda: self[name].pid is not None)
        self.says(name, Signal.PLUGIN_READY)
        assert self[name].state is State.READY
        pid = self[name].pid
        assert pid is not None
        return pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        pid = self[name].pid
        assert pid is not None
        os.kill(pid, number)

    @staticmethod
    def gone(pid: int) -> bool:
        """Is the process gone or a zombie?"""
        try:
            return read_stat(pid).is_dead
        except OSError:
            return True

    def states(self, name: str) -> list[State]:
        return [state for plugin, state in self.changes if plugin == name]

    def written(self, name: str) -> str:
        path = self.root / "data" / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="session", autouse=True)
def subreaper() -> None:
    """Like a core, so that processes of the zygote become children of this process."""
    become_subreaper()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bugs: list[BaseException] = []
    clock = Clock()
    loop = Loop(clock=clock, on_exception=bugs.append)
    made = World(tmp_path, clock, loop, bugs)
    yield made
    if hasattr(made, "supervisor"):
        made.hears = lambda _name, _signal: False
        closed: list[bool] = []
        made.supervisor.shutdown(lambda: closed.append(True))
        deadline = time.monotonic() + TIMEOUT
        while not closed and time.monotonic() < deadline:
            loop.turn(0.02)
            clock.now += 0.5
        assert closed, "a plugin's process survived its core"
    loop.close()
    assert not bugs
