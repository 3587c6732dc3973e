"""A process of a plugin, from its launch to its exit, whether this core launched it or adopted it.

    launch ─┬─ owner.launched ── … ── owner.exited(process, "exit status 3")
            └─ owner.launch_failed(process, "… cannot be run: Permission denied")
    adopt  ─── … ──────────────────── owner.exited(process, reason)
    drop   ─── killed and waited for; the owner hears nothing more

The owner is the plugin while the process is active, and before and after that a Replacement or a Draining. The
process has an output (a FIFO that this core reads), a pid file, and a handle for Unix signals and its exit.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Protocol

from reed.supervision.adoption import Adoptable
from reed.supervision.callbacks import Tools
from reed.supervision.launch_spec import Specification
from reed.supervision.output import Capture, PluginLog, open_fifo
from reed.supervision.pidfile import pid_file, write_pid_file
from reed.supervision.watched_process import WatchedProcess
from reed.wire.codes import Signal

SPAWN_TIMEOUT = 60.0  # seconds: processes are made one by one; the deadline of a start counts from its process on


class ProcessOwner(Protocol):
    def launched(self, process: PluginProcess) -> None: ...
    def launch_failed(self, process: PluginProcess, reason: str) -> None: ...
    def exited(self, process: PluginProcess, reason: str) -> None: ...


class PluginProcess:
    """See the module. `generation` counts the processes of a plugin, and so tells this one from all others."""

    def __init__(
        self,
        tools: Tools,
        spec: Specification,
        generation: int,
        output: PluginLog,
        owner: ProcessOwner,
        *,
        is_active: bool = True,
    ) -> None:
        self.name = spec.row.plugin_name
        self.spec = spec
        self.generation = generation
        self.launched_at = tools.loop.now()
        self.memory_bytes = 0  # when it was measured last
        self.owner = owner
        self.dropped = False  # killed, and not heard any more
        self._tools = tools
        self._output = output
        self._pid_file = pid_file(spec.launch.runtime_dir, self.name, 0 if is_active else generation)
        self._outputs = spec.launch.runtime_dir / "output"
        self._fifo: Path | None = None
        self._capture: Capture | None = None
        self._handle: WatchedProcess | None = None
        self._escalation = 0

    @property
    def pid(self) -> int | None:
        return self._handle.pid if self._handle else None

    def launch(self) -> None:
        """Raises ReedError or OSError when not even that could be tried."""
        spec = self.spec.launch
        if spec.data_dir is not None:
            spec.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tools.callbacks.prepare(self.name)
        fifo = self._make_output()
        self._capture = Capture(self._tools.loop, open_fifo(fifo, blocking=False), self._output)
        write_fd = open_fifo(fifo, blocking=True)
        try:
            self._tools.launcher.launch(spec, write_fd, self._launched, self._launch_failed)
        finally:
            os.close(write_fd)

    def adopt(self, found: Adoptable) -> None:
        """Take a process that an earlier core launched. Raises ReedError or OSError."""
        self._tools.callbacks.prepare(self.name)
        if found.output:
            self._fifo = self._outputs / found.output
            with contextlib.suppress(FileNotFoundError):
                self._capture = Capture(self._tools.loop, open_fifo(self._fifo, blocking=False), self._output)
        self._handle = WatchedProcess(self._tools.loop, found.pid, self._exited, found.started)
        self._tools.processes[found.pid] = self
        self._output.note(f"{self.name} {self.spec.launch.version} adopted, pid {found.pid}")

    @property
    def is_there(self) -> bool:
        """Does the pid still belong to it, and has it not been dropped?"""
        return self._handle is not None and not self.dropped and self._handle.is_same()

    def deactivate(self) -> None:
        """Another process is active now: the plugin's pid file is that one's."""
        self._move_pid_file(pid_file(self.spec.launch.runtime_dir, self.name, self.generation))

    def activate(self) -> None:
        self._move_pid_file(pid_file(self.spec.launch.runtime_dir, self.name))

    def measure(self) -> None:
        """Note how much memory it has now."""
        self.memory_bytes = self._handle.memory() if self._handle else 0

    def escalate_stop(self) -> float | None:
        """Ask it to end, each time harder: SHUTDOWN_GRACEFUL (not without a connection), SIGTERM, SIGKILL.

        The seconds that it has before the next escalation; None: it was killed, or is not there yet.
        """
        timing = self._tools.config.timing
        self._escalation += 1
        if self._escalation == 1 and self._tools.callbacks.send_signal(self, Signal.SHUTDOWN_GRACEFUL, b""):
            return timing.stop_grace
        if self._handle is None:
            return None
        if self._escalation <= 2:
            self._escalation = 2
            self._handle.send(signal.SIGTERM)
            return timing.term_grace
        self._handle.kill()
        return None

    def drain(self) -> None:
        """Have its last lines now."""
        if self._capture is not None:
            self._capture.drain()

    def stderr_tail(self) -> str:
        """The end of an error about it: `; its last lines: … | …`, or nothing."""
        return self._capture.last_words() if self._capture is not None else ""

    @property
    def error_lines(self) -> list[str]:
        return list(self._capture.error_lines) if self._capture is not None else []

    def drop(self, reason: str) -> None:
        """Kill it, and do not count on it any more. What is not launched yet is killed when it is."""
        self.drain()
        self.dropped = True
        self._pid_file.unlink(missing_ok=True)
        if self._handle is None:
            self._close_capture()
        else:
            self._output.note(f"pid {self.pid}: {reason or 'killed'}")
            self._handle.kill()
        self._tools.callbacks.on_gone(self, reason)

    def _launched(self, pid: int) -> None:
        try:
            self._handle = WatchedProcess(self._tools.loop, pid, self._exited)
        except OSError as error:  # no descriptor is left to watch it by: it must not run unwatched
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED)
            self._launch_failed(f"cannot be watched: {error.strerror}")
            return
        self._tools.processes[pid] = self
        if self.dropped:
            self._handle.kill()
            return
        self._output.note(f"{self.name} {self.spec.launch.version} started, pid {pid}")
        try:
            fifo = self._fifo.name if self._fifo else ""
            write_pid_file(self._pid_file, pid, self.spec.fingerprint(), fifo)
        except OSError as error:
            self._output.note(f"cannot write {self._pid_file}: {error.strerror}")
        self.owner.launched(self)

    def _launch_failed(self, reason: str) -> None:
        self._close_capture()
        if not self.dropped:
            self.owner.launch_failed(self, reason)

    def _exited(self, reason: str) -> None:
        pid = self.pid or 0
        self._tools.processes.pop(pid, None)
        self._close_capture()
        if not self.dropped:
            self._output.note(f"pid {self.pid} ended: {reason}")
            self._pid_file.unlink(missing_ok=True)
            self._tools.callbacks.on_gone(self, reason)
            self.owner.exited(self, reason)
        self._tools.on_exit(pid)

    def _make_output(self) -> Path:
        """A FIFO of its own, under the first name that is free."""
        self._outputs.mkdir(mode=0o700, exist_ok=True)
        number = self.generation
        while True:
            self._fifo = self._outputs / f"{self.name}.{number}"
            try:
                os.mkfifo(self._fifo, 0o600)
                return self._fifo
            except FileExistsError:
                number += 1

    def _move_pid_file(self, path: Path) -> None:
        if self._pid_file.exists():
            self._pid_file.replace(path)
        self._pid_file = path

    def _close_capture(self) -> None:
        if self._capture is not None:
            self._capture.close()
        if self._fifo is not None:
            self._fifo.unlink(missing_ok=True)
            self._fifo = None
