"""The log of `reed serve`: stderr, or a file that is rotated.

stdout and stderr are redirected to the file, so output of Python and libraries goes there too. SIGHUP reopens it, as
logrotate expects. Lines that cannot be written are counted; the count precedes the next line.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from reed.errors import ReedError

_STDOUT, _STDERR = 1, 2


class LogHandler(logging.Handler):
    """Each line is one write(2)."""

    def __init__(self, path: Path | None, max_bytes: int) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        self._path = None if path is None else path.resolve()  # a link's target is renamed, not the link
        self._max_bytes = max_bytes
        self._lost = 0

    def reopen(self) -> None:
        """Raises ReedError, and then keeps logging to the old file."""
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
            self._rotate_if_full(self._path)

    def _rotate_if_full(self, path: Path) -> None:
        now = os.fstat(_STDERR)
        if now.st_size < self._max_bytes or not stat.S_ISREG(now.st_mode):
            return
        try:
            if os.path.samestat(os.lstat(path), now):  # otherwise somebody has already renamed it
                os.replace(path, f"{path}.1")
        except FileNotFoundError:
            pass
        except OSError:
            os.ftruncate(_STDERR, 0)  # stay bounded anyway
            return
        try:
            self.reopen()
        except ReedError:
            os.ftruncate(_STDERR, 0)


def open_log(path: Path) -> int:
    """Raises ReedError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "set another log_file in reed.yaml"
        raise ReedError(f"cannot write the log {path}: {error.strerror}", hint=hint) from None
