"""Are the store's files still the ones at their path?

SQLite goes on writing to a file that was deleted, and into a log that was cut short, without an error: what it commits
there is gone at the next start.

    content.db, -wal, -shm   must have, at their path, the device and inode of what is open
    content.db-wal           must be as long as its frames, which the wal-index (-shm) counts

    before a commit            the length of the log                                        1 us
    after it, before it is     the file at its path; is the log still linked anywhere?     10 us
    acknowledged               at most each 0.1 s, and before anything is opened: all      20 us

The answer says what is wrong now. A file that was moved away and comes back is the same file again.
"""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack

from reed.errors import CallError, StoreFailed
from reed.store.sqlite.checkpointer import FRAMES, INDEX_SIZE

_LOG_HEADER, _FRAME_HEADER = 32, 24  # bytes in the log

_Identity = tuple[int, int]  # device and inode


class FileGuard:
    def __init__(self, path: str) -> None:
        self.path = path
        # SQLite follows links, and has the other two beside the file itself.
        self._log, self._index = (os.path.realpath(path) + suffix for suffix in ("-wal", "-shm"))
        self._identities: tuple[tuple[str, _Identity], ...] = ()  # none while they are not open
        self._opened = ExitStack()

    def open(self, descriptor: int, page_size: int) -> None:
        """SQLite has opened all three. `descriptor` is one of the file itself."""
        # Closing any descriptor of the index drops SQLite's locks on it: this one is kept until SQLite has closed it.
        index = os.open(self._index, os.O_RDONLY | os.O_CLOEXEC)
        self._opened.callback(os.close, index)
        self._counts = self._opened.enter_context(mmap.mmap(index, INDEX_SIZE, prot=mmap.PROT_READ))
        self._open_log = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)  # without locks of SQLite
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

    def problem(self, *, quickly: bool = False) -> CallError | None:
        """What has become of the files; None: they are as they should be. `quickly`: who moved the log or the
        wal-index is not noticed."""
        for path, identity in self._identities[: 1 if quickly else None]:
            try:
                found = os.stat(path)
            except OSError as error:
                return self._missing(path, error)
            if _identity(found) != identity:
                return self._replaced(path)
        if not self.log_is_whole:
            return self._cut_short()
        if quickly and not os.fstat(self._open_log).st_nlink:
            return self.problem()
        return None

    @property
    def log_is_whole(self) -> bool:
        """Is all in the log that is open, wherever that is now?"""
        if not self._identities:
            return True
        (frames,) = FRAMES.unpack_from(self._counts)
        needed = _LOG_HEADER + frames * self._frame_size if frames else 0
        return os.lseek(self._open_log, 0, os.SEEK_END) >= needed

    def _cut_short(self) -> CallError:
        size = os.fstat(self._open_log).st_size
        return StoreFailed(
            f"{self._log} was truncated to {size} bytes while the core runs; no writes are accepted",
            hint="writes that only it held are lost: save what can be read (reed export), start the core again",
        )

    def _missing(self, path: str, error: OSError) -> CallError:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return StoreFailed(f"{path} cannot be checked: {error.strerror}", hint="no writes are accepted meanwhile")
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
