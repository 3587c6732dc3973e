"""The full-text index: updated behind the writes, ahead of the searches.

A write only records what has to be indexed, in its own transaction:

    new snippets          all beyond `indexed_to`, in creation order; a CREATE writes nothing more
    changed or deleted    a row in `stale`, with a rising mark
    index again           `indexed_to` moves back

`work` indexes a slice of both kinds alternately, and merges segments of the FTS5 index: a little after each slice, only
that if there are too many. (FTS5's own merging would take up to 0.3 s in one write.)

A search waits (`when_caught_up`) until everything committed before it is indexed. If the index cannot be written (a
full disk), searches do not wait: they see what is indexed.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from reed.errors import CallError
from reed.store.folding import fold, is_plain, segment
from reed.store.ids import Ids
from reed.store.search_text import WEIGHTS, texts_by_column
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.types import Types
from reed.store.types import Type

_PAGES_PER_SECOND = 8000  # merged, about
_MIN_PAGES = 4  # in one step of merging, which ends with a term: the commonest takes more
_MAX_SEGMENTS = 64
_SECOND_LAYOUT = b"\xff\x00\x00\x01"  # of FTS5's structure record, since SQLite 3.43

_COLUMNS = ", ".join(f"w{number}" for number in range(len(WEIGHTS)))
_PUT = f"INSERT OR REPLACE INTO search (rowid, written, {_COLUMNS}) VALUES (?, ?{', ?' * len(WEIGHTS)})"
_MERGE = "INSERT INTO search (search, rank) VALUES ('merge', ?)"
_STRUCTURE = "SELECT block FROM search_data WHERE id = 10"
_DROP = "DELETE FROM search WHERE rowid = ?"


class _Waiter(NamedTuple):
    mark: int  # all rows of `stale` up to this mark must be indexed,
    sequence: int  # and all snippets up to this one
    ready: Callable[[CallError | None], None]


class SearchIndex:
    def __init__(self, transaction: Transaction, types: Types, ids: Ids) -> None:
        self._transaction = transaction
        self._writer = transaction.writer
        self._types = types
        self._ids = ids
        self._waiters: deque[_Waiter] = deque()
        self._next_mark = 1
        self._has_written = False  # a slice, in this transaction
        self._is_merged = True
        self._is_paused = False  # a slice could not be written: wait for another write to succeed
        self._load()
        transaction.join(self)
        transaction.on_end.append(self._wake_waiters)

    def _load(self) -> None:
        execute = self._writer.execute
        (self._indexed_to,) = execute("SELECT indexed_to FROM progress").fetchone()
        self._stale, first, last = execute("SELECT count(*), min(mark), max(mark) FROM stale").fetchone()
        self._next_mark = max(self._next_mark, (last or 0) + 1)
        self._marks_done = (first or self._next_mark) - 1
        (self._beyond,) = execute("SELECT count(*) FROM snippets WHERE sequence > ?", (self._indexed_to,)).fetchone()

    @property
    def behind(self) -> int:
        """Number of snippets that are not indexed yet."""
        return int(self._stale + self._beyond)

    @property
    def has_work(self) -> bool:
        return not self._is_paused and (self.behind > 0 or not self._is_merged)

    @property
    def has_waiters(self) -> bool:
        return bool(self._waiters)

    # Writes.

    def created(self) -> None:
        self._beyond += 1

    def restored(self, sequence: int) -> None:
        """A snippet was created with an old id."""
        if sequence > self._indexed_to:
            self._beyond += 1
        else:
            self._mark(sequence)

    def changed(self, sequence: int) -> None:
        """A snippet was updated, or is to be indexed again."""
        if sequence <= self._indexed_to:
            self._mark(sequence)

    def deleted(self, sequence: int) -> None:
        if sequence > self._indexed_to:
            self._beyond -= 1
        self._mark(sequence)  # beyond `indexed_to` too: it may have an entry from before that moved back

    def redefined(self, new: Type, old: Type | None) -> None:
        """Index the type's snippets again if its searchable fields have changed."""
        if old is not None and sorted(old.columns) != sorted(new.columns):
            (first,) = self._writer.execute("SELECT min(sequence) FROM snippets WHERE type = ?", (new.name,)).fetchone()
            if first is not None:
                (count,) = self._writer.execute(
                    "SELECT count(*) FROM snippets WHERE sequence >= ?", (first,)
                ).fetchone()
                self._go_back(first - 1, count)

    def reindex(self, count: int) -> None:
        """Index everything again; `count` is the number of snippets, which would take long to count."""
        self._go_back(0, count)

    def when_caught_up(self, ready: Callable[[CallError | None], None]) -> None:
        """Call `ready` when everything committed by now is indexed, with an error if the index cannot be written."""
        if self.behind:
            self._is_paused = False
            self._waiters.append(_Waiter(self._next_mark - 1, self._ids.last, ready))
        else:
            ready(None)

    def work(self, until: float) -> None:
        """Index for a third of the time, at least one snippet, and merge a little: that, the new segment and the COMMIT
        take the rest. With too many segments merge for a third instead."""
        self._transaction.commit()  # so that a failing slice does not fail the turn's writes
        self._transaction.begin_unsynced()
        self._has_written = True
        now = time.monotonic()
        seconds = max(until - now, 0.0) / 3
        pages = max(int(seconds * _PAGES_PER_SECOND), _MIN_PAGES)
        if self._segments() >= _MAX_SEGMENTS and self._merge(pages):
            while time.monotonic() < now + seconds and self._merge(pages):
                pass
        else:
            self._index(now + seconds)
            self._is_merged = not self._merge(pages)

    def _index(self, until: float) -> None:
        moved = self._indexed_to
        for progress in self._steps():
            if not progress or time.monotonic() >= until:
                break
        if self._indexed_to != moved:
            self._writer.execute("UPDATE progress SET indexed_to = ?", (self._indexed_to,))

    def _merge(self, pages: int) -> bool:
        """False when there is nothing to merge."""
        before = self._writer.total_changes
        self._writer.execute(_MERGE, (pages,))
        return self._writer.total_changes - before >= 2  # the command itself counts as one

    def _segments(self) -> int:
        """The second number in FTS5's structure record."""
        (structure,) = self._writer.execute(_STRUCTURE).fetchone()
        numbers = structure[8:] if structure[4:8] == _SECOND_LAYOUT else structure[4:]
        _, numbers = _varint(numbers)  # levels
        return _varint(numbers)[0]

    def settle(self, committed: bool) -> None:
        if committed:
            self._is_paused = False
        else:
            self._is_paused = self._is_paused or self._has_written
            self._load()
        self._has_written = False

    def _wake_waiters(self, error: CallError | None) -> None:
        while self._waiters and (self._is_paused or self._is_ready(self._waiters[0])):
            self._waiters.popleft().ready(error if self._is_paused else None)

    def _is_ready(self, waiter: _Waiter) -> bool:
        stale_done = not self._stale or self._marks_done >= waiter.mark
        return stale_done and (not self._beyond or self._indexed_to >= waiter.sequence)

    def _steps(self) -> Iterator[bool]:
        """Index a stale snippet, a new one, a stale one, …; yields False at the end."""
        while self.behind:
            if self._stale:
                yield self._index_stale()
            if self._beyond:
                yield self._index_next()
        yield False

    def _index_stale(self) -> bool:
        mark, sequence = self._writer.execute("SELECT mark, sequence FROM stale ORDER BY mark LIMIT 1").fetchone()
        row = self._writer.execute("SELECT type, content FROM snippets WHERE sequence = ?", (sequence,)).fetchone()
        if row is None:
            self._writer.execute(_DROP, (sequence,))
        else:
            self._put(sequence, *row)
        self._writer.execute("DELETE FROM stale WHERE mark = ?", (mark,))
        self._stale -= 1
        self._marks_done = mark
        return True

    def _index_next(self) -> bool:
        row = self._writer.execute(
            "SELECT sequence, type, content FROM snippets WHERE sequence > ? ORDER BY sequence LIMIT 1",
            (self._indexed_to,),
        ).fetchone()
        self._put(*row)
        self._indexed_to = row[0]
        self._beyond -= 1
        return True

    def _put(self, sequence: int, type_name: str, content: bytes) -> None:
        texts = texts_by_column(self._types.get(type_name).columns, content)
        written = [text for text in texts if text]
        if not written:
            self._writer.execute(_DROP, (sequence,))
        elif all(map(is_plain, written)):
            self._writer.execute(_PUT, (sequence, "", *texts))
        else:
            folded = [segment(fold(text)) for text in texts]
            self._writer.execute(_PUT, (sequence, json.dumps(written, ensure_ascii=False), *folded))

    def _mark(self, sequence: int) -> None:
        self._transaction.begin()
        added = self._writer.execute("INSERT OR IGNORE INTO stale VALUES (?, ?)", (self._next_mark, sequence)).rowcount
        if added:
            self._next_mark += 1
            self._stale += 1

    def _go_back(self, to: int, count: int) -> None:
        """Index again the `count` snippets beyond `to`."""
        if to >= self._indexed_to:
            return
        self._transaction.begin()
        self._writer.execute("UPDATE progress SET indexed_to = ?", (to,))
        self._indexed_to = to
        self._beyond = count


def _varint(data: bytes) -> tuple[int, bytes]:
    """Decode SQLite's varint at the beginning of `data`; gives the number and the rest."""
    number = 0
    for length, byte in enumerate(data, 1):
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, data[length:]
    raise ValueError(f"not a varint of SQLite: {data.hex()}")
