"""Run a program with some system calls refused, as by a container's seccomp profile.

    python denying.py ENOSYS pidfd_open,pidfd_send_signal PROGRAM ARGUMENT…

`waitid:3` refuses waitid only where its first argument is 3. An unprivileged caller gets no_new_privs along with it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {  # x86-64, aarch64
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "waitid": (247, 95),
    "setsid": (112, 157),
    "prlimit64": (302, 261),
    "setrlimit": (160, 164),
    "epoll_create1": (291, 20),
    "flock": (73, 32),
    "mseal": (462, 462),
    "memfd_create": (319, 279),
    "clone": (56, 220),
    "landlock_create_ruleset": (444, 444),
}
MACHINES = {"x86_64": 0, "aarch64": 1}
IS_SUPPORTED = platform.machine() in MACHINES

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_FIRST_ARGUMENT = 16  # its lower half, in struct seccomp_data
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


def program(error: int, calls: list[str]) -> bytes:
    """BPF: the named calls fail with the error, all others are allowed."""
    found = []
    for call in calls:
        name, _, argument = call.partition(":")
        number = NUMBERS[name][MACHINES[platform.machine()]]
        refuse = [(_RETURN, 0, 0, _ERRNO | error)]
        if argument:
            refuse = [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 0, 1, int(argument)), *refuse]
        found += [(_LOAD, 0, 0, 0), (_EQUAL, 0, len(refuse), number), *refuse]
    found.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in found)


def install(code: bytes) -> None:
    """For this process and its descendants."""
    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(memory)))
    if os.geteuid() and libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, head, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


if __name__ == "__main__":
    install(program(getattr(errno, sys.argv[1]), sys.argv[2].split(",")))
    os.execvp(sys.argv[3], sys.argv[3:])
