"""The two folders of a plugin: its own, which `require` reads, and its data folder, with the permission file_write.

Paths, and symbolic links in them, are resolved name by name from the folder's descriptor, which they cannot leave.
openat2 with RESOLVE_BENEATH would do the same, but old kernels and some seccomp profiles lack it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from reed.errors import CallError, Malformed, NotFound, PermissionDenied, ReedError
from reed.wire import strict_json

MAX_SOURCE = 1024 * 1024  # bytes of a Lua file
MAX_OPEN = 32
_READ = 65536
_MAX_LINKS = 40  # in one path, as in the kernel
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FLAGS = {
    b"r": os.O_RDONLY,
    b"w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    b"a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


class Folder:
    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._fd)

    def open(self, path: str, flags: int) -> int:
        with _PathResolver(self._fd, path) as resolver:
            fd = resolver.open(flags)
        if not stat.S_ISREG(os.fstat(fd).st_mode) and not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise PermissionDenied(f"{path}: not a regular file")
        return fd

    def remove(self, path: str) -> None:
        with _PathResolver(self._fd, path) as resolver:
            os.unlink(resolver.to_last(), dir_fd=resolver.folder)

    def rename(self, source: str, target: str) -> None:
        with _PathResolver(self._fd, source) as old, _PathResolver(self._fd, target) as new:
            os.rename(old.to_last(), new.to_last(), src_dir_fd=old.folder, dst_dir_fd=new.folder)


class _PathResolver:
    """Closes what it opened, and converts OSError."""

    def __init__(self, root: int, path: str) -> None:
        if path.startswith("/") or "\0" in path:
            raise PermissionDenied(f"{path!r}: paths are relative to the plugin's folder")
        names = [name for name in path.split("/") if name not in ("", ".")] or ["."]
        if ".." in names:
            raise PermissionDenied(f"{path!r}: '..' is not allowed")
        self._path = path
        self._names = names[::-1]  # the next one last
        self._folders = [os.dup(root)]
        self._links = 0

    def __enter__(self) -> _PathResolver:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        for fd in self._folders:
            os.close(fd)
        if isinstance(error, OSError):
            raise _converted(self._path, error) from None

    @property
    def folder(self) -> int:
        return self._folders[-1]

    def to_last(self) -> str:
        """Enters the folder of the last name, and returns the name."""
        while True:
            name = self._names.pop()
            if name == "..":
                self._up()
            elif not self._names:
                return name
            elif name != ".":
                self._down(name)
            if not self._names:
                return "."

    def open(self, flags: int) -> int:
        while True:
            name = self.to_last()
            try:
                return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600, dir_fd=self.folder)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
            self._expand_link(name)

    def _down(self, name: str) -> None:
        try:
            self._folders.append(os.open(name, _FOLDER, dir_fd=self.folder))
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):  # O_DIRECTORY gives ENOTDIR for a link
                raise
            self._expand_link(name)

    def _up(self) -> None:
        if len(self._folders) == 1:
            raise PermissionDenied(f"{self._path}: a symbolic link leads out of the plugin's folder")
        os.close(self._folders.pop())

    def _expand_link(self, name: str) -> None:
        try:
            target = os.readlink(name, dir_fd=self.folder)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory") from None  # a plain file on the way
        self._links += 1
        if target.startswith("/"):
            raise PermissionDenied(f"{self._path}: a symbolic link leads out of the plugin's folder")
        if self._links > _MAX_LINKS:
            raise PermissionDenied(f"{self._path}: more than {_MAX_LINKS} symbolic links")
        self._names += [part for part in target.split("/") if part not in ("", ".")][::-1] or ["."]


def _converted(path: str, error: OSError) -> ReedError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"{path}: no such file")
    return CallError(f"{path}: {error.strerror}")


def read_source(folder: Folder, path: str) -> bytes:
    fd = folder.open(path, os.O_RDONLY)
    try:
        source = os.read(fd, min(os.fstat(fd).st_size, MAX_SOURCE) + 1)
    except IsADirectoryError as error:
        raise _converted(path, error) from None
    finally:
        os.close(fd)
    if len(source) > MAX_SOURCE:
        raise Malformed(f"{path}: longer than {MAX_SOURCE} bytes")
    return source


class DataFiles:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._open: dict[bytes, int] = {}
        self._last = 0

    def open(self, path: bytes, mode: bytes) -> bytes:
        if len(self._open) >= MAX_OPEN:
            raise CallError(f"too many open files: {len(self._open)}", hint="close some")
        self._last += 1
        number = str(self._last).encode()
        self._open[number] = self._folder.open(os.fsdecode(path), _FLAGS[mode])
        return number

    def read(self, number: bytes, size: bytes) -> bytes:
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
        fd = self._folder.open(os.fsdecode(path), os.O_RDONLY)
        try:
            names = os.listdir(fd)
        except NotADirectoryError as error:
            raise _converted(os.fsdecode(path), error) from None
        finally:
            os.close(fd)
        return strict_json.dumps(sorted(names))

    def remove(self, path: bytes) -> None:
        self._folder.remove(os.fsdecode(path))

    def rename(self, source: bytes, target: bytes) -> None:
        self._folder.rename(os.fsdecode(source), os.fsdecode(target))

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
    os.makedirs(path, 0o700, exist_ok=True)
    data = DataFiles(Folder(path))
    names = ("open", "read", "write", "flush", "close", "list", "remove", "rename")
    return {f"file.{name}".encode(): getattr(data, name) for name in names}
