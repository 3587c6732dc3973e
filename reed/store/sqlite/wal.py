"""WAL checkpoints: a worker copies the log into the file, so no commit has to.

    long     LONG frames: a job of the indexer copies what no snapshot needs
    behind   BEHIND frames: workers pause meanwhile, because their snapshots hold the log back
    held     by a snapshot of another program, such as a backup: tried again LONG frames later

The core copies the last few frames itself, so that SQLite's next write starts at the beginning of the log, which would
otherwise grow without end under constant writes.
"""

from __future__ import annotations

from reed.errors import CallError
from reed.store.sqlite.files import Source
from reed.store.sqlite.transaction import Transaction
from reed.store.workers import THE_STORE, Deadline, Release, Workers

LONG = 1000  # frames, of 4 KB
BEHIND = 8000
_CORE_FRAMES = 100  # that the core copies, in about 1 ms
_MAX_PASSES = 8  # of the indexer in a row


class WalCheckpoints:
    def __init__(
        self, transaction: Transaction, source: Source, indexer: Workers, readers: Workers, deadline: Deadline
    ) -> None:
        self._transaction = transaction
        self._source = source
        self._indexer = indexer
        self._readers = readers
        self._deadline = deadline
        self._is_running = False
        self._core_frames = _CORE_FRAMES
        self._next = 0  # frames from which on the next attempt is made
        self.has_work = False  # for the core
        transaction.on_end.append(self._ended)

    def _ended(self, _error: CallError | None) -> None:
        frames = self._transaction.database.wal_frames
        if frames < LONG:
            self._next = 0
        if frames < max(LONG, self._next) or self._is_running:
            return
        self._is_running = True
        if frames < BEHIND:
            self._copy(lambda: None, self._copied)
        else:
            self._readers.hold(lambda release: self._copy(release, self._copied))

    @property
    def _copied(self) -> int:
        return self._transaction.database.wal_frames - self._transaction.database.uncopied_frames

    def _copy(self, release: Release, before: int, passes: int = 1) -> None:
        """`before`: frames that are copied."""

        def done(_: None) -> None:
            database = self._transaction.database
            self.has_work = database.uncopied_frames <= self._core_frames
            is_held = not self.has_work and self._copied == before
            if not self.has_work and not is_held and passes < _MAX_PASSES:
                self._copy(release, self._copied, passes + 1)
                return
            if is_held:
                self._next = database.wal_frames + LONG
            else:  # on a slow disk writes outrun the indexer
                self._core_frames = _CORE_FRAMES if self.has_work else self._core_frames * 2
            self._is_running = self.has_work
            release()
            self._transaction.wake()

        def failed(_error: CallError) -> None:  # the next commit tries again
            self._is_running = False
            release()

        arguments = (tuple(self._source),)
        self._indexer.submit("checkpoint", arguments, done, failed, origin=THE_STORE, deadline=self._deadline)

    def work(self) -> None:
        """Copy the rest. No transaction may be open."""
        self._transaction.checkpoint()
        self.has_work = self._is_running = False
