"""A file that somebody else reads is replaced whole: temporary file, fsync, rename, fsync of the folder.

On a full disk the file stays as it was (architecture.md#runtime-folder). The folder is locked meanwhile:
nobody's change is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path


def change(path: Path, changed: Callable[[bytes], bytes]) -> None:
    """Give the file the contents that `changed` makes of those it has; what that raises leaves it as it is.

    Mode and owner stay; a link stays one, and leads to the new contents. Raises OSError.
    """
    path = Path(os.path.realpath(path))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        new = changed(path.read_bytes())
        _replace(path, new, os.stat(path))
        os.fsync(folder)
    finally:
        os.close(folder)


def _replace(path: Path, data: bytes, old: os.stat_result) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            with contextlib.suppress(PermissionError):  # only root gives files away
                os.fchown(fd, old.st_uid, old.st_gid)
            os.fchmod(fd, old.st_mode & 0o7777)
            os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
