"""Pid files in pid/plugins/, by which the next core finds the plugins' processes.

    NAME.pid      PID START_TIME FINGERPRINT OUTPUT of the active process
    NAME+N.pid    the same for a candidate or a draining process of generation N (replacement)
    NAME.asleep   the plugin hibernates

FINGERPRINT is the Specification's, OUTPUT the name of a FIFO in <runtime folder>/output; both may be empty.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

from reed.process_handle import ProcessHandle, start_time


class PidFile(NamedTuple):
    pid: int
    started: int
    fingerprint: str
    output: str


def pid_file(runtime_dir: Path, name: str, generation: int = 0) -> Path:
    return runtime_dir / "pid" / "plugins" / (f"{name}+{generation}.pid" if generation else f"{name}.pid")


def mark_hibernating(runtime_dir: Path, name: str) -> None:
    """Makes the next core start the plugin."""
    with contextlib.suppress(OSError):  # on a full disk the next core does not learn of it
        pid_file(runtime_dir, name).with_suffix(".asleep").touch(mode=0o600)


def unmark_hibernating(runtime_dir: Path, name: str) -> None:
    pid_file(runtime_dir, name).with_suffix(".asleep").unlink(missing_ok=True)


def write_pid_file(path: Path, pid: int, *more: str) -> None:
    """Raises OSError with a file name."""
    new = path.with_suffix(".new")
    try:
        new.write_text(" ".join([str(pid), str(start_time(pid) or 0), *more]) + "\n")
    except OSError as error:
        error.filename = error.filename or str(new)  # ENOSPC comes without one
        raise
    new.replace(path)


def read_pid_file(path: Path) -> PidFile | None:
    """None if the file is missing or invalid."""
    try:
        pid, started, *more = path.read_text().split()
        fingerprint, output = [*more, "", ""][:2]
        return PidFile(int(pid), int(started), fingerprint, output)
    except (OSError, ValueError):
        return None


def running_pid(path: Path) -> int | None:
    found = read_pid_file(path)
    return found.pid if found and found.pid > 1 and start_time(found.pid) == found.started else None


def kill_leftover(path: Path) -> int | None:
    """Kill the process and its group, and remove the pid file; returns the pid if the process existed.

    Nothing waits for its exit: with SIGKILL pending it runs no more of its own code.
    """
    pid = running_pid(path)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError), ProcessHandle(pid) as process:
            if running_pid(path) == pid:  # checked again: the pid could have been reused before the handle was opened
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)
                process.send(signal.SIGKILL)
    path.unlink(missing_ok=True)
    return pid
