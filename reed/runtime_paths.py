"""Paths of the runtime folder, which the core, its clients and its plugins must agree on.

used_folder(path)    the folder that the core uses for this `runtime_dir`
Address(path)        what bind(2) and connect(2) take instead of a path of more than 107 bytes
"""

from __future__ import annotations

import errno
import os

MAX_SOCKET_PATH = 107  # bytes: sun_path has 108, the last one NUL
PRIVATE = "reed-cms"
_OPEN_FOLDERS = "/proc/self/fd"
MAX_SOCKET_NAME = MAX_SOCKET_PATH - len(f"{_OPEN_FOLDERS}/1048576/")


def used_folder(path: str | os.PathLike[str]) -> str:
    """The folder itself; a private one below it where it is a volume: root's, and others may write to it.

    A core that may change the mode of such a folder asks for that instead (core.runtime_folder).
    """
    path = os.fspath(path)
    try:
        status = os.stat(path)
    except OSError:
        return path  # it is made, or refused with the reason
    return os.path.join(path, PRIVATE) if status.st_uid == 0 and status.st_mode & 0o022 else path


class Address:
    """With `with`: `text` is good inside. A long path is led through a descriptor of its folder."""

    __slots__ = ("_folder", "text")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError: the folder is not there, or nothing makes the path short enough."""
        self.text = os.fspath(path)
        self._folder = -1
        length = len(os.fsencode(self.text))
        if length <= MAX_SOCKET_PATH:
            return
        folder, name = os.path.split(self.text)
        if len(os.fsencode(name)) > MAX_SOCKET_NAME or not os.path.exists(_OPEN_FOLDERS):
            reason = f"{length} bytes, and a socket's path takes {MAX_SOCKET_PATH}"
            raise OSError(errno.ENAMETOOLONG, f"{reason}, or {MAX_SOCKET_NAME} of its name where /proc is mounted")
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.text = f"{_OPEN_FOLDERS}/{self._folder}/{name}"

    def __enter__(self) -> str:
        return self.text

    def __exit__(self, *_: object) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
