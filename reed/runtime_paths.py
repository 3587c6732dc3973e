"""Paths in the runtime folder, on which the core, its clients and its plugins must agree."""

from __future__ import annotations

import errno
import os

MAX_SOCKET_PATH = 107  # bytes: sun_path has 108, the last one NUL
PRIVATE = "reed-cms"
_OPEN_FOLDERS = "/proc/self/fd"
MAX_SOCKET_NAME = MAX_SOCKET_PATH - len(f"{_OPEN_FOLDERS}/1048576/")


def used_folder(path: str | os.PathLike[str]) -> str:
    """`runtime_dir` itself, or a private folder below it if it is root's and others may write to it (a volume)."""
    path = os.fspath(path)
    try:
        status = os.stat(path)
    except OSError:
        return path  # the core creates it
    return os.path.join(path, PRIVATE) if status.st_uid == 0 and status.st_mode & 0o022 else path


class Address:
    """The address for bind(2) and connect(2). A long path goes through a descriptor, which the context keeps open."""

    __slots__ = ("_folder", "text")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError."""
        self.text = os.fspath(path)
        self._folder = -1
        length = len(os.fsencode(self.text))
        if length <= MAX_SOCKET_PATH:
            return
        folder, name = os.path.split(self.text)
        if len(os.fsencode(name)) > MAX_SOCKET_NAME or not os.path.exists(_OPEN_FOLDERS):
            reason = f"{length} bytes; the path of a socket may have {MAX_SOCKET_PATH}"
            raise OSError(errno.ENAMETOOLONG, f"{reason}, or its name {MAX_SOCKET_NAME} where /proc is mounted")
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.text = f"{_OPEN_FOLDERS}/{self._folder}/{name}"

    def __enter__(self) -> str:
        return self.text

    def __exit__(self, *_: object) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
