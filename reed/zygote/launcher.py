"""Launches plugins through the zygote, each in its sandbox (supervision.launch_spec.Launcher).

A plugin is not started if its rules cannot be enforced. When the zygote dies, launches in flight fail, and the next one
starts a new zygote.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from reed.errors import ReedError
from reed.peer_log import THE_CORE, PeerLog
from reed.plugin_host.launch_spec import HostedSpec
from reed.sandbox.confine import Sandbox
from reed.sandbox.rules import Rules, rules_for
from reed.supervision.launch_spec import LaunchSpec, environment
from reed.supervision.orphans import reap_sessions
from reed.zygote.client import Zygote
from reed.zygote.request import RUNNING, Program, SpawnRequest, WorkerRequest

_REPORT_BYTES = 4096
_EXIT_SECONDS = 1.0
_EXIT_POLL = 0.001


class ReadWatcher(Protocol):
    def watch(self, fd: int, on_readable: Callable[[], None], /) -> None: ...
    def unwatch(self, fd: int, /) -> None: ...


class _Launch(NamedTuple):
    on_launched: Callable[[int], None]
    on_failed: Callable[[str], None]
    report: bytearray


class ZygoteLauncher:
    """`zygotes` are the pids of all zygotes so far. `on_death`: a zygote has died, and its spare is about to.

    `die_with_core`: the kernel kills all processes when the thread that started the zygote ends.
    """

    def __init__(
        self,
        loop: ReadWatcher,
        sandbox: Sandbox,
        log: PeerLog,
        on_death: Callable[[], None] = lambda: None,
        *,
        die_with_core: bool = False,
    ) -> None:
        self.zygotes: list[int] = []
        self._loop = loop
        self._sandbox = sandbox
        self._log = log
        self._on_death = on_death
        self._zygote = Zygote(die_with_core=die_with_core)
        self._launches: dict[int, _Launch] = {}  # by the descriptor of the report
        self._is_requesting = False

    def start(self) -> None:
        if self._zygote.alive:
            return
        self._zygote.start()
        assert self._zygote.pid is not None
        self.zygotes.append(self._zygote.pid)
        self._loop.watch(self._zygote.fileno(), self._zygote_died)

    def is_launching(self) -> bool:
        """True from before there is a process until its pid is known. Other threads ask, too (supervision.orphans)."""
        return self._is_requesting or bool(self._launches)

    def launch(
        self, spec: LaunchSpec, output_fd: int, on_launched: Callable[[int], None], on_failed: Callable[[str], None]
    ) -> None:
        ruleset = -1
        self._is_requesting = True
        try:
            self.start()
            rules = rules_of(spec)
            self._sandbox.check(rules)
            ruleset = self._sandbox.ruleset(rules)
            report = self._zygote.request(SpawnRequest(_program(spec), rules, ruleset), output_fd)
            self._await_report(report, on_launched, on_failed)
        except (OSError, ReedError) as error:
            on_failed(f"cannot be launched: {error}")
        finally:
            self._is_requesting = False
            if ruleset >= 0:
                os.close(ruleset)

    def launch_worker(
        self, memory: int, handlers: dict[str, str], sock: socket.socket, on_failed: Callable[[str], None]
    ) -> None:
        """A worker that serves `sock`, which the caller may close then. Raises ReedError, OSError."""
        self.start()
        report = self._zygote.request(WorkerRequest(memory, handlers), sock.fileno())
        self._await_report(report, lambda _: None, on_failed)

    def _await_report(self, report: int, on_launched: Callable[[int], None], on_failed: Callable[[str], None]) -> None:
        self._launches[report] = _Launch(on_launched, on_failed, bytearray())
        self._loop.watch(report, partial(self._read, report))

    def close(self) -> None:
        if self._zygote.alive:
            self._loop.unwatch(self._zygote.fileno())
            self._zygote.stop()
        for report in self._launches:
            self._loop.unwatch(report)
            os.close(report)
        self._launches.clear()
        until = time.monotonic() + _EXIT_SECONDS
        while reap_sessions(self.zygotes) and time.monotonic() < until:  # no sweep of orphans will reap the spare
            time.sleep(_EXIT_POLL)

    def _zygote_died(self) -> None:
        self._loop.unwatch(self._zygote.fileno())
        self._zygote.stop()
        self._log.error("the zygote died; the next launch starts another one", peer=THE_CORE)
        self._on_death()

    def _read(self, report: int) -> None:
        launch = self._launches[report]
        data = os.read(report, _REPORT_BYTES)
        launch.report.extend(data)
        if data and not launch.report.endswith(RUNNING):
            return
        self._loop.unwatch(report)
        try:
            self._finish(launch)
        finally:  # only now: until the pid is known, another core of this process takes the plugin for an orphan
            del self._launches[report]
            os.close(report)
        self._zygote.flush()

    def _finish(self, launch: _Launch) -> None:
        pid, _, reason = launch.report.decode("utf-8", "replace").partition("\n")
        if not pid:
            launch.on_failed("the zygote died")
        elif reason.strip():
            with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored
                os.waitid(os.P_PID, int(pid), os.WEXITED)  # the report ended because it exited
            launch.on_failed(reason)
        else:
            launch.on_launched(int(pid))


def rules_of(spec: LaunchSpec) -> Rules:
    return rules_for(
        spec.plugin_type.profile,
        spec.folder,
        spec.data_dir,
        spec.runtime_dir,
        spec.name,
        spec.permissions,
        spec.network,
        own_socket=spec.socket_path,
        paths=(str(path) for path in spec.paths),
        memory=spec.limits.memory if spec.plugin_type.profile.executes else None,
        mode=spec.sandbox,
    )


def _program(spec: LaunchSpec) -> HostedSpec | Program:
    if spec.plugin_type.profile.executes:
        return Program(spec.plugin_type.argv(str(spec.entry)), str(spec.folder), environment(spec))
    return HostedSpec.of(
        {
            "name": spec.name,
            "version": spec.version,
            "folder": str(spec.folder),
            "entry": str(spec.entry),
            "socket_path": str(spec.socket_path),
            "runtime_dir": str(spec.runtime_dir),
            "data_dir": str(spec.data_dir) if spec.data_dir else None,
            "settings": dict(spec.settings),
            "actions": dict(spec.actions),
            "byte_actions": spec.byte_actions,
            "limits": {"memory": spec.limits.memory, "cpu": spec.limits.cpu},
            "lua": spec.lua,
            "language": spec.plugin_type.language,
            "hooks": dict(spec.hooks),
            "network": bool(spec.network),
        }
    )
