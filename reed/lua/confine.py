"""What a plugin's process gives up before any of its code runs (SECURITY.md, Processes).

In this order: its own session, limits, its standard streams, every other descriptor, new privileges.
"""

from __future__ import annotations

import ctypes
import os
import resource

from reed.lua.launch import LaunchSpec

_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_ROOM = 64 * 1024 * 1024  # bytes for Python's side: a payload of 16 MiB, its copies and an answer
_DESCRIPTORS = 1024  # two for each other plugin: its FIFO in, its FIFO out


class Confinement:
    """Made in the nursery, so that the plugin's process finds libc and its own size ready."""

    def __init__(self) -> None:
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
        self._null = os.open(os.devnull, os.O_RDONLY)
        with open("/proc/self/statm", "rb") as statm:
            self._prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)  # the first call of a function is the dear one
            self._size = int(statm.read().split()[0]) * resource.getpagesize()

    def confine(self, spec: LaunchSpec, output: int) -> None:
        """Confines this process for good; stdout and stderr go to `output`."""
        os.setsid()
        self._limit(resource.RLIMIT_AS, self._size + spec.memory + _ROOM)
        self._limit(resource.RLIMIT_CORE, 0)
        self._limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
        self._limit(resource.RLIMIT_NPROC, 0)
        os.dup2(self._null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 1 << 20)
        name_process(f"reed:{spec.name}")
        if self._prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs")
        # Landlock and seccomp come here, last: what stands above needs what they take away.

    @staticmethod
    def _limit(what: int, value: int) -> None:
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(what, (value, value))


def name_process(name: str) -> None:
    """What ps and top show of this process: at most 15 bytes."""
    with open("/proc/self/comm", "wb", buffering=0) as comm:
        comm.write(name.encode()[:15])
