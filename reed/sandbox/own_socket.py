"""The one address that a Lua plugin may connect to, when the core has to be reached again after its death.

A filter sees of connect(2) where the address lies, not what it says. So it lies in a page of its own, which is made
read-only and sealed (mseal, Linux 6.10) before the filter allows that place alone: nobody in this process, not even
machine code that a broken Lua was made to run, can change, unmap or replace it. Before Linux 6.10 such code could.
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
LENGTH = 110  # of struct sockaddr_un: the same for every path


class OwnSocket:
    """Mapped before the fork, made final by `seal` after it, closed in the parent."""

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
        """Another path, as long as the process is not confined."""
        ctypes.memmove(self.address, _content(path), LENGTH)

    def seal(self, *, for_good: bool) -> Iterator[Step]:
        """From then on the address stays what it is; not for machine code, where the kernel has no mseal."""
        size = os.sysconf("SC_PAGESIZE")
        yield Step("own socket", "make its address read-only", self._kernel.mprotect, (self.address, size, _PROT_READ))
        if for_good:
            arguments = _MSEAL, self.address, size, 0, 0, 0, 0
            yield Step("own socket", "seal its address", self._kernel.syscall, arguments)

    def connect(self, fd: int) -> None:
        """Connect a Unix stream socket, as `socket.connect` with the path would. Raises OSError."""
        checked(self._kernel.connect(fd, self.address, LENGTH))

    def close(self) -> None:
        self._kernel.unmap_page(self.address)


def _content(path: str) -> bytes:
    name = os.fsencode(path)
    if len(name) > MAX_SOCKET_PATH:
        raise SandboxError("own socket", f"{path}: longer than {MAX_SOCKET_PATH} bytes")
    return struct.pack("=H108s", _AF_UNIX, name)


def seals(kernel: Kernel) -> bool:
    """This kernel has mseal."""
    try:
        kernel.call(_MSEAL, 0, 0, 0)
    except OSError:
        return False
    return True
