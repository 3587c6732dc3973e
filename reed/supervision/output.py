"""What a plugin writes to stdout and stderr, line by line.

    FIFO ── Capture ─┬─ PluginLog ── the core's log, <data_dir>/logs/NAME.log, and the last lines for the status
                     └─ ErrorLines, for the reason of its exit

Core and plugin both open the FIFO for reading and writing, so a plugin can write while no core runs, until the pipe is
full.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.text import safe

READ_BYTES = 4096
DRAIN_BYTES = 256 * 1024  # more than a pipe holds
DRAIN_LINES = 4000  # some 5 ms
LINE_BYTES = 2000
LAST_LINES = 20
MAX_ERROR_LINES = 3
FILE_BYTES = 1024 * 1024

_TRACE_HEADING = re.compile(
    r"Traceback \(most recent call last\):|stack (?:traceback|backtrace):|note: (?:run with|Some details are omitted)"
)
_GO_TRACE = re.compile(r"goroutine \d+ \[")


class PluginLog:
    def __init__(
        self, name: str, path: Path, log: PeerLog, clock: Callable[[], float], file_bytes: int = FILE_BYTES
    ) -> None:
        self.path = path
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.name = name
        self._log = log
        self._clock = clock  # Unix seconds
        self._file_bytes = file_bytes
        self._lost = 0  # lines missing from the file

    def write(self, lines: list[str]) -> list[str]:
        """Returns the lines escaped, without empty ones."""
        lines = [safe(line) for line in lines if line.strip()]
        self.last_lines.extend(lines)
        self._log.info_lines(lines, f"{self.name}: ", peer=f"output of {self.name}")
        self._append(lines)
        return lines

    def skip(self, count: int) -> None:
        """So many lines are missing before the next ones."""
        self._lost += count

    def note(self, text: str) -> None:
        """A line of the core's own, only in the file."""
        self._append([f"-- {safe(text)}"])

    def _append(self, lines: list[str]) -> None:
        if not lines:
            return
        seconds, milliseconds = divmod(round(self._clock() * 1_000_000) // 1000, 1000)
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"
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
        try:
            fd = self._open_file()
        except FileNotFoundError:  # somebody removed the folder of the logs
            self.path.parent.mkdir(mode=0o700)
            fd = self._open_file()
        try:
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            full = os.fstat(fd).st_size >= self._file_bytes
        finally:
            os.close(fd)
        if full:
            os.replace(self.path, f"{self.path}.1")

    def _open_file(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def open_fifo(path: Path, *, blocking: bool) -> int:
    """Raises OSError, also when the path is not the core's own FIFO."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if blocking else os.O_NONBLOCK))
    status = os.fstat(fd)
    if not stat.S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
        os.close(fd)
        raise OSError(errno.EEXIST, "exists and is not the core's FIFO", str(path))
    return fd


class ErrorLines:
    """The last lines that say what went wrong, without stack traces.

    error: seo: main.lua:4: no database      kept
      \tmain.lua:4: in upvalue 'deep'        dropped, like every indented line
    Traceback (most recent call last):       dropped; Python prints the error after the trace
    thread 'main' panicked at src/main.rs:3  kept, as is the message on the next line
    goroutine 1 [running]:                   dropped with all that follows; Go prints the error first
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_ERROR_LINES)
        self._in_go_trace = False

    def extend(self, lines: list[str]) -> None:
        if self._in_go_trace:
            return
        for at, line in enumerate(lines):
            if line.startswith("goroutine ") and _GO_TRACE.match(line):
                self._in_go_trace = True
                lines = lines[:at]
                break
        # From the end, since few of many are kept.
        kept = (line for line in reversed(lines) if not (line[:1].isspace() or _TRACE_HEADING.match(line)))
        self._lines.extend(reversed([*islice(kept, MAX_ERROR_LINES)]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)


class Capture:
    """Reads the output of one process. Owns `fd`."""

    def __init__(self, loop: Loop, fd: int, log: PluginLog) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._log = log
        self._partial = b""  # an unfinished line
        self.error_lines = ErrorLines()
        loop.watch(fd, self._readable)

    def tail(self) -> str:
        """`; its last lines: … | …` for the end of an error message, or "". Also works after `close`."""
        lines = " | ".join(self.error_lines)
        return f"; its last lines: {lines}" if lines else ""

    def drain(self) -> None:
        """Read what is left. Of very many lines the last ones are written, so that the loop is not held up."""
        left, data = DRAIN_BYTES, b""
        while self._fd >= 0 and left > 0 and (more := self._receive(left)):
            data += more
            left -= len(more)
        if data:
            lines = self._split(data)
            self._log.skip(max(len(lines) - DRAIN_LINES, 0))
            self._write(lines[-DRAIN_LINES:])

    def close(self) -> None:
        self.drain()
        self._close()

    def _readable(self) -> None:
        data = self._receive(READ_BYTES)
        if data:
            self._write(self._split(data))
        elif data is not None:
            self._close()

    def _receive(self, size: int) -> bytes | None:
        """None while there is nothing to read, b"" at the end of the output."""
        try:
            return os.read(self._fd, size)
        except BlockingIOError:
            return None

    def _split(self, data: bytes) -> list[bytes]:
        *lines, self._partial = (self._partial + data).split(b"\n")
        while len(self._partial) > LINE_BYTES:
            lines.append(self._partial[:LINE_BYTES])
            self._partial = self._partial[LINE_BYTES:]
        return lines

    def _close(self) -> None:
        if self._fd < 0:
            return
        if self._partial:
            self._write([self._partial])
            self._partial = b""
        self._loop.unwatch(self._fd)
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = -1

    def _write(self, lines: list[bytes]) -> None:
        self.error_lines.extend(self._log.write([line[:LINE_BYTES].decode("utf-8", "replace") for line in lines]))
