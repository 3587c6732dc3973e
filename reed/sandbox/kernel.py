"""The system calls that Python has no name for, and the error of this room."""

from __future__ import annotations

import ctypes
import os

from reed.errors import ReedError

_PROT_READ, _PROT_WRITE = 1, 2
_MAP_PRIVATE, _MAP_ANONYMOUS = 2, 0x20
_MAP_FAILED = ctypes.c_void_p(-1).value


class SandboxError(ReedError):
    """A plugin's process could not be confined; `layer` is what failed. The process must end."""

    def __init__(self, layer: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"sandbox: {layer}: {message}", hint=hint)
        self.layer = layer


class Kernel:
    """libc, found once: before the fork, so that the new process has it at hand."""

    __slots__ = ("_capset", "_libc", "_prctl", "_syscall", "machine")

    def __init__(self, machine: str = "") -> None:
        self.machine = machine or os.uname().machine
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._syscall = self._libc.syscall
        self._syscall.argtypes = (ctypes.c_long,) * 7
        self._syscall.restype = ctypes.c_long
        self._prctl = self._libc.prctl
        self._prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
        self._capset = self._libc.capset
        void_p, size_t, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self._libc.mmap.argtypes = (void_p, size_t, number, number, number, ctypes.c_long)
        self._libc.mmap.restype = void_p
        self._libc.mprotect.argtypes = (void_p, size_t, number)
        self._libc.munmap.argtypes = (void_p, size_t)
        self._libc.connect.argtypes = (number, void_p, ctypes.c_uint)

    def call(self, number: int, *arguments: int) -> int:
        """A system call whose number is the same on every machine (those since Linux 5.0). Raises OSError."""
        return _checked(self._syscall(number, *arguments, *(0,) * (6 - len(arguments))))

    def prctl(self, option: int, *arguments: int) -> int:
        return _checked(self._prctl(option, *arguments, *(0,) * (4 - len(arguments))))

    def capset(self, header: bytes, data: bytes) -> None:
        _checked(self._capset(header, data))

    def map_page(self, content: bytes) -> int:
        """The address of a new page that holds `content` and cannot be written to any more."""
        size = os.sysconf("SC_PAGESIZE")
        address: int = self._libc.mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
        _checked(-1 if address == _MAP_FAILED else 0)
        ctypes.memmove(address, content, len(content))
        _checked(self._libc.mprotect(address, size, _PROT_READ))
        return address

    def unmap_page(self, address: int) -> None:
        _checked(self._libc.munmap(address, os.sysconf("SC_PAGESIZE")))

    def connect(self, fd: int, address: int, length: int) -> None:
        """connect(2) to the socket address that lies at `address`."""
        _checked(self._libc.connect(fd, address, length))


def _checked(result: int) -> int:
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
