"""Write files: atomically by `replacing`, at the end by `appending`.

Links, FIFOs and files of other users in a world-writable folder such as /tmp are refused: they could redirect content.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from reed.atomic_file import errors_of, temporary
from reed.errors import ReedError
from reed.process_handle import user_name

_MAX_LINKS = 40


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """The file appears once it is complete. "-" is standard output; FIFOs and devices are written directly."""
    if path == "-":
        with errors_of("standard output"):
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    if not path:
        raise ReedError("'' is no file name", hint="- is standard output")
    given, path = path, _resolve(path)
    folder_path, name = os.path.split(path)
    with errors_of(given, name), _replacing(folder_path or ".", name) as file:
        yield file


@contextmanager
def _replacing(folder_path: str, name: str) -> Iterator[BinaryIO]:
    folder = os.open(folder_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not name:  # the path ends with a slash
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        status = _status(name, folder)
        if status is not None and not stat.S_ISREG(status.st_mode):
            flags = os.O_WRONLY | os.O_CLOEXEC | (0 if stat.S_ISLNK(status.st_mode) else os.O_NOFOLLOW)
            with os.fdopen(os.open(name, flags, dir_fd=folder), "wb") as file:
                yield file
            return
        with temporary(name, folder, _mode(status)) as file:
            yield file
    finally:
        os.close(folder)


@contextmanager
def appending(path: str) -> Iterator[IO[bytes]]:
    """An unbuffered file, created with mode 0600."""
    with errors_of(path), _opened_to_append(_resolve(path)) as file:
        yield file


def _opened_to_append(path: str) -> IO[bytes]:
    if (status := _status(path)) is not None:
        _refuse_planted(path, status)
    nofollow = 0 if status is not None and stat.S_ISLNK(status.st_mode) else os.O_NOFOLLOW
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | nofollow, 0o600)
    return os.fdopen(fd, "ab", buffering=0)


def _resolve(path: str) -> str:
    """Follow links; each must be the user's own, or in a folder that others cannot write to."""
    for _ in range(_MAX_LINKS):
        status = _status(path)
        if status is None or stat.S_ISREG(status.st_mode):
            return path
        _refuse_planted(path, status)
        if not stat.S_ISLNK(status.st_mode):
            return path
        destination = os.path.join(os.path.dirname(path), os.readlink(path))
        if not os.path.lexists(destination) and os.path.exists(path):
            return path  # a magic link of /proc, whose text is not a path
        path = destination
    raise ReedError(f"{path}: too many levels of symbolic links")


def _refuse_planted(path: str, status: os.stat_result) -> None:
    folder = os.stat(os.path.dirname(path) or ".")
    if folder.st_mode & stat.S_IWOTH and status.st_uid not in {os.geteuid(), folder.st_uid}:
        kind = "link" if stat.S_ISLNK(status.st_mode) else "file"
        raise ReedError(
            f"{path}: refused: a {kind} of user {user_name(status.st_uid)} in a world-writable folder",
            hint="name another file",
        )


def _status(path: str, folder: int | None = None) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _mode(status: os.stat_result | None) -> int:
    """That of the user's own file, else that of a new one."""
    if status is not None and status.st_uid == os.geteuid():
        return stat.S_IMODE(status.st_mode)
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask
