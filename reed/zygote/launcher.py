"""Launches plugins through the zygote, each in its sandbox (supervision.launch_spec.Launcher).

A plugin is not started if its rules cannot be enforced. When the zygote dies, launches in flight that started nothing
are repeated with a new zygote, at most MAX_ATTEMPTS times in all.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from reed.errors import ReedError
from reed.import_path import installed_mark
from reed.peer_log import THE_CORE, PeerLog
from reed.plugin_host.launch_spec import HostedSpec
from reed.sandbox.confine import Sandbox
from reed.sandbox.rules import Rules, rules_for
from reed.supervision.launch_spec import LaunchSpec, environment
from reed.supervision.orphans import reap_sessions
from reed.zygote.client import Zygote
from reed.zygote.request import RUNNING, Program, SpawnRequest, WorkerRequest

MAX_ATTEMPTS = 3  # of one launch
_REPORT_BYTES = 4096
_EXIT_SECONDS = 1.0
_EXIT_POLL = 0.001


class ReadWatcher(Protocol):
    def watch(self, fd: int, on_readable: Callable[[], None], /) -> None: ...
    def unwatch(self, fd: int, /) -> None: ...


@dataclass(slots=True)
class _Launch:
    request: SpawnRequest | WorkerRequest
    descriptors: list[int]  # its output and its ruleset, open until the launch has ended
    on_launched: Callable[[int], None]
    on_failed: Callable[[str], None]
    report: bytearray = field(default_factory=bytearray)
    attempts: int = 0

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


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
        self._installed = installed_mark()

    def start(self) -> None:
        if self._zygote.alive:
            if not self._zygote.has_died():
                return
            self._zygote_died()
        self._zygote.start()
        assert self._zygote.pid is not None
        self.zygotes.append(self._zygote.pid)
        self._loop.watch(self._zygote.fileno(), self._zygote_died)

    def is_launching(self) -> bool:
        """True from before there is a process until its pid is known. Other threads ask, too (supervision.orphans)."""
        return self._is_requesting or bool(self._launches)

    def may_fork(self, spec: LaunchSpec) -> bool:
        return self._sandbox.may_fork(executes=spec.plugin_type.profile.executes, mode=spec.sandbox)

    def launch(
        self, spec: LaunchSpec, output_fd: int, on_launched: Callable[[int], None], on_failed: Callable[[str], None]
    ) -> None:
        descriptors: list[int] = []
        self._is_requesting = True
        try:
            rules = rules_of(spec)
            self._sandbox.check(rules)
            program = _program(spec)
            descriptors.append(os.dup(output_fd))
            if (ruleset := self._sandbox.ruleset(rules)) >= 0:
                descriptors.append(ruleset)
            self._send(_Launch(SpawnRequest(program, rules, ruleset), descriptors, on_launched, on_failed))
        except (OSError, ReedError) as error:
            for descriptor in descriptors:
                os.close(descriptor)
            on_failed(f"cannot be launched: {error}")
        finally:
            self._is_requesting = False

    def launch_worker(
        self, memory: int, handlers: dict[str, str], sock: socket.socket, on_failed: Callable[[str], None]
    ) -> None:
        """A worker that serves `sock`, which the caller may close then. Raises ReedError, OSError."""
        request = WorkerRequest(memory, handlers, self._installed)
        launch = _Launch(request, [os.dup(sock.fileno())], lambda _: None, on_failed)
        try:
            self._send(launch)
        except BaseException:
            launch.close()
            raise

    def _send(self, launch: _Launch) -> None:
        """Raises ReedError, OSError."""
        self.start()
        launch.attempts += 1
        report = self._zygote.request(launch.request, launch.descriptors)
        self._loop.watch(report, partial(self._read, report))
        self._launches[report] = launch

    def close(self) -> None:
        if self._zygote.alive:
            self._loop.unwatch(self._zygote.fileno())
            self._zygote.stop()
        for report, launch in self._launches.items():
            self._loop.unwatch(report)
            os.close(report)
            launch.close()
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
        if not pid and launch.attempts < MAX_ATTEMPTS:
            self._repeat(launch)
            return
        launch.close()
        if not pid:
            launch.on_failed(f"the zygote died during {launch.attempts} attempts; see the core's log")
        elif reason.strip():
            with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored
                os.waitid(os.P_PID, int(pid), os.WEXITED)  # the report ended because it exited
            launch.on_failed(reason)
        else:
            launch.on_launched(int(pid))

    def _repeat(self, launch: _Launch) -> None:
        self._log.warning("the zygote or its spare died before a process started; repeating the launch", peer=THE_CORE)
        try:
            self._send(launch)
        except (OSError, ReedError) as error:
            launch.close()
            launch.on_failed(f"cannot be launched: {error}")


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
