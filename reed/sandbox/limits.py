"""The layers that every kernel has: rlimits, descriptors, the user, no_new_privs, capabilities.

No PR_SET_DUMPABLE: an exec undoes it, Landlock keeps neighbours from tracing each other, and a core that is not root
could no longer read how much memory its plugins have. No PDEATHSIG: a plugin outlives the core (DESIGN.md, Plugins).
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
from collections.abc import Collection

from reed.sandbox.kernel import Kernel, SandboxError
from reed.sandbox.rules import Rules

_CLOSE_RANGE = 436
_CLOSE_RANGE_CLOEXEC = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def set_limits(rules: Rules) -> None:
    """Soft and hard limits alike, never above the hard limit there is."""
    wanted = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, rules.open_files),
        (resource.RLIMIT_CPU, rules.cpu),
        (resource.RLIMIT_NPROC, rules.processes),
    )
    for kind, most in wanted:
        if most is not None:
            _limit(kind, most)


def set_memory_limit(rules: Rules) -> None:
    """The last of all before an exec: the core's copy that this process still is may be larger than the limit."""
    if rules.memory is not None:
        _limit(resource.RLIMIT_DATA, rules.memory)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(kind, (allowed, allowed))
    except (OSError, ValueError) as error:
        raise SandboxError("limits", f"rlimit {kind} to {allowed}: {error}") from None


def close_descriptors(kernel: Kernel, keep: Collection[int], *, on_exec: bool) -> None:
    """All but the standard streams and `keep`: at once, or when the process executes something."""
    start = 3
    try:
        for fd in sorted(fd for fd in keep if fd >= 3):
            if fd > start:
                kernel.call(_CLOSE_RANGE, start, fd - 1, _CLOSE_RANGE_CLOEXEC if on_exec else 0)
            start = fd + 1
        kernel.call(_CLOSE_RANGE, start, (1 << 32) - 1, _CLOSE_RANGE_CLOEXEC if on_exec else 0)
    except OSError:  # before Linux 5.11
        for fd in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, *keep}:
            with contextlib.suppress(OSError):  # the one that listed the folder is closed already
                os.set_inheritable(fd, False) if on_exec else os.close(fd)


def become(user: tuple[int, int]) -> None:
    """Be that uid and gid, with no other groups. Only root can; who is that user already, stays it."""
    uid, gid = user
    if (os.geteuid(), os.getegid()) == user:
        return
    try:
        os.setgroups(())
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise SandboxError("user", f"cannot become user {uid}, group {gid}: {error.strerror}") from None


def no_new_privs(kernel: Kernel) -> None:
    """No exec gives privileges from here on: no setuid programs. Landlock and seccomp ask for it."""
    try:
        kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        raise SandboxError("no_new_privs", error.strerror or str(error)) from None


def drop_capabilities(kernel: Kernel) -> None:
    """Root without its powers; after no_new_privs no exec brings them back."""
    try:
        kernel.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))
    except OSError as error:
        raise SandboxError("capabilities", error.strerror or str(error)) from None
