"""System calls that Python does not offer, and the error of this room."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import c_int, c_long, c_size_t, c_ulong, c_void_p
from typing import Any, NamedTuple

from reed.errors import ReedError

_PROT_READ, _PROT_WRITE = 1, 2
_MAP_PRIVATE, _MAP_ANONYMOUS = 2, 0x20
_MAP_FAILED = ctypes.c_void_p(-1).value


class SandboxError(ReedError):
    """A plugin's process could not be confined, and must exit."""

    def __init__(self, layer: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"sandbox: {layer}: {message}", hint=hint)
        self.layer = layer


class Step(NamedTuple):
    """One call that confines a process, prepared before the fork."""

    layer: str
    action: str
    function: Callable[..., Any]  # returns -1 and sets errno, as libc does, or raises OSError
    arguments: tuple[Any, ...]  # buffers rather than addresses, to keep the memory alive

    def run(self) -> None:
        """Raises SandboxError."""
        try:
            checked(self.function(*self.arguments))
        except OSError as error:
            raise SandboxError(self.layer, f"{self.action}: {error.strerror}") from None


class Kernel:
    """libc's functions, looked up once."""

    def __init__(self, machine: str = "") -> None:
        self.machine = machine or os.uname().machine
        libc = ctypes.CDLL(None, use_errno=True)
        number, long, word, pointer, size = c_int, c_long, c_ulong, c_void_p, c_size_t

        def declare(name: str, *arguments: type, returns: type = number) -> Any:
            function = getattr(libc, name)
            function.argtypes, function.restype = arguments, returns
            return function

        self.syscall = declare("syscall", *(long,) * 7, returns=long)
        self.prctl = declare("prctl", number, word, pointer, word, word)
        self.setrlimit = declare("setrlimit", number, pointer)
        self.capset = declare("capset", pointer, pointer)
        self.capget = declare("capget", pointer, pointer)
        self.connect = declare("connect", number, pointer, ctypes.c_uint)
        self.mprotect = declare("mprotect", pointer, size, number)
        self._mmap = declare("mmap", pointer, size, number, number, number, long, returns=pointer)
        self._munmap = declare("munmap", pointer, size)

    def call(self, number: int, *arguments: int) -> int:
        """A system call with the same number on every architecture (all since Linux 5.0). Raises OSError."""
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
    """Raises OSError for -1, the result of a libc function that failed."""
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
