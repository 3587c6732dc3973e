"""A handle to one process that survives the reuse of its pid, and the parser of /proc/PID/stat.

A pidfd identifies the process. Where pidfds are refused (kernels before 5.3, seccomp profiles) its start time does,
which is read before each signal.
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import NamedTuple

from reed.system_calls import P_PIDFD, denied, pidfd_open, pidfd_send_signal

_PAGE = 4096


class ProcStat(NamedTuple):
    name: str
    state: bytes
    group: int
    session: int
    start_time: int  # clock ticks since boot

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended; it may be a zombie."""
        return self.state in (b"Z", b"X")


class ProcessHandle:
    def __init__(self, pid: int, started: int | None = None) -> None:
        """`started`: the expected start time. Raises ProcessLookupError, or OSError when descriptors run out."""
        self.pid = pid
        self.fd = -1  # the pidfd; -1 where pidfds are refused
        try:
            self.fd = pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError as error:
            if not denied(error):
                raise
        found = start_time(pid)
        if found is None or started not in (None, found):
            self.close()
            raise ProcessLookupError(pid)
        self.started = found

    def send(self, number: int) -> None:
        if self.fd >= 0:
            try:
                pidfd_send_signal(self.fd, number)
            except OSError as error:
                if not denied(error):
                    raise
            else:
                return
        if not self.is_same():
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, number)

    def is_same(self) -> bool:
        """Whether the pid still belongs to this process; a zombie keeps its pid."""
        return start_time(self.pid) == self.started

    def has_ended(self) -> bool:
        """True of a zombie. Raises OSError when /proc cannot be read."""
        return not runs(self.pid, self.started)

    def wait(self) -> os.waitid_result | None:
        """None while the process runs. Raises ChildProcessError if it is not our child."""
        if self.fd >= 0:
            try:
                return os.waitid(P_PIDFD, self.fd, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                raise
            except OSError:
                pass  # waitid(P_PIDFD) needs Linux 5.4
        if not self.is_same():
            raise ChildProcessError(self.pid)
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> ProcessHandle:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def read_stat(pid: int) -> ProcStat:
    """Raises OSError; FileNotFoundError or ProcessLookupError when the process is gone."""
    head, _, tail = read_proc(f"/proc/{pid}/stat").rpartition(b")")  # the name may contain brackets
    fields = tail.split()
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    return ProcStat(name, fields[0], int(fields[2]), int(fields[3]), int(fields[19]))


def start_time(pid: int) -> int | None:
    """None when there is no such process."""
    with contextlib.suppress(OSError, IndexError):
        return read_stat(pid).start_time
    return None


def runs(pid: int, started: int) -> bool:
    """False for a zombie. Raises OSError when /proc cannot be read."""
    try:
        stat = read_stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.start_time == started and not stat.is_dead


def owner(path: str | os.PathLike[str]) -> str:
    """The user name of a file's owner, or of a process's when the path is /proc/PID."""
    try:
        return user_name(os.stat(path).st_uid)
    except OSError:
        return "?"


def user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def read_proc(path: str) -> bytes:
    """For files shorter than a page. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _PAGE)
    finally:
        os.close(fd)
