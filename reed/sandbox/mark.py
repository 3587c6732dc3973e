"""The mark of plugin processes: a hard limit of 0 on file locks (RLIMIT_LOCKS).

    confine ── mark ── plugin ── fork, exec, clone(CLONE_PARENT), setsid, a death of the core ── still marked

Every child inherits a hard limit, and only CAP_SYS_RESOURCE raises one, which no plugin has. Linux has ignored this
limit since 2.4.25, so it costs a plugin nothing and nobody else sets it to 0. Descent from the core is no such mark: a
plugin's child that is reparented to pid 1 looks like a person's process, and an embedding program's own child looks
like a plugin's. Neither is no_new_privs, which a whole container may have.
"""

from __future__ import annotations

import errno
import os
import resource
import struct
from collections.abc import Iterator

from reed.sandbox.kernel import Kernel, SandboxError, Step

RLIMIT_LOCKS = 10  # the same number on every architecture
_LINE = b"Max file locks"  # of /proc/PID/limits: name, soft limit, hard limit, unit
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def mark(kernel: Kernel) -> Iterator[Step]:
    """Mark this process, and with it all that it will ever fork."""
    yield Step("mark", "mark the process", kernel.setrlimit, (RLIMIT_LOCKS, struct.pack("=QQ", 0, 0)))


def is_marked(pid: int) -> bool | None:
    """Whether a plugin made that process; None when it is gone, or the kernel does not say.

    Raises OSError when this process lacks a descriptor or memory to find out.
    """
    try:
        return resource.prlimit(pid, RLIMIT_LOCKS)[1] == 0
    except ProcessLookupError:
        return None
    except OSError:  # another user's or group's process: its limits are still readable in /proc
        return _hard_limit_in_proc(pid)


def check_unmarked() -> None:
    """Raises SandboxError when this process carries the mark: it could not tell plugins from people."""
    if is_marked(os.getpid()):
        raise SandboxError(
            "mark",
            "this process has a hard limit of 0 on file locks, which is how plugins' processes are known",
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
