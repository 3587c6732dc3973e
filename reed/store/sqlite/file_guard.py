"""Detects that the open files were deleted, replaced, moved or truncated: SQLite does not.

content.db, -wal, -shm   must have the device and inode of the open files
content.db-wal           must be as long as its frames, which the wal-index (-shm) counts

before each COMMIT                          length of the log                           1 us
after it, before the reply                  content.db at its path; links of the log   10 us
every 0.1 s, and before a file is opened    everything                                 20 us
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import ExitStack

from reed.errors import CallError, StoreFailed

_LOG_HEADER, _FRAME_HEADER = 32, 24  # bytes in the log

# The wal-index ("WAL-mode File Format", 2.1), in the machine's byte order.
_INDEX_SIZE = 136
_FRAMES = struct.Struct("=16xI")  # mxFrame: frames in the log
_COPIED = struct.Struct("=96xI")  # nBackfill: frames copied into the file

_Identity = tuple[int, int]  # device and inode


class FileGuard:
    def __init__(self, path: str) -> None:
        self.path = path
        # SQLite follows links.
        self._log, self._index = (os.path.realpath(path) + suffix for suffix in ("-wal", "-shm"))
        self._identities: tuple[tuple[str, _Identity], ...] = ()  # empty while closed
        self._opened = ExitStack()

    def open(self, descriptor: int, page_size: int) -> None:
        """Call it after SQLite opened all three. `descriptor` is one of content.db."""
        # Closing any descriptor of the wal-index would drop SQLite's locks on it.
        index = os.open(self._index, os.O_RDONLY | os.O_CLOEXEC)
        self._opened.callback(os.close, index)
        self._counts = self._opened.enter_context(mmap.mmap(index, _INDEX_SIZE, prot=mmap.PROT_READ))
        self._open_log = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)  # SQLite has no locks on it
        self._opened.callback(os.close, self._open_log)
        self._frame_size = _FRAME_HEADER + page_size
        self._identities = (
            (self.path, _identity(os.fstat(descriptor))),
            (self._log, _identity(os.fstat(self._open_log))),
            (self._index, _identity(os.fstat(index))),
        )

    def close(self) -> None:
        self._identities = ()
        self._opened.close()

    def problem(self, *, quick: bool) -> CallError | None:
        """None if all is well. `quick` does not notice that the log or the wal-index was replaced."""
        for path, identity in self._identities[: 1 if quick else None]:
            try:
                found = os.stat(path)
            except OSError as error:
                return self._missing(path, error)
            if _identity(found) != identity:
                return self._replaced(path)
        if not self.is_wal_complete:
            return self._truncated()
        if quick and not os.fstat(self._open_log).st_nlink:
            return self.problem(quick=False)
        return None

    @property
    def frames(self) -> int:
        return int(_FRAMES.unpack_from(self._counts)[0]) if self._identities else 0

    @property
    def uncopied_frames(self) -> int:
        return self.frames - int(_COPIED.unpack_from(self._counts)[0]) if self._identities else 0

    @property
    def is_wal_complete(self) -> bool:
        """Does the open log have all its frames?"""
        if not self._identities:
            return True
        frames = self.frames
        needed = _LOG_HEADER + frames * self._frame_size if frames else 0
        return os.lseek(self._open_log, 0, os.SEEK_END) >= needed

    def _truncated(self) -> CallError:
        size = os.fstat(self._open_log).st_size
        return StoreFailed(
            f"{self._log} was truncated to {size} bytes while the core runs; no writes are accepted",
            hint="writes that only it held are lost: save what can be read (reed export), start the core again",
        )

    def _missing(self, path: str, error: OSError) -> CallError:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return StoreFailed(
                f"{path} cannot be checked: {error.strerror}", hint="no writes are accepted until it can"
            )
        return StoreFailed(
            f"{path} was deleted or moved away while the core runs; no writes are accepted", hint=self._hint(path)
        )

    def _replaced(self, path: str) -> CallError:
        return StoreFailed(
            f"{path} was replaced by another file while the core runs; no writes are accepted", hint=self._hint(path)
        )

    def _hint(self, path: str) -> str:
        if path == self.path:
            return "move it back, or save what this core still holds (reed export), then start the core again"
        return "move it back, or start the core again"


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino
