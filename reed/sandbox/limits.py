"""The layers that every kernel has: rlimits, descriptors, no_new_privs, capabilities.

Not PR_SET_DUMPABLE: an exec resets it, Landlock already prevents tracing, and a core that is not root could no longer
read its plugins' memory use. Not PDEATHSIG: a plugin outlives the core.
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
    yield _limit(kernel, "core dumps", resource.RLIMIT_CORE, 0)
    yield _limit(kernel, "open files", resource.RLIMIT_NOFILE, rules.open_files)
    if rules.processes is not None:
        yield _limit(kernel, "processes", resource.RLIMIT_NPROC, rules.processes)


def limit_memory(kernel: Kernel, memory: int | None) -> Iterator[Step]:
    """Last, because until the exec the process is a copy of the zygote, which may be larger than the limit."""
    if memory is not None:
        yield _limit(kernel, "memory", resource.RLIMIT_DATA, memory)


def _limit(kernel: Kernel, what: str, kind: int, limit: int) -> Step:
    hard = resource.getrlimit(kind)[1]
    allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    return Step("limits", what, kernel.setrlimit, (kind, struct.pack("=QQ", allowed, allowed)))


def close_descriptors(kernel: Kernel, keep: Collection[int], *, on_exec: bool) -> Iterator[Step]:
    """Closes all except the standard streams and `keep`, now or on exec."""
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
        with contextlib.suppress(OSError):  # listdir closed its own
            os.set_inheritable(fd, False) if on_exec else os.close(fd)


def no_new_privs(kernel: Kernel) -> Iterator[Step]:
    """Landlock and seccomp require this."""
    yield Step("no_new_privs", "set", kernel.prctl, (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def drop_capabilities(kernel: Kernel, *, every: bool) -> Iterator[Step]:
    """Drops all, or only the one that raises hard limits. With no_new_privs no exec restores them."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    kept = bytes(_CAPABILITY_SETS.size)
    if not every:
        held = ctypes.create_string_buffer(_CAPABILITY_SETS.size)
        kernel.capget(header, held)
        kept = _without(held.raw, _CAP_SYS_RESOURCE)
    yield Step("capabilities", "drop", kernel.capset, (header, kept))


def _without(sets: bytes, capability: int) -> bytes:
    """For a capability whose number is below 32."""
    words = list(_CAPABILITY_SETS.unpack(sets))
    words[:3] = (word & ~(1 << capability) for word in words[:3])
    return _CAPABILITY_SETS.pack(*words)
