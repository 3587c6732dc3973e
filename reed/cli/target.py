"""The file that a command writes content to.

    FILE ── links of one's own are followed ─┬─ target: private temporary file beside it ── fsync ── rename
                                             └─ appending: what is there stays

In a folder that everyone may write to, as /tmp, a link or a FIFO that another user put there leads content elsewhere:
it is refused, whatever fs.protected_symlinks says.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

from reed.errors import ReedError
from reed.process_handle import user_name

_MAX_LINKS = 40
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def target(path: str) -> Iterator[BinaryIO]:
    """Whole under its name, or not at all.

    - is standard output; what is no regular file, as a FIFO or /dev/null, is written straight.
    """
    if path == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = _resolved(path)
    folder_path, name = os.path.split(path)
    folder = os.open(folder_path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = _status(name, folder)
        if status is not None and not stat.S_ISREG(status.st_mode):
            flags = os.O_WRONLY | os.O_CLOEXEC | (0 if stat.S_ISLNK(status.st_mode) else os.O_NOFOLLOW)
            with os.fdopen(os.open(name, flags, dir_fd=folder), "wb") as file:
                yield file
            return
        with _replacing(name, folder, _mode_of(status)) as file:
            yield file
    finally:
        os.close(folder)


def appending(path: str) -> IO[bytes]:
    """The file, to write more to its end, not buffered; made private. Another user's is refused in such a folder."""
    path = _resolved(path)
    if (status := _status(path)) is not None:
        _refuse_planted(path, status)
    nofollow = 0 if status is not None and stat.S_ISLNK(status.st_mode) else os.O_NOFOLLOW
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | nofollow, 0o600)
    return os.fdopen(fd, "ab", buffering=0)


@contextmanager
def _replacing(name: str, folder: int, mode: int) -> Iterator[BinaryIO]:
    """A file that takes the place of `name` in `folder` when all was written; only its user may read it until then."""
    new = f".{name[:200]}.{secrets.token_hex(8)}.new"
    try:
        with os.fdopen(os.open(new, _CREATE, 0o600, dir_fd=folder), "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder)
        raise
    os.fsync(folder)


def _resolved(path: str) -> str:
    """Where the links lead; each must be one's own, or in a folder that others may not write to."""
    for _ in range(_MAX_LINKS):
        status = _status(path)
        if status is None or stat.S_ISREG(status.st_mode):
            return path
        _refuse_planted(path, status)
        if not stat.S_ISLNK(status.st_mode):
            return path
        leads_to = os.path.join(os.path.dirname(path), os.readlink(path))
        if not os.path.lexists(leads_to) and os.path.exists(path):
            return path  # a link of /proc, as /dev/stdout is: what it shows is no path
        path = leads_to
    raise ReedError(f"{path}: too many links")


def _refuse_planted(path: str, status: os.stat_result) -> None:
    folder = os.stat(os.path.dirname(path) or ".")
    if folder.st_mode & stat.S_IWOTH and status.st_uid not in {os.geteuid(), folder.st_uid}:
        kind = "link" if stat.S_ISLNK(status.st_mode) else "file"
        raise ReedError(
            f"{path}: is a {kind} of user {user_name(status.st_uid)}, in a folder that everyone may write to",
            hint="name another file",
        )


def _status(path: str, folder: int | None = None) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _mode_of(status: os.stat_result | None) -> int:
    """That of the file that is replaced, if it is one's own, or what the umask leaves of a new one."""
    if status is not None and status.st_uid == os.geteuid():
        return stat.S_IMODE(status.st_mode)
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask
