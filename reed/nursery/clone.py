"""A fork whose child is the caller's sibling: a child of the core at once, with no process in between.

clone(2) with CLONE_PARENT, called as it is. os.fork would make a child of the nursery, and run what libraries want done
after a fork, for threads that a nursery does not have: each page that this writes to is one more of the plugin's own.
"""

from __future__ import annotations

import ctypes
import os
import signal

_CLONE_PARENT = 0x8000
_NUMBERS = {"x86_64": 56}
_NUMBER = 220  # on all machines that Linux came to since 2012


class Cloning:
    """Made once; the process must have one thread. Each call is a fork: 0 in the child. Raises OSError."""

    def __init__(self, flags: int = _CLONE_PARENT) -> None:
        """With no flags the child is the caller's own."""
        self._syscall = ctypes.PyDLL(None, use_errno=True).syscall  # PyDLL: no other thread waits for the lock
        self._syscall.argtypes = (ctypes.c_long,) * 6
        self._syscall.restype = ctypes.c_long
        number = _NUMBERS.get(os.uname().machine, _NUMBER)
        self._arguments = number, flags | signal.SIGCHLD, 0, 0, 0, 0

    def __call__(self) -> int:
        pid: int = self._syscall(*self._arguments)
        if pid < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return pid
