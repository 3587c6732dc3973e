"""The two folders of a plugin: its own, to read Lua from, and its data folder, with the permission file_write.

A path is relative to its folder. It is walked name by name from the folder's descriptor, and no link is followed: what
is reached lies inside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

from reed.errors import CallError, Malformed, NotFound, PermissionDenied, ReedError
from reed.wire import strict_json

MAX_SOURCE = 1024 * 1024  # bytes of a Lua file
MAX_OPEN = 32
_READ = 65536
_FLAGS = {
    b"r": os.O_RDONLY,
    b"w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    b"a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


class Folder:
    """A folder that paths do not leave."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._fd)

    def open(self, path: str, flags: int) -> int:
        """A descriptor of a regular file, or of a folder."""
        parent, name = self._parent(path)
        try:
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600, dir_fd=parent)
        except OSError as error:
            raise _refused(path, error) from None
        finally:
            os.close(parent)
        if not stat.S_ISREG(os.fstat(fd).st_mode) and not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise PermissionDenied(f"{path}: no regular file")
        return fd

    def remove(self, path: str) -> None:
        parent, name = self._parent(path)
        try:
            os.unlink(name, dir_fd=parent)
        except OSError as error:
            raise _refused(path, error) from None
        finally:
            os.close(parent)

    def rename(self, source: str, target: str) -> None:
        from_fd, from_name = self._parent(source)
        try:
            to_fd, to_name = self._parent(target)
            try:
                os.rename(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
            finally:
                os.close(to_fd)
        except OSError as error:
            raise _refused(source, error) from None
        finally:
            os.close(from_fd)

    def _parent(self, path: str) -> tuple[int, str]:
        """The descriptor of the folder that holds `path` (the caller closes it), and the last name."""
        if path.startswith("/") or "\0" in path:
            raise PermissionDenied(f"{path!r}: paths are relative to the plugin's folder")
        names = [name for name in path.split("/") if name not in ("", ".")] or ["."]
        if ".." in names:
            raise PermissionDenied(f"{path!r}: a path does not lead upwards")
        fd = os.dup(self._fd)
        for name in names[:-1]:
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            except OSError as error:
                raise _refused(path, error) from None
            finally:
                os.close(fd)
            fd = below
        return fd, names[-1]


def _refused(path: str, error: OSError) -> ReedError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path}: no such file")
    return CallError(f"{path}: {error.strerror}")


def read_source(folder: Folder, path: str) -> bytes:
    """A Lua file of the plugin's folder."""
    fd = folder.open(path, os.O_RDONLY)
    try:
        source = os.read(fd, min(os.fstat(fd).st_size, MAX_SOURCE) + 1)
    except IsADirectoryError as error:
        raise _refused(path, error) from None
    finally:
        os.close(fd)
    if len(source) > MAX_SOURCE:
        raise Malformed(f"{path}: longer than {MAX_SOURCE} bytes")
    return source


class DataFiles:
    """The files that a plugin has open in its data folder, by number (sdk/files.lua)."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._open: dict[bytes, int] = {}
        self._last = 0

    def open(self, path: bytes, mode: bytes) -> bytes:
        if len(self._open) >= MAX_OPEN:
            raise CallError(f"{len(self._open)} files are open", hint="close some")
        self._last += 1
        number = str(self._last).encode()
        self._open[number] = self._folder.open(path.decode(), _FLAGS[mode])
        return number

    def read(self, number: bytes, size: bytes) -> bytes:
        """At most `size` bytes; none at the end of the file."""
        return bytes(self._try(os.read, number, min(int(size), _READ)))

    def write(self, number: bytes, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._try(os.write, number, rest) :]

    def flush(self, number: bytes) -> None:
        self._try(os.fsync, number)

    def close(self, number: bytes) -> None:
        fd = self._descriptor(number)
        del self._open[number]
        os.close(fd)

    def list(self, path: bytes) -> bytes:
        fd = self._folder.open(path.decode(), os.O_RDONLY)
        try:
            names = os.listdir(fd)
        except NotADirectoryError as error:
            raise _refused(path.decode(), error) from None
        finally:
            os.close(fd)
        return strict_json.dumps(sorted(names))

    def remove(self, path: bytes) -> None:
        self._folder.remove(path.decode())

    def rename(self, source: bytes, target: bytes) -> None:
        self._folder.rename(source.decode(), target.decode())

    def _descriptor(self, number: bytes) -> int:
        if number not in self._open:
            raise CallError("the file is closed")
        return self._open[number]

    def _try(self, operation: Any, number: bytes, *arguments: Any) -> Any:
        try:
            return operation(self._descriptor(number), *arguments)
        except OSError as error:
            raise CallError(str(error.strerror)) from None


def data_files(path: str) -> dict[bytes, Callable[..., bytes | None]]:
    """What sdk/files.lua asks for, on the data folder `path`."""
    os.makedirs(path, 0o700, exist_ok=True)
    data = DataFiles(Folder(path))
    names = ("open", "read", "write", "flush", "close", "list", "remove", "rename")
    return {f"file.{name}".encode(): getattr(data, name) for name in names}
