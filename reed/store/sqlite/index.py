"""Keeps the search index up to date, behind the writes and ahead of the searches.

Indexing is not part of a write. What has to be done stands in the file, written with the change itself, so that it
survives a crash:

    new snippets      all those beyond `indexed_to`, in creation order: creating one writes nothing more
    changed, deleted  a mark in `stale`
    everything        `indexed_to` goes back to the beginning: the same way again, in slices

`work` does a slice of both kinds in turn, and merges the segments that earlier ones wrote: a little after each slice,
and nothing but that when too many are left. (By itself FTS5 merges all of one size at once: up to 0.3 s.)

A search waits (`when_caught_up`) until everything that was there when it came has been indexed and committed, so it
sees every write that was acknowledged before it. When the index cannot be written (a full disk) nobody waits: a search
sees what is indexed.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from reed.errors import CallError
from reed.store.folding import fold, is_plain, segment
from reed.store.sqlite.ids import Ids
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.types import WEIGHTS, Type, Types
from reed.wire.strict_json import Json

_PAGES = 8000  # of the index that are merged in a second, about; a step ends with a term, and the commonest has more
_FEWEST_PAGES = 4
_MANY_SEGMENTS = 64
_SECOND_LAYOUT = b"\xff\x00\x00\x01"  # of a structure record, since FTS5 knows contentless deletes

MAX_TEXT = 1024 * 1024  # bytes of a snippet's text that are indexed: one row cannot be written in slices

_COLUMNS = ", ".join(f"w{number}" for number in range(len(WEIGHTS)))
_PUT = f"INSERT OR REPLACE INTO search (rowid, written, {_COLUMNS}) VALUES (?, ?{', ?' * len(WEIGHTS)})"
_MERGE = "INSERT INTO search (search, rank) VALUES ('merge', ?)"
_STRUCTURE = "SELECT block FROM search_data WHERE id = 10"
_DROP = "DELETE FROM search WHERE rowid = ?"


class _Waiter(NamedTuple):
    mark: int  # all marks up to this one …
    sequence: int  # … and all snippets up to this one must be indexed
    ready: Callable[[CallError | None], None]


class Index:
    def __init__(
        self, turn: Transaction, writer: sqlite3.Connection, types: Types, ids: Ids, monotonic: Callable[[], float]
    ) -> None:
        self._turn = turn
        self._writer = writer
        self._types = types
        self._ids = ids
        self._monotonic = monotonic
        self._waiters: deque[_Waiter] = deque()
        self._next_mark = 1
        self._wrote = False  # in this turn
        self._is_merged = True
        self.is_paused = False  # it could not be written: no use to try before something else was
        self._load()
        turn.join(self)

    def _load(self) -> None:
        execute = self._writer.execute
        (self._indexed_to,) = execute("SELECT indexed_to FROM progress").fetchone()
        self._stale, first, last = execute("SELECT count(*), min(mark), max(mark) FROM stale").fetchone()
        self._next_mark = max(self._next_mark, (last or 0) + 1)
        self._marks_done = (first or self._next_mark) - 1
        (self._beyond,) = execute("SELECT count(*) FROM snippets WHERE sequence > ?", (self._indexed_to,)).fetchone()

    @property
    def behind(self) -> int:
        """Snippets that wait to be indexed."""
        return int(self._stale + self._beyond)

    @property
    def has_work(self) -> bool:
        return not self.is_paused and (self.behind > 0 or not self._is_merged)

    @property
    def is_waited_for(self) -> bool:
        return bool(self._waiters)

    # What the writes say.

    def created(self) -> None:
        self._beyond += 1

    def restored(self, sequence: int) -> None:
        """A snippet was created anywhere in the order, not at its end."""
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
        self._mark(sequence)  # beyond too: what is indexed again may still have an entry

    def redefined(self, new: Type, old: Type | None) -> None:
        """A type was defined: if other fields are searched now, its snippets are indexed again."""
        if old is not None and sorted(old.columns) != sorted(new.columns):
            (first,) = self._writer.execute("SELECT min(sequence) FROM snippets WHERE type = ?", (new.name,)).fetchone()
            if first is not None:
                (count,) = self._writer.execute(
                    "SELECT count(*) FROM snippets WHERE sequence >= ?", (first,)
                ).fetchone()
                self._go_back(first - 1, count)

    def start_again(self, count: int) -> None:
        """Index everything again: so many snippets."""
        self._go_back(0, count)

    def when_caught_up(self, ready: Callable[[CallError | None], None]) -> None:
        """Call `ready` once all that is committed by now is indexed; with the error if that cannot be written."""
        if self.behind:
            self.is_paused = False  # somebody needs it: try again
            self._waiters.append(_Waiter(self._next_mark - 1, self._ids.last, ready))
        else:
            ready(None)

    # The work.

    def work(self, until: float) -> None:
        """Until about `until`: index for a third of that, but one snippet at least, and merge a little (that, the new
        segment and the commit take the rest); or, if there are many segments already, merge for a third."""
        self._turn.begin_lazy()
        self._wrote = True
        now = self._monotonic()
        seconds = max(until - now, 0.0) / 3
        pages = max(int(seconds * _PAGES), _FEWEST_PAGES)
        if self._segments() >= _MANY_SEGMENTS and self._merge(pages):
            while self._monotonic() < now + seconds and self._merge(pages):
                pass
        else:
            self._index(now + seconds)
            self._is_merged = not self._merge(pages)

    def _index(self, until: float) -> None:
        moved = self._indexed_to
        for progress in self._steps():
            if not progress or self._monotonic() >= until:
                break
        if self._indexed_to != moved:
            self._writer.execute("UPDATE progress SET indexed_to = ?", (self._indexed_to,))

    def _merge(self, pages: int) -> bool:
        """Merge so many pages; False when there is nothing to merge."""
        before = self._writer.total_changes
        self._writer.execute(_MERGE, (pages,))
        return self._writer.total_changes - before >= 2  # the command itself counts as one

    def _segments(self) -> int:
        """How many segments the index has: the second number in FTS5's structure record."""
        (structure,) = self._writer.execute(_STRUCTURE).fetchone()
        numbers = structure[8:] if structure[4:8] == _SECOND_LAYOUT else structure[4:]
        _, numbers = _varint(numbers)  # levels
        return _varint(numbers)[0]

    def settle(self, kept: bool) -> None:
        if kept:
            self.is_paused = False
        else:
            self.is_paused = self.is_paused or self._wrote
            self._load()
        self._wrote = False

    def release(self, error: CallError | None) -> None:
        """After a commit, or after indexing failed with `error`: let go of those who need not wait any longer."""
        while self._waiters and (self.is_paused or self._is_ready(self._waiters[0])):
            self._waiters.popleft().ready(error if self.is_paused else None)

    def _is_ready(self, waiter: _Waiter) -> bool:
        stale_done = not self._stale or self._marks_done >= waiter.mark
        return stale_done and (not self._beyond or self._indexed_to >= waiter.sequence)

    def _steps(self) -> Iterator[bool]:
        """A stale one, a new one, a stale one, …; False when there is none of either."""
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
        columns = [""] * len(WEIGHTS)  # not NULL, which sqlite3 takes long to bind
        kind = self._types.get(type_name)
        room = MAX_TEXT
        if kind.columns:
            value = json.loads(content)
            for field, column in kind.columns:
                text = _beginning("\n".join(_texts(value.get(field))), room)
                room -= len(text)
                columns[column] = f"{columns[column]}\n{text}" if columns[column] else text
        if any(columns):
            written = [text for text in columns if text]
            if all(map(is_plain, written)):
                self._writer.execute(_PUT, (sequence, "", *columns))
            else:
                folded = [segment(fold(text)) for text in columns]
                self._writer.execute(_PUT, (sequence, json.dumps(written, ensure_ascii=False), *folded))
        else:
            self._writer.execute(_DROP, (sequence,))

    def _mark(self, sequence: int) -> None:
        self._turn.begin()
        added = self._writer.execute("INSERT OR IGNORE INTO stale VALUES (?, ?)", (self._next_mark, sequence)).rowcount
        if added:
            self._next_mark += 1
            self._stale += 1

    def _go_back(self, to: int, count: int) -> None:
        """Index again what lies beyond `to`: `count` snippets. (To count a million of them takes long.)"""
        if to >= self._indexed_to:
            return
        self._turn.begin()
        self._writer.execute("UPDATE progress SET indexed_to = ?", (to,))
        self._indexed_to = to
        self._beyond = count


def _varint(data: bytes) -> tuple[int, bytes]:
    """The number at the beginning of `data`, seven bits in a byte, highest first; and what follows it."""
    number = 0
    for length, byte in enumerate(data, 1):
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, data[length:]
    raise ValueError(f"not a number of SQLite: {data.hex()}")


def _beginning(text: str, room: int) -> str:
    """As much of the text as fits into so many bytes."""
    if len(text) * 4 <= room:
        return text
    return text.encode("utf-8", "surrogatepass")[: max(room, 0)].decode("utf-8", "ignore")


def _texts(value: Json) -> Iterator[str]:
    """Every string and number in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
