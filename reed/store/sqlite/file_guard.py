"""Detects that the open files were deleted, replaced, moved or truncated: SQLite does not.

content.db, -wal, -shm   must have the device and inode of the open files
content.db-wal           must be as long as its frames, which the wal-index (-shm) counts

before each COMMIT                          length of the log                           1 us
after it, before the reply                  where the kernel says the open files are    3 us
every 0.1 s, and before a file is opened    everything                                 20 us

/proc/self/fd leads to another path for an open file that was moved, and to "… (deleted)" for one that was deleted or
replaced; os.stat takes several times as many instructions. Where content.db is reached by a link, which may be changed,
everything is checked each time.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import ExitStack, suppress

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
        self._names: tuple[tuple[bytes, bytes], ...] = ()  # of file and log: links in /proc, and where they lead
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
        if os.path.abspath(self.path) == os.path.realpath(self.path):
            links = [b"/proc/self/fd/%d" % each for each in (descriptor, self._open_log)]
            with suppress(OSError):  # no /proc
                self._names = tuple((link, os.readlink(link)) for link in links)

    def close(self) -> None:
        self._identities = self._names = ()
        self._opened.close()

    def problem(self, *, quick: bool) -> CallError | None:
        """None if all is well. `quick`: what a COMMIT can afford (see above)."""
        if quick and self._names and self.is_wal_complete and self._are_in_place():
            return None
        for path, identity in self._identities:
            try:
                found = os.stat(path)
            except OSError as error:
                return self._missing(path, error)
            if _identity(found) != identity:
                return self._replaced(path)
        return None if self.is_wal_complete else self._truncated()

    def _are_in_place(self) -> bool:
        for link, name in self._names:
            try:
                if os.readlink(link) != name:
                    return False
            except OSError:
                return False
        return True

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
