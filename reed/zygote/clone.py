"""clone(2) without libc's fork: for children of the core, and for a faster exec.

os.fork would make a child of the zygote instead of a sibling, and run libraries' fork handlers, which write to pages
that are then copied for each plugin.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_CLONE_VM, _CLONE_PARENT = 0x100, 0x8000
_SYS_CLONE = {"x86_64": 56}
_SYS_CLONE_GENERIC = 220  # on all architectures that Linux gained since 2012
_STACK = 16384  # usleep needs a few hundred bytes


class Cloning:
    """fork() as a callable: returns 0 in the child. The process must have one thread. Raises OSError."""

    def __init__(self, flags: int = _CLONE_PARENT) -> None:
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


def run_in_fork(run: Callable[[], None]) -> int:
    """Calls `run` in a child of this process, which then ends, and returns its pid."""
    pid = Cloning(0)()
    if pid == 0:
        try:
            run()
            os._exit(0)
        except OSError as error:
            os.write(2, f"zygote: a dry run failed: {error}\n".encode())
        except BaseException as error:  # noqa: BLE001
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(1)
    return pid


class AddressSpaceHolder:
    """A process that keeps this one's address space alive for a moment (process-creation.md#native-plugins).

    Calling the object starts it. It keeps the descriptors open that are open then.
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
