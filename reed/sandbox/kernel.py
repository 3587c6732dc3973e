"""The system calls that Python has no name for, and the error of this room."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from reed.errors import ReedError

_PROT_READ, _PROT_WRITE = 1, 2
_MAP_PRIVATE, _MAP_ANONYMOUS = 2, 0x20
_MAP_FAILED = ctypes.c_void_p(-1).value


class SandboxError(ReedError):
    """A plugin's process could not be confined; `layer` is what failed. The process must end."""

    def __init__(self, layer: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"sandbox: {layer}: {message}", hint=hint)
        self.layer = layer


class Step(NamedTuple):
    """One call that confines a process, made ready before the fork."""

    layer: str
    what: str
    function: Callable[..., Any]  # gives -1 and sets errno, as libc does, or raises OSError
    arguments: tuple[Any, ...]  # memory as bytes or ctypes buffers, not as addresses: the step keeps it alive

    def take(self) -> None:
        """Raises SandboxError."""
        try:
            if self.function(*self.arguments) == -1:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
        except OSError as error:
            raise SandboxError(self.layer, f"{self.what}: {error.strerror}") from None


class Kernel:
    """libc's functions, found once. Those in small letters without a docstring are as their manual pages have them."""

    def __init__(self, machine: str = "") -> None:
        self.machine = machine or os.uname().machine
        libc = ctypes.CDLL(None, use_errno=True)
        number, long, pointer, size = ctypes.c_int, ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t
        self.syscall = libc.syscall
        self.syscall.argtypes = (long,) * 7
        self.syscall.restype = long
        self.prctl = libc.prctl
        self.prctl.argtypes = (number, ctypes.c_ulong, pointer, ctypes.c_ulong, ctypes.c_ulong)
        self.setrlimit = libc.setrlimit
        self.setrlimit.argtypes = (number, pointer)
        self.capset = libc.capset
        self.capset.argtypes = (pointer, pointer)
        self.capget = libc.capget
        self.capget.argtypes = (pointer, pointer)
        self.connect = libc.connect
        self.connect.argtypes = (number, pointer, ctypes.c_uint)
        self._mmap = libc.mmap
        self._mmap.argtypes = (pointer, size, number, number, number, long)
        self._mmap.restype = pointer
        self.mprotect = libc.mprotect
        self.mprotect.argtypes = (pointer, size, number)
        self._munmap = libc.munmap
        self._munmap.argtypes = (pointer, size)

    def call(self, number: int, *arguments: int) -> int:
        """A system call whose number is the same on every machine (those since Linux 5.0). Raises OSError."""
        return checked(self.syscall(number, *arguments, *(0,) * (6 - len(arguments))))

    def control(self, option: int, *arguments: int) -> int:
        """prctl. Raises OSError."""
        return checked(self.prctl(option, *arguments, *(0,) * (4 - len(arguments))))

    def map_page(self) -> int:
        """The address of a new page of zeros. Raises OSError."""
        size = os.sysconf("SC_PAGESIZE")
        address: int = self._mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
        checked(-1 if address == _MAP_FAILED else 0)
        return address

    def unmap_page(self, address: int) -> None:
        checked(self._munmap(address, os.sysconf("SC_PAGESIZE")))


def checked(result: int) -> int:
    """The result of a function of libc; -1 is raised as OSError."""
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
