"""Replace a file atomically: a temporary file in its folder, fsync, rename. Readers see the old or the new content."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = ".new"  # ends the name of a temporary file


def update_file(path: str | os.PathLike[str], update: Callable[[bytes], bytes]) -> None:
    """Replace the content by `update` of it while the folder is locked; mode and owner stay."""
    path = os.path.realpath(path)
    folder_path, name = os.path.split(path)
    folder = os.open(folder_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        status = os.stat(path)
        with open(path, "rb") as file:
            old = file.read()
        content = update(old)
        if content == old:
            return
        with errors_of(path, name), temporary(name, folder, stat.S_IMODE(status.st_mode)) as new:
            new.write(content)
            with suppress(PermissionError):  # only root can change the owner
                os.fchown(new.fileno(), status.st_uid, status.st_gid)
    finally:
        os.close(folder)


@contextmanager
def errors_of(path: str, name: str = "") -> Iterator[None]:
    """Errors name the file `path`: those of write() name none, those of calls in its open folder name only `name`."""
    try:
        yield
    except OSError as error:
        if error.filename in (None, name) or str(error.filename).endswith(_NEW):
            error.filename = path
        raise


@contextmanager
def temporary(name: str, folder: int, mode: int) -> Iterator[BinaryIO]:
    """Renamed to `name` in `folder`, a descriptor, on success; removed on failure."""
    path = f".{name[:200]}.{os.urandom(8).hex()}{_NEW}"
    try:
        with os.fdopen(os.open(path, _CREATE, 0o600, dir_fd=folder), "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(path, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(path, dir_fd=folder)
        raise
    os.fsync(folder)
