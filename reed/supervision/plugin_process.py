"""One process of a plugin from launch to exit: its output FIFO, pid file, Unix signals and exit.

    launch ─┬─ owner.launched ── … ── owner.exited(process, "exit status 3")
            └─ owner.launch_failed(process, "… cannot be run: Permission denied")
    adopt  ─── … ──────────────────── owner.exited(process, reason)
    drop   ─── killed and reaped; the owner hears nothing more

The owner is a Candidate before the process is active, the Plugin while it is, and a Draining afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reed.supervision.adoption import PidFile, pid_file, write_pid_file
from reed.supervision.callbacks import SupervisionContext
from reed.supervision.launch_spec import Specification
from reed.supervision.output import Capture, PluginLog, open_fifo
from reed.supervision.watched_process import WatchedProcess
from reed.wire.codes import Signal

SPAWN_TIMEOUT = 60.0  # seconds; processes are spawned one by one


class ProcessOwner(Protocol):
    def launched(self, process: PluginProcess) -> None: ...
    def launch_failed(self, process: PluginProcess, reason: str) -> None: ...
    def exited(self, process: PluginProcess, reason: str) -> None: ...


@dataclass(slots=True)
class PluginContext:
    supervision: SupervisionContext
    output: PluginLog
    generation: int = 0  # of the newest process


class PluginProcess:
    def __init__(
        self, context: PluginContext, spec: Specification, owner: ProcessOwner, *, is_active: bool = True
    ) -> None:
        context.generation += 1
        self.name = spec.row.plugin_name
        self.spec = spec
        self.generation = context.generation
        self.launched_at = context.supervision.loop.now()
        self.memory_bytes = 0  # at the last `measure`
        self.owner = owner
        self.dropped = False
        self._supervision = context.supervision
        self._output = context.output
        self._runtime_dir = spec.launch.runtime_dir
        self._pid_file = self._pid_path(is_active=is_active)
        self._fifo: Path | None = None
        self._capture: Capture | None = None
        self._handle: WatchedProcess | None = None
        self._escalation = 0
        self._may_fork = True

    @property
    def pid(self) -> int | None:
        return self._handle.pid if self._handle else None

    @property
    def exited_cleanly(self) -> bool:
        return self._handle is not None and self._handle.exited_cleanly

    @property
    def exists(self) -> bool:
        return self._handle is not None and not self.dropped and self._handle.is_same()

    @property
    def error_lines(self) -> list[str]:
        return list(self._capture.error_lines) if self._capture is not None else []

    def launch(self) -> None:
        """Raises ReedError or OSError."""
        spec = self.spec.launch
        self._may_fork = self._supervision.launcher.may_fork(spec)
        if spec.data_dir is not None:
            spec.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._supervision.callbacks.prepare(self.name)
        fifo = self._make_fifo()
        self._open_capture(fifo)
        write_fd = open_fifo(fifo, blocking=True)
        try:
            self._supervision.launcher.launch(spec, write_fd, self._launched, self._launch_failed)
        finally:
            os.close(write_fd)

    def adopt(self, found: PidFile) -> None:
        """Raises ReedError or OSError."""
        self._supervision.callbacks.prepare(self.name)
        if found.output:
            self._fifo = self._runtime_dir / "output" / found.output
            with contextlib.suppress(FileNotFoundError):
                self._open_capture(self._fifo)
        self._handle = WatchedProcess(self._supervision.loop, found.pid, self._exited, found.started)
        self._supervision.processes[found.pid] = self
        self._output.note(f"{self.name} {self.spec.launch.version} adopted, pid {found.pid}")

    def set_active(self, *, is_active: bool) -> None:
        path = self._pid_path(is_active=is_active)
        if self._pid_file.exists():
            self._pid_file.replace(path)
        self._pid_file = path

    def measure(self) -> None:
        self.memory_bytes = self._handle.memory() if self._handle else 0

    def escalate_stop(self) -> float | None:
        """SHUTDOWN_GRACEFUL (skipped without a connection), then SIGTERM, then SIGKILL.

        Returns the seconds until the next step, or None.
        """
        timing = self._supervision.config.timing
        self._escalation += 1
        if self._escalation == 1 and self._supervision.callbacks.send_signal(self, Signal.SHUTDOWN_GRACEFUL, b""):
            return timing.stop_grace
        if self._handle is None:
            return None
        if self._escalation <= 2:
            self._escalation = 2
            self._handle.send(signal.SIGTERM)
            return timing.term_grace
        self._handle.kill()
        return None

    def drain_output(self) -> None:
        if self._capture is not None:
            self._capture.drain()

    def stderr_tail(self) -> str:
        return self._capture.tail() if self._capture is not None else ""

    def drop(self, reason: str) -> None:
        """Kill the process, or as soon as it has a pid, and ignore it from now on."""
        self.drain_output()
        self.dropped = True
        self._pid_file.unlink(missing_ok=True)
        if self._handle is None:
            self._close_capture()
        else:
            self._output.note(f"pid {self.pid}: {reason or 'killed'}")
            self._handle.kill()
        self._supervision.callbacks.on_gone(self, reason)

    def _launched(self, pid: int) -> None:
        try:
            self._handle = WatchedProcess(self._supervision.loop, pid, self._exited)
        except OSError as error:  # out of descriptors: it must not run unwatched
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED)
            self._launch_failed(f"cannot be watched: {error.strerror}")
            return
        self._supervision.processes[pid] = self
        if self.dropped:
            self._handle.kill()
            return
        self._output.note(f"{self.name} {self.spec.launch.version} started, pid {pid}")
        try:
            fifo = self._fifo.name if self._fifo else ""
            write_pid_file(self._pid_file, pid, self.spec.fingerprint(), fifo, started=self._handle.started)
        except OSError as error:
            self._output.note(f"cannot write {self._pid_file}: {error.strerror}")
        self.owner.launched(self)

    def _launch_failed(self, reason: str) -> None:
        self._close_capture()
        if not self.dropped:
            self.owner.launch_failed(self, reason)

    def _exited(self, reason: str) -> None:
        pid = self.pid or 0
        self._supervision.processes.pop(pid, None)
        self._close_capture()
        if not self.dropped:
            self._output.note(f"pid {pid} ended: {reason}")
            self._pid_file.unlink(missing_ok=True)
            self._supervision.callbacks.on_gone(self, reason)
            self.owner.exited(self, reason)
        self._supervision.on_exit(pid, self._may_fork)

    def _make_fifo(self) -> Path:
        folder = self._runtime_dir / "output"
        number = self.generation
        while True:
            self._fifo = folder / f"{self.name}.{number}"
            try:
                os.mkfifo(self._fifo, 0o600)
                return self._fifo
            except FileExistsError:
                number += 1
            except FileNotFoundError:  # the first start in this runtime folder
                folder.mkdir(mode=0o700)
            except OSError as error:
                error.filename = str(self._fifo)  # mkfifo names no file
                raise

    def _open_capture(self, fifo: Path) -> None:
        self._capture = Capture(self._supervision.loop, open_fifo(fifo, blocking=False), self._output)

    def _close_capture(self) -> None:
        if self._capture is not None:
            self._capture.close()
        if self._fifo is not None:
            self._fifo.unlink(missing_ok=True)
            self._fifo = None

    def _pid_path(self, *, is_active: bool) -> Path:
        return pid_file(self._runtime_dir, self.name, 0 if is_active else self.generation)
