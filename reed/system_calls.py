"""System calls that an old kernel lacks or a container's seccomp profile refuses (containers.md)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from reed.errors import ReedError

_DENIED = frozenset({errno.EPERM, errno.ENOSYS})
_OF_TARGET = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})  # of the copy, not of its source
_NO_SUCH = 2**31 - 1  # not a valid pid or descriptor
P_PIDFD = 3
_PIDFD_SEND_SIGNAL, _PIDFD_OPEN = 424, 434  # on every architecture


def pidfd_open(pid: int) -> int:
    """As os.pidfd_open, which a Python that was built on an old system lacks."""
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else _system_call(_PIDFD_OPEN, pid, 0)


def pidfd_send_signal(fd: int, number: int) -> None:
    """As signal.pidfd_send_signal."""
    import signal

    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(fd, number)
    else:
        _system_call(_PIDFD_SEND_SIGNAL, fd, number, 0, 0)


def memfd_create(name: str) -> int:
    """As os.memfd_create."""
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, "this Python was built without memfd_create")
    return os.memfd_create(name)


def _system_call(number: int, *arguments: int) -> int:
    import ctypes

    found: int = ctypes.CDLL(None, use_errno=True).syscall(number, *map(ctypes.c_long, arguments))
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found


def denied(error: OSError) -> bool:
    """Whether the call may have been refused regardless of its arguments."""
    return error.errno in _DENIED


@contextlib.contextmanager
def needed(call: str, where: str) -> Iterator[None]:
    """Turn a denied call, which has no substitute, into a ReedError."""
    try:
        yield
    except OSError as error:
        if not denied(error):
            raise
        raise ReedError(
            f"{where}: the system call {call} is refused: {error.strerror}",
            hint=f"allow {call} in the container's seccomp profile",
        ) from None


def describe(error: Exception) -> str:
    """An error as one line; an OSError with its file and what to do."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error)
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        reason += "; raise `ulimit -n`"
    if error.filename:
        is_of_target = error.filename2 and error.errno in _OF_TARGET
        return f"{os.fsdecode(error.filename2 if is_of_target else error.filename)}: {reason}"
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            return "the working directory was deleted; change to another folder"
    if denied(error):
        return f"{reason}; a container's seccomp profile may refuse a system call: see contrib/docs/guide/containers.md"
    return reason


def check_system_calls(warn: Callable[[str], None]) -> None:
    """Raises ReedError without /proc; warns of refused calls that have a substitute."""
    require_proc()
    if missing := missing_pidfd_calls():
        warn(
            f"refused by this kernel or a container's seccomp profile: {', '.join(missing)}; processes are identified "
            "by their start times and polled for their exit"
        )


def require_proc() -> None:
    """Raises ReedError."""
    if not os.path.exists("/proc/self/stat"):
        raise ReedError("/proc is not mounted", hint="mount it: mount -t proc proc /proc")


def missing_pidfd_calls() -> list[str]:
    """A call that works fails with ESRCH, EBADF or ECHILD for a process that cannot exist."""
    calls: dict[str, Callable[[], object]] = {
        "pidfd_open": lambda: pidfd_open(_NO_SUCH),
        "pidfd_send_signal": lambda: pidfd_send_signal(_NO_SUCH, 0),
        "waitid(P_PIDFD)": lambda: os.waitid(P_PIDFD, _NO_SUCH, os.WEXITED | os.WNOHANG),
    }
    missing = []
    for name, call in calls.items():
        try:
            call()
        except OSError as error:
            if error.errno not in {errno.ESRCH, errno.EBADF, errno.ECHILD}:
                missing.append(name)
    return missing
