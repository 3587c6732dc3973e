"""Where the core of `reed serve` logs: stderr, or a file that is bounded.

    log_file set     stdout and stderr become the file: what Python or a library complains about goes there too
    it is full       the file is renamed to FILE.1 (the older one of that name is gone), and a new one is opened
    SIGHUP           the file is opened again, as logrotate expects after it has renamed it

A line that the disk does not take is counted; the count precedes the next line that it takes.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from reed.errors import ReedError

_STDOUT, _STDERR = 1, 2


class LogHandler(logging.Handler):
    """Writes each line to stderr with one write(2), and keeps the file there bounded."""

    def __init__(self, path: Path | None, most_bytes: int) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        self._path = None if path is None else path.resolve()  # a link stays, and what it leads to is renamed
        self._most_bytes = most_bytes
        self._lost = 0

    def reopen(self) -> None:
        """Log to the file that has the path now. ReedError: it cannot be opened, and the log stays where it is."""
        if self._path is not None:
            fd = open_log(self._path)
            os.dup2(fd, _STDOUT)
            os.dup2(fd, _STDERR)
            os.close(fd)

    def emit(self, record: logging.LogRecord) -> None:
        missing = f"-- {self._lost} lines are missing here\n" if self._lost else ""
        data = f"{missing}{self.format(record)}\n".encode("utf-8", "backslashreplace")
        try:
            is_whole = os.write(_STDERR, data) == len(data)
        except OSError:
            is_whole = False
        self._lost = 0 if is_whole else self._lost + 1
        if self._path is not None:
            self._look_at_size(self._path)

    def _look_at_size(self, path: Path) -> None:
        now = os.fstat(_STDERR)
        if now.st_size < self._most_bytes or not stat.S_ISREG(now.st_mode):
            return
        try:
            if os.path.samestat(os.lstat(path), now):  # else somebody has renamed it already
                os.replace(path, f"{path}.1")
        except FileNotFoundError:
            pass
        except OSError:
            os.ftruncate(_STDERR, 0)  # its folder takes no other file: bounded all the same
            return
        try:
            self.reopen()
        except ReedError:
            os.ftruncate(_STDERR, 0)


def open_log(path: Path) -> int:
    """The log file, to append to."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "name another by log_file in reed.yaml"
        raise ReedError(f"cannot write the log {path}: {error.strerror}", hint=hint) from None
