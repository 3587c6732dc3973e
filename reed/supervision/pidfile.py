"""Launching a plugin's process, and the files that tell which one it is.

    LaunchSpec ── Launcher.launch ── on_launched(pid) | on_failed(reason)      at once, or in a later turn

Both types come from the nursery, confined as their LaunchSpec says (reed.nursery): Lua is forked, native executed.
<runtime folder>/pid/plugins/NAME.pid holds the pid and when the process was started (/proc/PID/stat, field 22): a pid
with another start time is another process. It also holds what the process was launched as, and which FIFO of
<runtime folder>/output it writes to: by that the next core adopts it (leftovers).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reed.config import PluginLimits
from reed.process_handle import ProcessHandle, start_time
from reed.wire import strict_json


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
    sandbox: str = "auto"  # strict, off
    network: tuple[int, ...] = ()  # TCP ports that its manifest asks for and reed.yaml allows
    paths: tuple[Path, ...] = ()  # that it may read, beside its own folder


class Launcher(Protocol):
    @property
    def nurseries(self) -> Collection[int]:
        """The pids of the processes that plugins are forked from, those of dead ones too."""

    def is_launching(self) -> bool:
        """May there be a process already whose pid was not told yet?"""

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
    if spec.network:
        found["RES_OPTIONS"] = "use-vc"  # names are asked for by TCP: there is no UDP
    return found


# pid files.


def write_pid_file(path: Path, pid: int, *more: str) -> None:
    """Whole or not at all: the file is renamed into its place."""
    new = path.with_suffix(".new")
    try:
        new.write_text(" ".join([str(pid), str(start_time(pid) or 0), *more]) + "\n")
    except OSError as error:
        error.filename = error.filename or str(new)  # a full disk does not name it
        raise
    new.replace(path)


def pid_file_words(path: Path) -> tuple[int, int, str, str] | None:
    """pid, start time, what it was launched as (Plan.digest), the name of its output; None: the file is not sound."""
    try:
        pid, started, *more = path.read_text().split()
        launched_as, output = [*more, "", ""][:2]
        return int(pid), int(started), launched_as, output
    except (OSError, ValueError):
        return None


def pid_in(path: Path) -> int | None:
    """The pid of a pid file if that very process still runs; None if not, or if the file is not sound."""
    words = pid_file_words(path)
    if words is None:
        return None
    pid, started, _, _ = words
    return pid if pid > 1 and start_time(pid) == started else None


def kill_leftover(path: Path) -> int | None:
    """Kill the process that a dead core left behind, with its group, and remove its pid file. Gives its pid.

    A process with SIGKILL pending runs no more of its own code: there is nothing to wait for.
    """
    pid = pid_in(path)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError), ProcessHandle(pid) as process:
            if pid_in(path) == pid:  # still the same: now the handle is bound to it
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)
                process.send(signal.SIGKILL)
    path.unlink(missing_ok=True)
    return pid
