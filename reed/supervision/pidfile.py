"""The files that tell which process is a plugin's.

    pid/plugins/NAME.pid      PID START_TIME FINGERPRINT OUTPUT    the active process
    pid/plugins/NAME+N.pid    the same, of a process beside it (replacement)
    pid/plugins/NAME.asleep   it is hibernating: there is no process

START_TIME is field 22 of /proc/PID/stat: a pid with another start time is another process. FINGERPRINT is that of the
Specification it was launched from, OUTPUT the name of the FIFO in <runtime folder>/output that it writes to.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from reed.process_handle import ProcessHandle, start_time


def pid_file(runtime_dir: Path, name: str, generation: int = 0) -> Path:
    """Of the active process; with a generation, of one beside it."""
    return runtime_dir / "pid" / "plugins" / (f"{name}+{generation}.pid" if generation else f"{name}.pid")


def note_hibernation(runtime_dir: Path, name: str) -> None:
    """There is no process that would tell the next core of it, should this one die."""
    with contextlib.suppress(OSError):  # a full disk: the next core does not know of it
        pid_file(runtime_dir, name).with_suffix(".asleep").touch(mode=0o600)


def forget_hibernation(runtime_dir: Path, name: str) -> None:
    pid_file(runtime_dir, name).with_suffix(".asleep").unlink(missing_ok=True)


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
    """pid, start time, the fingerprint of its Specification, the name of its output; None: the file is not sound."""
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
