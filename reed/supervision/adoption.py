"""Pid files in pid/plugins/, and adoption: what a new core does with the processes that an earlier core launched.

NAME.pid      PID START_TIME FINGERPRINT OUTPUT of the active process
                  runs, from the same specification      adopted
                  runs, from another one                 killed; started again if it has a row
                  is gone                                the pid file is removed
NAME+N.pid    the same of a candidate or a draining process of generation N (replacement): killed
NAME.asleep   the plugin hibernates: started again

FINGERPRINT is the Specification's, OUTPUT the name of a FIFO in <runtime folder>/output; both may be empty.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from pathlib import Path
from typing import NamedTuple

from reed.peer_log import PeerLog
from reed.process_handle import ProcessHandle, start_time

REJOIN_TIMEOUT = 10.0  # seconds


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
    with contextlib.suppress(FileNotFoundError):  # as a rule: every start comes here
        os.unlink(f"{runtime_dir}/pid/plugins/{name}.asleep")


def write_pid_file(path: Path, pid: int, *more: str, started: int | None = None) -> None:
    """`started`: the start time, if the caller knows it. Raises OSError with a file name."""
    new = f"{path}.new"
    line = " ".join([str(pid), str(started or start_time(pid) or 0), *more]) + "\n"
    try:
        with open(new, "wb", buffering=0) as file:
            if file.write(line.encode()) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        error.filename = error.filename or new  # ENOSPC comes without one
        raise
    os.replace(new, path)


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


class Adoption:
    def __init__(self, folder: Path, log: PeerLog) -> None:
        self._folder = folder
        self._log = log
        self.to_start: set[str] = set()  # plugins that ran or hibernated
        self.sessions: set[int] = set()  # what ended processes forked may still run in them

    def take(self, name: str, fingerprint: str) -> PidFile | None:
        """An empty fingerprint matches none."""
        path = self._folder / f"{name}.pid"
        asleep = path.with_suffix(".asleep")
        if asleep.exists():
            asleep.unlink()
            self.to_start.add(name)
        found = read_pid_file(path)
        if found is None or start_time(found.pid) != found.started:
            self._add_session(path)
            path.unlink(missing_ok=True)
            return None
        if fingerprint and found.fingerprint == fingerprint:
            return found
        self.to_start.add(name)
        self._kill(path, "its row, manifest, settings or code changed")
        return None

    def clear(self, adopted: set[str]) -> None:
        """Kill every process that was not adopted, and remove FIFOs that no process uses."""
        for path in self._folder.glob("*.asleep"):
            path.unlink()
        for path in self._folder.glob("*.pid"):
            if path.stem not in adopted:
                self._kill(path, "no row belongs to it")
        used = {found.output for path in self._folder.glob("*.pid") if (found := read_pid_file(path))}
        outputs = self._folder.parent.parent / "output"
        for name in os.listdir(outputs) if outputs.is_dir() else ():
            if name not in used:
                (outputs / name).unlink()

    def _add_session(self, path: Path) -> None:
        """If another process has the pid, the session is empty."""
        found = read_pid_file(path)
        if found is not None and start_time(found.pid) in {None, found.started}:
            self.sessions.add(found.pid)

    def _kill(self, path: Path, why: str) -> None:
        self._add_session(path)
        pid = kill_leftover(path)
        if pid is not None:
            self._log.warning("%s: killed pid %d of an earlier core: %s", path.stem, pid, why, peer=path.stem)
