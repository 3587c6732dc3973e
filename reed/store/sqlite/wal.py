"""WAL checkpoint policy: who copies the log into the file, and when. That takes milliseconds, more after a long read.

    automatic   SQLite checkpoints in the commit that finds 250 pages in the log. But a job's snapshot holds the log
                back, and the commit after it may have thousands of pages to copy.
    assisted    a process checkpoints (checkpointer.py); the core only restarts the log

            many commits while jobs had snapshots          the process ended, was idle, or is too slow
    automatic ──────────────────────▶ assisted ──────────────────────────────────────────▶ automatic

Restarting the log: when nearly all is copied and no job has a snapshot, the core copies the last pages between two
turns, and SQLite's next write starts at the beginning of the log. If the log grows too long before that, new jobs and
the indexes wait (`is_behind`).
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from reed.errors import CallError
from reed.store.sqlite import checkpointer
from reed.store.sqlite.checkpointer import COPY_ALL, COPY_SOME, PROGRESS, Progress
from reed.store.sqlite.transaction import Transaction

_MANY_COMMITS, _MANY_SECONDS = 20, 1.0  # that many within so long start the process
_IDLE_TIMEOUT = 20.0  # seconds; then the process ends
_MAX_UNANSWERED = 4000  # commits until a process that does not answer is killed
_POLL_INTERVAL = 8  # commits between two requests
_LONG_FRAMES = 3000  # in the log: time to restart it
_CORE_FRAMES = 100  # that the core copies itself: about as many arrive while the checkpointer waits for the disk
_BEHIND_FRAMES = 8000  # in the log: indexes and new jobs wait


class FdWatcher(Protocol):
    """The part of a loop that is needed here."""

    def watch(self, fd: int, on_readable: Callable[[], None], /) -> None: ...
    def unwatch(self, fd: int, /) -> None: ...


class WalCheckpoints:
    def __init__(
        self,
        transaction: Transaction,
        has_snapshots: Callable[[], bool],
        on_due: Callable[[], None],
        loop: FdWatcher | None,
    ) -> None:
        """`has_snapshots`: does a job have one? `on_due` is called when there is work or `is_behind` ends. Without a
        loop the policy stays automatic."""
        self.has_work = False
        self.is_behind = False
        self._on_due = on_due
        self._database = transaction.database
        self._transaction = transaction
        self._has_snapshots = has_snapshots
        self._loop = loop
        self._recent: deque[float] = deque(maxlen=_MANY_COMMITS)  # times of commits during a job
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._commits = 0  # since the last request
        self._is_asked = self._is_asked_for_all = self._has_answered = False
        self._is_long = False
        self._core_frames = _CORE_FRAMES
        self._database.set_autocheckpoint(enabled=True)
        transaction.on_end.append(self._count_commit)

    def _count_commit(self, _error: CallError | None) -> None:
        if self._socket is not None:
            self._commits += 1
            if not self._is_asked and (self._is_long or self._commits >= _POLL_INTERVAL):
                self._ask(self._socket)
            elif self._commits >= _MAX_UNANSWERED:
                self._stop()
        elif self._loop is not None and self._has_snapshots():
            self._recent.append(now := time.monotonic())
            if len(self._recent) == _MANY_COMMITS and now - self._recent[0] < _MANY_SECONDS:
                self._start(self._loop)

    def poll_if_behind(self) -> None:
        """Ask the process now: while jobs and indexes wait there may be no commit."""
        if self.is_behind and self._socket is not None and not (self._is_asked or self.has_work):
            self._ask(self._socket)

    def work(self) -> None:
        """Copy the last pages, so that SQLite restarts the log. No transaction may be open."""
        self._on_due()  # the loop then runs its commit step, which accounts for the wait for the disk
        self._transaction.checkpoint()
        self._is_long = self.is_behind = self.has_work = False
        self._core_frames = _CORE_FRAMES

    def close(self) -> None:
        """End the process; call it before the file is closed, since the last one to close it truncates the log."""
        if self._socket is not None:
            self._stop()

    def _start(self, loop: FdWatcher) -> None:
        if self._database.file_problem():  # the process would open another file
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-I", "-S", checkpointer.__file__, self._database.path, str(_IDLE_TIMEOUT)]
            with theirs:
                self._process = subprocess.Popen(command, stdin=theirs.fileno())
        except OSError:  # no memory, no descriptors: stay automatic
            self._recent.clear()
            return
        ours.setblocking(False)
        self._socket = ours
        self._is_asked = self._has_answered = False
        self._database.set_autocheckpoint(enabled=False)
        loop.watch(ours.fileno(), self._read)

    def _stop(self) -> None:
        assert self._process is not None
        assert self._socket is not None
        assert self._loop is not None
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._process = self._socket = None
        self._is_long = self.is_behind = self.has_work = False
        self._recent.clear()
        if not self._has_answered:
            self._loop = None  # it cannot run here: do not try again
        self._database.set_autocheckpoint(enabled=True)
        self._on_due()

    def _ask(self, process: socket.socket) -> None:
        self._commits = 0
        self._is_asked = True
        self._is_asked_for_all = self._is_long and not self._has_snapshots()
        with suppress(OSError):  # it has ended: `_read` finds out
            process.send(COPY_ALL if self._is_asked_for_all else COPY_SOME)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            message = self._socket.recv(PROGRESS.size)
        except OSError:  # it was killed
            message = b""
        if not message:
            self._stop()
            return
        self._is_asked = False
        self._has_answered = True
        self._update(Progress(*PROGRESS.unpack(message)))
        if not self._has_snapshots():
            self.poll_if_behind()

    def _update(self, progress: Progress) -> None:
        self._is_long = progress.in_log >= _LONG_FRAMES
        self.is_behind = progress.in_log >= _BEHIND_FRAMES
        if self._is_asked_for_all and not self._has_snapshots():
            self.has_work = progress.left <= self._core_frames
            self._core_frames *= 2  # next time accept more, so that the core does not chase a busy log forever
        self._on_due()
