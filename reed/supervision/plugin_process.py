"""One process of a plugin, from its launch to its end: its output, its child, its pid file, what it was launched as.

    launch ──┬── launched(pid) ── … ── ended("exit status 3")
             └── launch_failed("… cannot be run: Permission denied")

Its owner is told of each: the plugin whose calls it gets, or the newcomer or the retired that it is (renewal). A run
that was given up (`drop`) is killed and waited for, and tells nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Protocol

from reed.registry.child import Child
from reed.registry.hooks import Tools
from reed.registry.leftovers import Leftover
from reed.registry.output import Capture, PluginLog, open_fifo
from reed.registry.processes import write_pid_file
from reed.registry.rows import Row
from reed.registry.specs import Plan
from reed.wire.codes import Signal

IN_LINE = 60.0  # seconds: processes are made one by one; the deadline of a start counts from its process on


class RunOwner(Protocol):
    def launched(self, run: Run) -> None: ...
    def launch_failed(self, run: Run, reason: str) -> None: ...
    def ended(self, run: Run, reason: str) -> None: ...


class Run:
    """See the module. `generation` counts the processes of a plugin, and so tells this one from all others."""

    def __init__(
        self,
        tools: Tools,
        row: Row,
        plan: Plan,
        generation: int,
        output: PluginLog,
        owner: RunOwner,
        *,
        beside: bool = False,
    ) -> None:
        """`beside`: another process of the plugin is in charge."""
        self.name = row.plugin_name
        self.row = row
        self.plan = plan
        self.generation = generation
        self.launched_at = tools.loop.now()
        self.memory_bytes = 0  # when it was measured last
        self.owner = owner
        self.dropped = False  # killed, and not heard any more
        self._tools = tools
        self._output = output
        self._pid_file = pid_file(plan.spec.runtime_dir, self.name, generation if beside else 0)
        self._outputs = plan.spec.runtime_dir / "output"
        self._fifo: Path | None = None
        self._capture: Capture | None = None
        self._child: Child | None = None
        self._pressed = 0

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def launch(self) -> None:
        """Raises ReedError or OSError when not even that could be tried."""
        spec = self.plan.spec
        if spec.data_dir is not None:
            spec.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tools.hooks.prepare(self.name)
        fifo = self._make_output()
        self._capture = Capture(self._tools.loop, open_fifo(fifo, blocking=False), self._output)
        write_fd = open_fifo(fifo, blocking=True)
        try:
            self._tools.launcher.launch(spec, write_fd, self._launched, self._launch_failed)
        finally:
            os.close(write_fd)

    def adopt(self, left: Leftover) -> None:
        """Take a process that an earlier core launched. Raises ReedError or OSError."""
        self._tools.hooks.prepare(self.name)
        if left.output:
            self._fifo = self._outputs / left.output
            with contextlib.suppress(FileNotFoundError):
                self._capture = Capture(self._tools.loop, open_fifo(self._fifo, blocking=False), self._output)
        self._child = Child(self._tools.loop, left.pid, self._ended, left.started)
        self._tools.runs[left.pid] = self
        self._output.note(f"{self.name} {self.plan.spec.version} adopted, pid {left.pid}")

    @property
    def is_there(self) -> bool:
        """Is its pid that process's own, and the process heard?"""
        return self._child is not None and not self.dropped and self._child.is_same()

    def stand_beside(self) -> None:
        """Another process is in charge, or will be: the plugin's pid file is that one's."""
        self._move_pid_file(pid_file(self.plan.spec.runtime_dir, self.name, self.generation))

    def be_in_charge(self) -> None:
        self._move_pid_file(pid_file(self.plan.spec.runtime_dir, self.name))

    def measure(self) -> None:
        """Note how much memory it has now."""
        self.memory_bytes = self._child.memory() if self._child else 0

    def press(self) -> float | None:
        """Ask it to end, each time harder: SHUTDOWN_GRACEFUL (not without a connection), SIGTERM, SIGKILL.

        The seconds that it has now before it is to be pressed again; None: it was killed, or is not there yet.
        """
        timing = self._tools.config.timing
        self._pressed += 1
        if self._pressed == 1 and self._tools.hooks.send_signal(self, Signal.SHUTDOWN_GRACEFUL, b""):
            return timing.stop_grace
        if self._child is None:
            return None
        if self._pressed <= 2:
            self._pressed = 2
            self._child.send(signal.SIGTERM)
            return timing.term_grace
        self._child.kill()
        return None

    def drain(self) -> None:
        """Have its last lines now."""
        if self._capture is not None:
            self._capture.drain()

    def last_words(self) -> str:
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
        if self._child is None:
            self._close_capture()
        else:
            self._output.note(f"pid {self.pid}: {reason or 'killed'}")
            self._child.kill()
        self._tools.hooks.on_gone(self, reason)

    def _launched(self, pid: int) -> None:
        try:
            self._child = Child(self._tools.loop, pid, self._ended)
        except OSError as error:  # no descriptor is left to watch it by: it must not run unwatched
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED)
            self._launch_failed(f"cannot be watched: {error.strerror}")
            return
        self._tools.runs[pid] = self
        if self.dropped:
            self._child.kill()
            return
        self._output.note(f"{self.name} {self.plan.spec.version} started, pid {pid}")
        try:
            digest = self.plan.digest(self.row)
            write_pid_file(self._pid_file, pid, digest, self._fifo.name if self._fifo else "")
        except OSError as error:
            self._output.note(f"cannot write {self._pid_file}: {error.strerror}")
        self.owner.launched(self)

    def _launch_failed(self, reason: str) -> None:
        self._close_capture()
        if not self.dropped:
            self.owner.launch_failed(self, reason)

    def _ended(self, reason: str) -> None:
        pid = self.pid or 0
        self._tools.runs.pop(pid, None)
        self._close_capture()
        if not self.dropped:
            self._output.note(f"pid {self.pid} ended: {reason}")
            self._pid_file.unlink(missing_ok=True)
            self._tools.hooks.on_gone(self, reason)
            self.owner.ended(self, reason)
        self._tools.on_end(pid)

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


def pid_file(runtime_dir: Path, name: str, generation: int = 0) -> Path:
    """Of the process in charge; with a generation, of one beside it."""
    return runtime_dir / "pid" / "plugins" / (f"{name}+{generation}.pid" if generation else f"{name}.pid")
