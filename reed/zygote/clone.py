"""Processes made by clone(2) as it is: a fork that is the core's child at once, and one that lingers (see below).

Both are siblings of who makes them (CLONE_PARENT). os.fork would make a child of the zygote, and run what libraries
want done after a fork, for threads that a zygote does not have: each page that this writes to is one more of the
plugin's own.
"""

from __future__ import annotations

import ctypes
import os
import signal

_CLONE_VM, _CLONE_PARENT = 0x100, 0x8000
_NUMBERS = {"x86_64": 56}
_NUMBER = 220  # on all machines that Linux came to since 2012
_STACK = 16384  # bytes, of which usleep needs a few hundred


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


class AddressSpaceHolder:
    """A second process in this one's memory, which does nothing, and ends after a moment.

    Who executes a program gives up its memory first: of a fork of the zygote that takes 2 ms, for thousands of pages.
    While another process is in that memory it is left behind in no time, and falls apart when that one ends. It runs
    usleep(3) alone, on a stack of its own: no Python. It holds the descriptors that were open when it was made.
    """

    def __init__(self, seconds: float) -> None:
        libc = ctypes.PyDLL(None, use_errno=True)
        self._clone = libc.clone
        self._clone.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
        self._stack = ctypes.create_string_buffer(_STACK)
        top = (ctypes.addressof(self._stack) + _STACK) & -16
        flags = _CLONE_VM | _CLONE_PARENT | signal.SIGCHLD
        self._arguments = ctypes.cast(libc.usleep, ctypes.c_void_p), top, flags, int(seconds * 1e6)

    def __call__(self) -> None:
        """Makes it; where that fails, an exec takes its time."""
        self._clone(*self._arguments)
