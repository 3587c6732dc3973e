"""Which layers this kernel has, and what plugins could do because a layer is missing. Probing changes nothing."""

from __future__ import annotations

import errno
import os
import re
from typing import Any, NamedTuple

from reed.sandbox import landlock, own_socket
from reed.sandbox.denied import MACHINES
from reed.sandbox.kernel import Kernel

_PR_GET_NO_NEW_PRIVS = 39
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_SINCE = (  # Landlock ABI, Linux version, what is missing before
    (1, "5.13", "landlock: plugins read and write everything that their user may"),
    (3, "6.2", "landlock truncate: plugins may empty any file that their user may write to"),
    (4, "6.7", "landlock tcp: plugins with network reach every port"),
    (5, "6.10", "landlock ioctl: granted devices accept every ioctl"),
    (6, "6.12", "landlock scope: plugins may send Unix signals to their user's processes, and use abstract sockets"),
)


class Layers(NamedTuple):
    no_new_privs: bool
    landlock: int  # ABI, or 0
    seccomp: bool
    truncate: bool
    tcp: bool
    ioctl: bool
    scope: bool
    sealed: bool  # the address of a Lua plugin's own socket
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "missing": list(self.missing)}


def probe(kernel: Kernel, release: str = "") -> Layers:
    release = release or os.uname().release
    version = landlock.abi(kernel)
    privs, seccomp, sealed = _no_new_privs(kernel), _seccomp(kernel), own_socket.has_mseal(kernel)
    missing = [f"{text} ({_needs(linux, release)})" for since, linux, text in _SINCE if version < since]
    if not version:
        missing[0] += ", started with landlock in its lsm= list"
    if not privs:
        missing.append("no_new_privs: setuid programs give plugins their owner's permissions")
    if not seccomp:
        missing.append(f"seccomp: plugins may use every system call (a kernel with it, on {' or '.join(MACHINES)})")
    if not sealed:
        needs = _needs("6.10", release)
        missing.append(f"sealed: machine code in a Lua plugin could connect to other Unix sockets ({needs})")
    return Layers(
        no_new_privs=privs,
        landlock=version,
        seccomp=seccomp,
        truncate=version >= 3,
        tcp=version >= 4,
        ioctl=version >= 5,
        scope=version >= 6,
        sealed=sealed,
        missing=tuple(missing),
    )


def _needs(linux: str, release: str) -> str:
    found = re.match(r"(\d+)\.(\d+)", release)
    if not found or _version(*found.groups()) < _version(*linux.split(".")):
        return f"Linux {linux}"
    return f"Linux {linux}; this is {release}: a container's seccomp profile may refuse it"


def _version(major: str, minor: str) -> tuple[int, int]:
    return int(major), int(minor)


def _no_new_privs(kernel: Kernel) -> bool:
    try:
        kernel.control(_PR_GET_NO_NEW_PRIVS)
    except OSError:
        return False
    return True


def _seccomp(kernel: Kernel) -> bool:
    """Given a null pointer as the filter, a kernel with seccomp returns EFAULT, one without EINVAL."""
    if kernel.machine not in MACHINES:
        return False
    try:
        kernel.control(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0)
    except OSError as error:
        return error.errno == errno.EFAULT
    return False
