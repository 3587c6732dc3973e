"""Who copies the log (WAL) into the file, and when: that takes milliseconds, and more after a long read.

    automatic   SQLite does it itself in the commit that finds 250 pages in the log. But a job's snapshot holds the
                log back, and the commit after it may have thousands to copy.
    assisted    a process of its own does it (checkpointer); the core only begins the log anew

            many commits while jobs had snapshots          its process ended, was idle, or cannot keep pace
    automatic ──────────────────────▶ assisted ──────────────────────────────────────────▶ automatic

Beginning the log anew: once nearly all is copied and no job holds a snapshot, the core copies the last pages itself, as
work between two turns, and SQLite's next write starts at the log's beginning. If the log becomes too long before that,
because there is always a job or the disk is slow, new jobs and the index wait until it was done (`is_behind`).
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from reed.store.sqlite import checkpointer
from reed.store.sqlite.checkpointer import ANSWER, COPY_ALL, COPY_SOME, Answer
from reed.store.sqlite.database import Database
from reed.store.sqlite.transaction import Transaction

_MANY, _SECONDS = 20, 1.0  # commits within so long
_IDLE = 20.0  # seconds until the process ends
_PATIENCE = 4000  # commits while it does not answer
_EACH = 8  # commits between two questions
_LONG = 3000  # frames in the log: time to begin it anew
_FEW = 100  # frames that the core copies itself: about as many come while the checkpointer waits for the disk
_BEHIND = 8000  # frames: the index and new jobs wait


class Watch(Protocol):
    """The part of a loop that is needed here."""

    def watch(self, fd: int, on_readable: Callable[[], None], /) -> None: ...
    def unwatch(self, fd: int, /) -> None: ...


class WalCheckpoints:
    def __init__(
        self,
        database: Database,
        turn: Transaction,
        monotonic: Callable[[], float],
        has_job: Callable[[], bool],
        on_due: Callable[[], None],
        loop: Watch | None,
    ) -> None:
        """`has_job`: does one hold a snapshot? `on_due` is called when it has got work, or is no longer behind.
        Without a loop there never is a process."""
        self.has_work = False
        self.is_behind = False
        self._on_due = on_due
        self._database = database
        self._turn = turn
        self._monotonic = monotonic
        self._has_job = has_job
        self._loop = loop
        self._recent: deque[float] = deque(maxlen=_MANY)  # when commits were beside a job
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._commits = 0  # since the last question
        self._is_asked = self._is_asked_for_all = self._has_answered = False
        self._is_long = False  # the log
        self._few = _FEW
        database.copy_log(by_itself=True)

    def committed(self) -> None:
        """After each commit."""
        if self._socket is not None:
            self._commits += 1
            if not self._is_asked and (self._is_long or self._commits >= _EACH):
                self._ask(self._socket)
            elif self._commits >= _PATIENCE:
                self._stop()
        elif self._loop is not None and self._has_job():
            self._recent.append(now := self._monotonic())
            if len(self._recent) == _MANY and now - self._recent[0] < _SECONDS:
                self._start(self._loop)

    def hurry(self) -> None:
        """Ask now if it is behind: there may be no commit soon."""
        if self.is_behind and self._socket is not None and not (self._is_asked or self.has_work):
            self._ask(self._socket)

    def work(self) -> None:
        """Copy the last pages, so that the log begins anew; the turn must be closed."""
        self._on_due()  # so that what it waits for the disk is not the turn's
        self._turn.checkpoint()
        self._is_long = self.is_behind = self.has_work = False
        self._few = _FEW

    def close(self) -> None:
        """The process may be ended at any time, and must be before the file is closed: who closes it last tidies up."""
        if self._socket is not None:
            self._stop()

    def _start(self, loop: Watch) -> None:
        if self._database.lost():  # it would open what is at the path
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-I", "-S", checkpointer.__file__, self._database.path, str(_IDLE)]
            with theirs:
                self._process = subprocess.Popen(command, stdin=theirs.fileno())
        except OSError:  # no memory, no descriptors: SQLite goes on by itself
            self._recent.clear()
            return
        ours.setblocking(False)
        self._socket = ours
        self._is_asked = self._has_answered = False
        self._database.copy_log(by_itself=False)
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
            self._loop = None  # it cannot run here
        self._database.copy_log(by_itself=True)
        self._on_due()

    def _ask(self, process: socket.socket) -> None:
        self._commits = 0
        self._is_asked = True
        self._is_asked_for_all = self._is_long and not self._has_job()
        with suppress(OSError):  # it has ended: _read is told
            process.send(COPY_ALL if self._is_asked_for_all else COPY_SOME)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            message = self._socket.recv(ANSWER.size)
        except OSError:  # it was killed
            message = b""
        if not message:
            self._stop()
            return
        self._is_asked = False
        self._has_answered = True
        self._take(Answer(*ANSWER.unpack(message)))
        if not self._has_job():
            self.hurry()

    def _take(self, answer: Answer) -> None:
        self._is_long = answer.in_log >= _LONG
        self.is_behind = answer.in_log >= _BEHIND
        if self._is_asked_for_all and not self._has_job():
            self.has_work = answer.left <= self._few
            # Should it not do: the longer the log the longer it takes, and the core must not run after it.
            self._few *= 2
        self._on_due()
