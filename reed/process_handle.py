"""A process that is not mistaken for another one, though its pid may be used again.

A pidfd holds it. Where a kernel before 5.3 or a container's seccomp profile refuses pidfd_open or pidfd_send_signal,
its start time tells it from a later process with the same pid: /proc/PID/stat is read before each signal.
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType

from reed.system_calls import P_PIDFD, denied

_PAGE = 4096


class ProcessHandle:
    """`fd` is its pidfd, readable once it has ended; -1 where there is none."""

    def __init__(self, pid: int, started: int | None = None) -> None:
        """`started`: the start time it must have. Raises ProcessLookupError, or OSError without descriptors."""
        self.pid = pid
        self.fd = -1
        try:
            self.fd = os.pidfd_open(pid)
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
        """A Unix signal to that very process. Raises ProcessLookupError, PermissionError."""
        import signal

        if self.fd >= 0:
            try:
                signal.pidfd_send_signal(self.fd, number)
            except OSError as error:
                if not denied(error):
                    raise
            else:
                return
        if not self.is_same():
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, number)  # PermissionError here: it is another user's

    def is_same(self) -> bool:
        """Does its pid still belong to it? Also while it has ended and nobody waited for it."""
        return start_time(self.pid) == self.started

    def has_ended(self) -> bool:
        """Is it gone, or was it not waited for? Raises OSError when that cannot be read now."""
        return not runs(self.pid, self.started)

    def wait(self) -> os.waitid_result | None:
        """How it ended; None: it has not. Raises ChildProcessError when it is no child of ours."""
        if self.fd >= 0:
            try:
                return os.waitid(P_PIDFD, self.fd, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                raise
            except OSError:
                pass  # before Linux 5.4, or refused
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


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None when there is no such process."""
    with contextlib.suppress(OSError, IndexError):
        return int(_stat(pid)[19])
    return None


def runs(pid: int, started: int) -> bool:
    """Whether this very process runs; one that has ended and waits for its parent does not. Raises OSError."""
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def owner(path: str | os.PathLike[str]) -> str:
    """The name of the user whom a file belongs to, or a process: /proc/PID."""
    try:
        return user_name(os.stat(path).st_uid)
    except OSError:
        return "?"


def user_name(uid: int) -> str:
    """The number where there is no name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def read_proc(path: str) -> bytes:
    """A file of /proc that is shorter than a page. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _PAGE)
    finally:
        os.close(fd)


def _stat(pid: int) -> list[bytes]:
    """The fields behind the name, which may hold spaces and brackets."""
    return read_proc(f"/proc/{pid}/stat").rpartition(b")")[2].split()
