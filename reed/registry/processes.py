"""Launching a plugin's process, and the files that tell which one it is.

    LaunchSpec ── Launcher.launch ── on_launched(pid) | on_failed(reason)      at once, or in a later turn

A native plugin is executed here, a Lua plugin is forked from the nursery (reed.lua); both get the same LaunchSpec.
<runtime folder>/pid/plugins/NAME.pid holds the pid and when the process was started (/proc/PID/stat, field 22): a pid
with another start time is another process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reed.config import PluginLimits
from reed.loop.loop import Loop
from reed.wire import strict_json

_OPEN_FILES = 1024


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """All that a plugin's process is told, and bound by."""

    name: str
    version: str
    folder: Path
    entry: Path
    socket_path: Path
    runtime_dir: Path
    data_dir: Path | None  # its own data folder: only with file_write
    settings: Mapping[str, Any]
    limits: PluginLimits
    permissions: tuple[str, ...]  # sorted
    actions: Mapping[str, int]  # the command_id of each
    lua: str = ""  # "5.5" or "5.4" for a Lua plugin


class Launcher(Protocol):
    def launch(
        self,
        spec: LaunchSpec,
        output_fd: int,
        on_launched: Callable[[int], None],
        on_failed: Callable[[str], None],
    ) -> None:
        """Start the process, with `output_fd` as its stdout and stderr, as the leader of a session of its own.

        The caller closes `output_fd` when this returns: who needs it longer takes a copy. Exactly one of the two
        callbacks is called, with the pid of a child of this process or with the reason why there is none.
        """


class NativeLauncher:
    """Executes a native plugin.

    subprocess does it by vfork, so that the time does not grow with the core; it has closed every descriptor but the
    three, and has read from a close-on-exec pipe whether the exec went well, when it returns.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def launch(
        self,
        spec: LaunchSpec,
        output_fd: int,
        on_launched: Callable[[int], None],
        on_failed: Callable[[str], None],
    ) -> None:
        try:
            process = subprocess.Popen(
                [os.fspath(spec.entry)],
                stdin=subprocess.DEVNULL,
                stdout=output_fd,
                stderr=output_fd,
                close_fds=True,
                start_new_session=True,
                cwd=spec.folder,
                env=environment(spec),
            )
        except (OSError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            on_failed(f"{spec.entry} cannot be run: {reason}")
            return
        process.returncode = 0  # our pidfd waits for it: Popen must not
        _bound(process.pid, spec.limits)
        on_launched(process.pid)


def environment(spec: LaunchSpec) -> dict[str, str]:
    """What a native plugin finds in its environment: nothing of the core's own."""
    found = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "REED_PLUGIN_NAME": spec.name,
        "REED_PLUGIN_VERSION": spec.version,
        "REED_SOCKET": str(spec.socket_path),
        "REED_RUNTIME_DIR": str(spec.runtime_dir),
        "REED_PLUGIN_DIR": str(spec.folder),
        "REED_SETTINGS": strict_json.dumps(dict(spec.settings)).decode(),
    }
    if spec.data_dir is not None:
        found["REED_DATA_DIR"] = str(spec.data_dir)
    return found


def _bound(pid: int, limits: PluginLimits) -> None:
    """Set its rlimits. They hold for what it does from now on, which is before it can have done much."""
    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: _OPEN_FILES}
    if limits.memory is not None:
        bounds[resource.RLIMIT_DATA] = limits.memory
    for kind, most in bounds.items():
        with contextlib.suppress(ProcessLookupError):
            hard = resource.prlimit(pid, kind)[1]
            allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, kind, (allowed, allowed))


# pid files.


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return None


def write_pid_file(path: Path, pid: int) -> None:
    """Whole or not at all: the file is renamed into its place."""
    new = path.with_suffix(".new")
    new.write_text(f"{pid} {start_time(pid) or 0}\n")
    new.replace(path)


def pid_in(path: Path) -> int | None:
    """The pid of a pid file if that very process still runs; None if not, or if the file is not sound."""
    try:
        pid, started = (int(word) for word in path.read_text().split())
    except (OSError, ValueError):
        return None
    return pid if pid > 1 and start_time(pid) == started else None


def kill_leftover(path: Path) -> int | None:
    """Kill the process that a dead core left behind, with its group, and remove its pid file. Gives its pid.

    A process with SIGKILL pending runs no more of its own code: there is nothing to wait for.
    """
    pid = pid_in(path)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            try:
                if pid_in(path) == pid:  # still the same: now the descriptor is bound to it
                    if os.getpgid(pid) == pid:
                        os.killpg(pid, signal.SIGKILL)
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)
    path.unlink(missing_ok=True)
    return pid
