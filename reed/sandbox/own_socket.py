"""The one address that a Lua plugin may connect to, so that it can reconnect after the core died.

A seccomp filter sees where the address of connect(2) is in memory, not its contents. So the filter allows only a page
that holds this address, is read-only and sealed (mseal). Before Linux 6.10, without mseal, machine code that was
injected through a bug in Lua could replace the page.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from reed.runtime_paths import MAX_SOCKET_PATH
from reed.sandbox.kernel import Kernel, SandboxError, Step, checked

_MSEAL = 462
_PROT_READ = 1
_AF_UNIX = 1
LENGTH = 110  # of struct sockaddr_un


class OwnSocket:
    """Sealed after the fork in the child, closed in the parent."""

    __slots__ = ("_kernel", "address")

    def __init__(self, kernel: Kernel, path: str) -> None:
        self._kernel = kernel
        content = _content(path)
        try:
            self.address = kernel.map_page()
        except OSError as error:
            raise SandboxError("own socket", error.strerror or str(error)) from None
        ctypes.memmove(self.address, content, LENGTH)

    def set_path(self, path: str) -> None:
        """Only before `seal`."""
        ctypes.memmove(self.address, _content(path), LENGTH)

    def seal(self, *, mseal: bool) -> Iterator[Step]:
        size = os.sysconf("SC_PAGESIZE")
        yield Step("own socket", "make its address read-only", self._kernel.mprotect, (self.address, size, _PROT_READ))
        if mseal:
            arguments = _MSEAL, self.address, size, 0, 0, 0, 0
            yield Step("own socket", "seal its address", self._kernel.syscall, arguments)

    def connect(self, fd: int) -> None:
        checked(self._kernel.connect(fd, self.address, LENGTH))

    def close(self) -> None:
        self._kernel.unmap_page(self.address)


def _content(path: str) -> bytes:
    name = os.fsencode(path)
    if len(name) > MAX_SOCKET_PATH:
        raise SandboxError("own socket", f"{path}: longer than {MAX_SOCKET_PATH} bytes")
    return struct.pack("=H108s", _AF_UNIX, name)


def has_mseal(kernel: Kernel) -> bool:
    try:
        kernel.call(_MSEAL, 0, 0, 0)
    except OSError:
        return False
    return True
