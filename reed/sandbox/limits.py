"""The layers that every kernel has: rlimits, descriptors, no_new_privs, capabilities.

No PR_SET_DUMPABLE: an exec undoes it, Landlock keeps neighbours from tracing each other, and a core that is not root
could no longer read how much memory its plugins have. No PDEATHSIG: a plugin outlives the core
(plugin-lifecycle.md#adoption). Where the core runs as root, a plugin is root without capabilities: its folder must be
root's, or open to everyone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
from collections.abc import Collection, Iterator

from reed.sandbox.kernel import Kernel, Step
from reed.sandbox.rules import Rules

_CLOSE_RANGE = 436
_CLOSE_RANGE_CLOEXEC = 4
_LAST_FD = (1 << 32) - 1
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_SETS = struct.Struct("=6I")  # effective, permitted, inheritable of 0 to 31; the same of 32 to 63
_CAP_SYS_RESOURCE = 24


def limit(kernel: Kernel, rules: Rules) -> Iterator[Step]:
    """Soft and hard limits alike, never above the hard limit there is."""
    yield _limit(kernel, "core dumps", resource.RLIMIT_CORE, 0)
    yield _limit(kernel, "open files", resource.RLIMIT_NOFILE, rules.open_files)
    if rules.processes is not None:
        yield _limit(kernel, "processes", resource.RLIMIT_NPROC, rules.processes)


def limit_memory(kernel: Kernel, memory: int | None) -> Iterator[Step]:
    """The last of all before an exec: the core's copy that the process still is may be larger than the limit."""
    if memory is not None:
        yield _limit(kernel, "memory", resource.RLIMIT_DATA, memory)


def _limit(kernel: Kernel, what: str, kind: int, most: int) -> Step:
    hard = resource.getrlimit(kind)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    return Step("limits", what, kernel.setrlimit, (kind, struct.pack("=QQ", allowed, allowed)))


def close_descriptors(kernel: Kernel, keep: Collection[int], *, on_exec: bool) -> Iterator[Step]:
    """All but the standard streams and `keep`: at once, or when the process executes something."""
    flags = _CLOSE_RANGE_CLOEXEC if on_exec else 0
    try:
        kernel.call(_CLOSE_RANGE, _LAST_FD, _LAST_FD, flags)
    except OSError:  # before Linux 5.11
        yield Step("descriptors", "close one by one", _close_one_by_one, ({0, 1, 2, *keep}, on_exec))
        return
    start = 3
    for fd in [*sorted(fd for fd in keep if fd >= 3), _LAST_FD + 1]:
        if fd > start:
            yield Step("descriptors", "close", kernel.syscall, (_CLOSE_RANGE, start, fd - 1, flags, 0, 0, 0))
        start = fd + 1


def _close_one_by_one(keep: Collection[int], on_exec: bool) -> None:
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - {*keep}:
        with contextlib.suppress(OSError):  # the one that listed the folder is closed already
            os.set_inheritable(fd, False) if on_exec else os.close(fd)


def no_new_privs(kernel: Kernel) -> Iterator[Step]:
    """No exec gives privileges from here on: no setuid programs. Landlock and seccomp ask for it."""
    yield Step("no_new_privs", "set", kernel.prctl, (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def drop_capabilities(kernel: Kernel, *, every: bool) -> Iterator[Step]:
    """Root without its powers, or only without the one that raises hard limits: after no_new_privs no exec brings them
    back."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    kept = bytes(_CAPABILITY_SETS.size)
    if not every:
        held = ctypes.create_string_buffer(_CAPABILITY_SETS.size)
        kernel.capget(header, held)
        kept = _without(held.raw, _CAP_SYS_RESOURCE)
    yield Step("capabilities", "drop", kernel.capset, (header, kept))


def _without(sets: bytes, capability: int) -> bytes:
    """Effective, permitted and inheritable sets, in words of 32 capabilities, without that one (below 32)."""
    words = list(_CAPABILITY_SETS.unpack(sets))
    words[:3] = (word & ~(1 << capability) for word in words[:3])
    return _CAPABILITY_SETS.pack(*words)
