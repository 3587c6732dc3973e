"""The core's side of the search index (store.md#search-index).

    writes         a row in `stale` for each changed or deleted snippet; nothing for a new one
    first write    one snippet is indexed at once: so the indexer is there when the many that may follow are written
    pause          indexing goes on when no write came for a moment, unless a search waits or too much is behind
    the indexer    a worker that reads what is committed and writes the index (`indexing`), a slice for each job
    its answers    how far it has come: rows of `stale` up to there are deleted, and searches that waited begin

A search waits for everything committed before it, unless the index cannot be written (a full disk).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from reed.errors import CallError
from reed.store.ids import Ids
from reed.store.sqlite.files import Source
from reed.store.sqlite.index_file import OpenIndex, Progress
from reed.store.sqlite.transaction import Transaction
from reed.store.types import Type
from reed.store.workers import THE_STORE, Deadline, Workers

SLICE_SECONDS = 0.1  # of one job: a search waits for the slice that it needs
PAUSE_SECONDS = 0.1  # without writes, with which the indexer would compete
MAX_BEHIND = 50_000  # snippets, for which writes wait no longer
_MAX_TRIMMED = 500  # rows of `stale` deleted at a time

Ready = Callable[[CallError | None], None]
CallLater = Callable[[float, Callable[[], None]], object]


class _Waiter(NamedTuple):
    needs: Progress
    ready: Ready


class SearchIndex:
    def __init__(
        self,
        transaction: Transaction,
        ids: Ids,
        source: Source,
        indexer: Workers,
        deadline: Deadline,
        call_later: CallLater,
    ) -> None:
        self._transaction = transaction
        self._writer = transaction.writer
        self._ids = ids
        self._source = source
        self._indexer = indexer
        self._deadline = deadline
        self._waiters: deque[_Waiter] = deque()
        self._call_later = call_later
        self._is_pausing = False  # a timer runs
        self._writes = 0  # committed transactions with something to index
        self._is_running = False  # a job is out
        self._is_touched = False  # something to index was written in this transaction
        self._added = 0  # snippets to index: by this transaction …
        self._left = 0  # snippets to index, by committed ones
        self._committed = Progress()  # of an index with everything that is committed
        self._index = OpenIndex(source)
        self._progress = self._index.progress()
        self._load()
        transaction.join(self)
        transaction.on_end.append(self._ended)
        if self.behind:
            self._start(SLICE_SECONDS)

    def _load(self) -> None:
        execute = self._writer.execute
        self._generation, after = execute("SELECT generation, after FROM reindex").fetchone()
        first, last = execute("SELECT min(mark), max(mark) FROM stale").fetchone()
        self._first_mark = first or 0  # 0: no rows
        self._last_mark = max(last or 0, self._progress.mark)
        self._committed = Progress(self._generation, max(self._ids.last, self._committed.indexed_to), self._last_mark)
        beyond = self._progress.indexed_to
        if self._progress.generation != self._generation:
            beyond = min(beyond, after)
        (new,) = execute("SELECT count(*) FROM snippets WHERE sequence > ?", (beyond,)).fetchone()
        (stale,) = execute("SELECT count(*) FROM stale WHERE mark > ?", (self._progress.mark,)).fetchone()
        self._left = new + stale

    @property
    def behind(self) -> int:
        """Number of snippets that are not indexed yet, about."""
        return self._left + self._added

    # Writes.

    def created(self) -> None:
        self._is_touched = True  # `_touch`, without a call for each of many creates
        self._added += 1

    def changed(self, sequence: int) -> None:
        """A snippet was updated, deleted, restored, or is to be indexed again."""
        self._transaction.begin()
        self._last_mark += 1
        # A new mark: the indexer may be beyond an earlier one.
        self._writer.execute("INSERT OR REPLACE INTO stale VALUES (?, ?)", (self._last_mark, sequence))
        self._first_mark = self._first_mark or self._last_mark
        self._touch(1)

    def redefined(self, new: Type, old: Type | None, count: int) -> None:
        if old is not None and sorted(old.columns) != sorted(new.columns):
            (first,) = self._writer.execute("SELECT min(sequence) FROM snippets WHERE type = ?", (new.name,)).fetchone()
            if first is not None:
                self._go_back(first - 1, count)

    def reindex(self, count: int) -> None:
        """Index everything again; `count`: the number of snippets."""
        self._go_back(0, count)

    def _go_back(self, after: int, count: int) -> None:
        self._transaction.begin()
        if self._progress.generation != self._generation:  # the indexer has not gone back yet
            (earlier,) = self._writer.execute("SELECT after FROM reindex").fetchone()
            after = min(after, earlier)
        self._generation += 1
        self._writer.execute("UPDATE reindex SET generation = ?, after = ?", (self._generation, after))
        self._touch(count)

    def _touch(self, count: int) -> None:
        self._is_touched = True
        self._added += count

    def settle(self, committed: bool) -> None:
        added, self._added = self._added, 0
        if committed:
            self._left += added
            self._committed = Progress(self._generation, self._ids.last, self._last_mark)
        elif self._is_touched:
            self._load()

    def _ended(self, error: CallError | None) -> None:
        is_touched, self._is_touched = self._is_touched, False
        if is_touched and error is None:
            self._writes += 1
            if not self._is_pausing and not self._is_running:  # the first write after a pause
                self._start(0.0)
            self._start_in_pause()

    def _start_in_pause(self) -> None:
        if self._waiters or self._left > MAX_BEHIND:
            self._start(SLICE_SECONDS)
        elif not self._is_pausing and not self._is_running:
            self._is_pausing = True
            self._call_later(PAUSE_SECONDS, partial(self._pause_ended, self._writes))

    def _pause_ended(self, writes: int) -> None:
        self._is_pausing = False
        if self._writes == writes:
            self._start(SLICE_SECONDS)
        else:
            self._start_in_pause()

    # Searches.

    def when_caught_up(self, ready: Ready) -> None:
        """Call `ready` when everything committed by now is indexed; with an error if that fails."""
        if self._has(self._committed):
            ready(None)
        else:
            self._waiters.append(_Waiter(self._committed, ready))
            self._start(SLICE_SECONDS)

    def _has(self, needs: Progress) -> bool:
        return all(done >= needed for done, needed in zip(self._progress, needs, strict=True))

    # Jobs.

    def _start(self, seconds: float) -> None:
        """Have a slice indexed, of `seconds` and one snippet at least."""
        if not self._is_running:
            self._is_running = True
            target = self._waiters[0].needs.indexed_to if self._waiters else 0
            arguments = (tuple(self._source), self._committed.indexed_to, seconds, target)
            self._indexer.submit(
                "index", arguments, self._done, self._failed, origin=THE_STORE, deadline=self._deadline
            )

    def _done(self, answer: tuple[tuple[int, int, int], int, bool]) -> None:
        progress, count, is_left = answer
        self._is_running = False
        self._index.refresh()
        self._progress = Progress(*progress)
        is_current = self._has(self._committed)
        self._left = 0 if is_current and not is_left else max(self._left - count, 0)
        while self._waiters and self._has(self._waiters[0].needs):
            self._waiters.popleft().ready(None)
        if is_left or not is_current:
            self._start_in_pause()
        if self.has_work:
            self._transaction.wake()

    def _failed(self, error: CallError) -> None:
        """The next write or search tries again."""
        self._is_running = False
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter.ready(error)

    def close(self) -> None:
        self._index.close()

    # Tidying.

    @property
    def has_work(self) -> bool:
        return 0 < self._first_mark <= self._progress.mark

    def work(self, _until: float) -> None:
        """Delete some indexed rows of `stale`. A power cut may bring them back, harmlessly."""
        self._transaction.commit()
        self._transaction.begin_unsynced()
        last = min(self._first_mark + _MAX_TRIMMED, self._progress.mark)
        self._writer.execute("DELETE FROM stale WHERE mark <= ?", (last,))
        (first,) = self._writer.execute("SELECT min(mark) FROM stale").fetchone()
        self._first_mark = first or 0
