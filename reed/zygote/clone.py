"""clone(2) without libc's fork: for children of the core, and for a faster exec.

CLONE_PARENT makes the new process a sibling of its maker. os.fork would make a child of the zygote, and run libraries'
fork handlers for threads that the zygote does not have; the pages that these write to would be copied for each plugin.
"""

from __future__ import annotations

import ctypes
import os
import signal

_CLONE_VM, _CLONE_PARENT = 0x100, 0x8000
_SYS_CLONE = {"x86_64": 56}
_SYS_CLONE_GENERIC = 220  # on all architectures that Linux gained since 2012
_STACK = 16384  # bytes; usleep needs a few hundred


class Cloning:
    """fork() as a callable: returns 0 in the child. The process must have one thread. Raises OSError."""

    def __init__(self, flags: int = _CLONE_PARENT) -> None:
        """Without flags the child is the caller's own."""
        self._syscall = ctypes.PyDLL(None, use_errno=True).syscall  # PyDLL keeps the GIL
        self._syscall.argtypes = (ctypes.c_long,) * 6
        self._syscall.restype = ctypes.c_long
        number = _SYS_CLONE.get(os.uname().machine, _SYS_CLONE_GENERIC)
        self._arguments = number, flags | signal.SIGCHLD, 0, 0, 0, 0

    def __call__(self) -> int:
        pid: int = self._syscall(*self._arguments)
        if pid < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return pid


class AddressSpaceHolder:
    """A process that shares this one's memory, sleeps and exits; calling the object starts it.

    execve() tears down the old address space first: 2 ms for a fork of the zygote. While another process uses that
    address space, execve() returns at once, and the teardown happens when the other process exits. This one runs only
    usleep(3), on its own stack. It keeps the descriptors open that are open when it is started.
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
        self._clone(*self._arguments)  # if it fails, execve() is slow
