"""One process of a plugin, from its launch to its end: its pipe, its child, its pid file.

    launch ──┬── launched(pid) ── … ── ended("exit status 3")
             └── launch_failed("… cannot be run: Permission denied")

Its owner is told of each. A run that was given up (`drop`) is killed and waited for, and tells no more than its end.
"""

from __future__ import annotations

import os
import signal
from typing import Protocol

from reed.loop.loop import Loop
from reed.registry.child import Child
from reed.registry.output import Capture, PluginLog
from reed.registry.processes import Launcher, LaunchSpec, write_pid_file


class RunOwner(Protocol):
    def launched(self, run: Run) -> None: ...
    def launch_failed(self, run: Run, reason: str) -> None: ...
    def ended(self, run: Run, reason: str) -> None: ...


class Run:
    """See the module."""

    __slots__ = ("_capture", "_child", "_dropped", "_loop", "_output", "_owner", "_pid_file", "name", "spec")

    def __init__(self, loop: Loop, spec: LaunchSpec, output: PluginLog, owner: RunOwner) -> None:
        self.name = spec.name
        self.spec = spec
        self._loop = loop
        self._output = output
        self._pid_file = spec.runtime_dir / "pid" / "plugins" / f"{spec.name}.pid"
        self._owner = owner
        self._capture: Capture | None = None
        self._child: Child | None = None
        self._dropped = False

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def launch(self, launcher: Launcher) -> None:
        """Raises OSError when there is no pipe to be had, or no data folder."""
        if self.spec.data_dir is not None:
            self.spec.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        self._capture = Capture(self._loop, read_fd, self._output)
        try:
            launcher.launch(self.spec, write_fd, self._launched, self._launch_failed)
        finally:
            os.close(write_fd)

    def memory(self) -> int:
        return self._child.memory() if self._child else 0

    def terminate(self) -> bool:
        """SIGTERM; False when there is no process yet."""
        if self._child is not None:
            self._child.send(signal.SIGTERM)
        return self._child is not None

    def kill(self) -> None:
        """SIGKILL to the process and its group."""
        if self._child is not None:
            self._child.kill()

    def drain(self) -> None:
        """Have its last lines now."""
        if self._capture is not None:
            self._capture.drain()

    def drop(self, reason: str) -> None:
        """Kill it, and do not count on it any more. What is not launched yet is killed when it is."""
        self._dropped = True
        self._pid_file.unlink(missing_ok=True)
        if self._child is None:
            self._close_capture()
        else:
            self._output.note(f"pid {self.pid}: {reason or 'killed'}")
            self._child.kill()

    def _launched(self, pid: int) -> None:
        try:
            self._child = Child(self._loop, pid, self._ended)
        except OSError as error:  # no descriptor is left to watch it by: it must not run unwatched
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED)
            self._launch_failed(f"cannot be watched: {error.strerror}")
            return
        self._owner.launched(self)
        if self._dropped:
            self._child.kill()
            return
        self._output.note(f"{self.name} {self.spec.version} started, pid {pid}")
        try:
            write_pid_file(self._pid_file, pid)
        except OSError as error:
            self._output.note(f"cannot write {self._pid_file}: {error.strerror}")

    def _launch_failed(self, reason: str) -> None:
        self._close_capture()
        self._owner.launch_failed(self, reason)

    def _ended(self, reason: str) -> None:
        self._close_capture()
        if not self._dropped:
            self._output.note(f"pid {self.pid} ended: {reason}")
            self._pid_file.unlink(missing_ok=True)
        self._owner.ended(self, reason)

    def _close_capture(self) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None
