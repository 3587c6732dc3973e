"""What a plugin writes to stdout and stderr, line by line.

    FIFO ── Capture ── PluginLog ──┬── the core's log, under the plugin's name
             │                     ├── <data_dir>/logs/NAME.log, bounded: then NAME.log.1
             │                     └── the last lines of the plugin, for its status
             └── the last words of this process, for the error that says why it ended

The FIFO is <runtime folder>/output/NAME.N, and both sides hold it open both ways: the core may die, and the plugin goes
on writing; what it wrote meanwhile waits for the next core, as much as a pipe holds. Then a write waits for that core.

Nothing a plugin writes can harm the core: a read takes a bounded number of bytes, a line a bounded length, what is
not printable is shown as text, what is not UTF-8 is replaced, and a full disk costs lines of the file alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.error_lines import ErrorLines
from reed.text import safe

READ_BYTES = 4096  # at a time
DRAIN_BYTES = 256 * 1024  # at the end of a process: more than a pipe holds
LINE_BYTES = 2000
LAST_LINES = 20
FILE_BYTES = 1024 * 1024


class PluginLog:
    """The lines of one plugin, of all its processes."""

    def __init__(
        self, name: str, path: Path, log: PeerLog, clock: Callable[[], float], file_bytes: int = FILE_BYTES
    ) -> None:
        self.path = path
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.name = name
        self._log = log
        self._clock = clock  # Unix seconds
        self._file_bytes = file_bytes
        self._lost = 0  # lines that the file could not take

    def write(self, lines: list[str]) -> list[str]:
        """Lines of one of its processes; gives them as they are shown."""
        lines = [safe(line) for line in lines if line.strip()]
        self.last_lines.extend(lines)
        for line in lines:
            self._log.info("%s: %s", self.name, line, peer=f"output of {self.name}")
        self._append(lines)
        return lines

    def note(self, text: str) -> None:
        """A line of the core about the plugin: for the file alone."""
        self._append([f"-- {safe(text)}"])

    def _append(self, lines: list[str]) -> None:
        if not lines:
            return
        stamp = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        missing = [f"-- {self._lost} lines are missing here"] if self._lost else []
        try:
            self._write_file("".join(f"{stamp} {line}\n" for line in missing + lines).encode())
        except OSError as error:
            if not self._lost:
                self._log.warning("%s: cannot write %s: %s", self.name, self.path, error.strerror, peer=self.name)
            self._lost += len(lines)
        else:
            self._lost = 0

    def _write_file(self, data: bytes) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            full = os.fstat(fd).st_size >= self._file_bytes
        finally:
            os.close(fd)
        if full:
            os.replace(self.path, f"{self.path}.1")


def open_fifo(path: Path, *, blocking: bool) -> int:
    """One end of an output FIFO, which is both. Raises OSError; what is no FIFO of our own is in the way."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if blocking else os.O_NONBLOCK))
    status = os.fstat(fd)
    if not stat.S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
        os.close(fd)
        raise OSError(errno.EEXIST, "is in the way and no FIFO of the core's own", str(path))
    return fd


class Capture:
    """Reads the pipe of one process, from its launch until the process and its output are at their end."""

    def __init__(self, loop: Loop, fd: int, log: PluginLog) -> None:
        """Takes over `fd`, the reading end."""
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._log = log
        self._rest = b""  # of a line that is not finished
        self.error_lines = ErrorLines()
        loop.watch(fd, self._readable)

    def last_words(self) -> str:
        """The end of an error about the process: `; its last lines: … | …`, or nothing. Stays when it is closed."""
        lines = " | ".join(self.error_lines)
        return f"; its last lines: {lines}" if lines else ""

    def drain(self) -> None:
        """Take what is in the pipe now."""
        left = DRAIN_BYTES
        while self._fd >= 0 and left > 0:
            taken = self._read()
            if not taken:
                return
            left -= taken

    def close(self) -> None:
        """Take what is in the pipe, and close it."""
        self.drain()
        self._end()

    def _readable(self) -> None:
        self._read()

    def _read(self) -> int:
        """Take one piece; gives its length."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._end()
            return 0
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LINE_BYTES:
            lines.append(self._rest[:LINE_BYTES])
            self._rest = self._rest[LINE_BYTES:]
        self._write(lines)
        return len(data)

    def _end(self) -> None:
        if self._fd < 0:
            return
        if self._rest:
            self._write([self._rest])
            self._rest = b""
        self._loop.unwatch(self._fd)
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = -1

    def _write(self, lines: list[bytes]) -> None:
        self.error_lines.extend(self._log.write([line[:LINE_BYTES].decode("utf-8", "replace") for line in lines]))
