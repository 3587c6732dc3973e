"""System calls that Python does not offer, and the error of this room."""

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
    """`layer` failed, so a plugin's process could not be confined. The process must exit."""

    def __init__(self, layer: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"sandbox: {layer}: {message}", hint=hint)
        self.layer = layer


class Step(NamedTuple):
    """One call that confines a process, prepared before the fork."""

    layer: str
    action: str  # for the error message
    function: Callable[..., Any]  # returns -1 and sets errno, as libc does, or raises OSError
    arguments: tuple[Any, ...]  # bytes or ctypes buffers rather than addresses, to keep the memory alive

    def run(self) -> None:
        """Raises SandboxError."""
        try:
            checked(self.function(*self.arguments))
        except OSError as error:
            raise SandboxError(self.layer, f"{self.action}: {error.strerror}") from None


class Kernel:
    """libc's functions, looked up once. Attributes without docstring are as in their manual pages."""

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
        """A system call with the same number on every architecture (all since Linux 5.0). Raises OSError."""
        return checked(self.syscall(number, *arguments, *(0,) * (6 - len(arguments))))

    def control(self, option: int, *arguments: int) -> int:
        """prctl. Raises OSError."""
        return checked(self.prctl(option, *arguments, *(0,) * (4 - len(arguments))))

    def map_page(self) -> int:
        """Returns the address of a new page of zeros. Raises OSError."""
        size = os.sysconf("SC_PAGESIZE")
        address: int = self._mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
        checked(-1 if address == _MAP_FAILED else 0)
        return address

    def unmap_page(self, address: int) -> None:
        checked(self._munmap(address, os.sysconf("SC_PAGESIZE")))


def checked(result: int) -> int:
    """Returns the result of a libc function, or raises OSError if it is -1."""
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
