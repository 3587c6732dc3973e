"""The mark of plugin processes: a hard limit of 0 on file locks, RLIMIT_LOCKS (plugin-mark.md)."""

from __future__ import annotations

import errno
import os
import resource
import struct
from collections.abc import Iterator

from reed.sandbox.kernel import Kernel, SandboxError, Step

RLIMIT_LOCKS = 10
_LINE = b"Max file locks"  # of /proc/PID/limits: name, soft limit, hard limit, unit
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def mark(kernel: Kernel) -> Iterator[Step]:
    yield Step("mark", "mark the process", kernel.setrlimit, (RLIMIT_LOCKS, struct.pack("=QQ", 0, 0)))


def is_marked(pid: int) -> bool | None:
    """None when the process is gone or unreadable.

    Raises OSError when this process has no descriptor or memory left to read it.
    """
    try:
        return resource.prlimit(pid, RLIMIT_LOCKS)[1] == 0
    except ProcessLookupError:
        return None
    except OSError:  # another user's process: /proc still shows its limits
        return _hard_limit_in_proc(pid)


def check_unmarked() -> None:
    """Raises SandboxError when this process is marked: it could not tell plugins from other clients."""
    if is_marked(os.getpid()):
        raise SandboxError(
            "mark",
            "this process has a hard limit of 0 on file locks, by which plugins are recognised",
            hint="start the core from outside a plugin, and without `ulimit -x 0` or LimitLOCKS=0",
        )


def _hard_limit_in_proc(pid: int) -> bool | None:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(_LINE):
                    return line[len(_LINE) :].split()[1] == b"0"
    except OSError as error:
        if error.errno in _OUT_OF_RESOURCES:
            raise
    return None
