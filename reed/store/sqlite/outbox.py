"""The outbox: changes that others are to be told of, each until they were.

    create, update, delete ── add ── a row for each subscriber ── COMMIT ── next ── (the core tells it) ── told ── gone

A row is written in the transaction of its change: both are on the disk, or neither. Ids rise and are never used twice,
so whoever is told again knows it. A row that was told is deleted with the next transaction there is; if none comes, in
a lazy one: it costs no fsync, and after a loss of power it is told once more.

What an event is caused by is kept in memory beside its row.

A subscriber has at most `limit` rows: beyond it the oldest goes, and the one after it says how many were `lost`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from reed.store.base import NO_CAUSE, Cause, CauseOf, Event, no_cause
from reed.store.sqlite.transaction import Transaction
from reed.wire.snippets import Record

DEFAULT_LIMIT = 100_000  # rows of one subscriber, some 20 MB

_DROPPED_AT_ONCE = 500  # rows of a subscriber that is forgotten, in a slice

_INSERT = (
    "INSERT INTO outbox (subscriber, kind, snippet_id, type, name, version, at, lost) VALUES (?, ?, ?, ?, ?, ?, ?, 0)"
)
_NEXT = (
    "SELECT id, kind, snippet_id, type, name, version, at, lost FROM outbox"
    " WHERE subscriber = ? AND id > ? AND id <= ? ORDER BY id LIMIT 1"
)
_OLDEST = "SELECT id, lost FROM outbox WHERE subscriber = ? ORDER BY id LIMIT 2"
_DELETE_TOLD = "DELETE FROM outbox WHERE subscriber = ? AND id <= ?"
_DELETE_SOME = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE subscriber = ? LIMIT ?)"


class Outbox:
    def __init__(self, turn: Transaction, writer: sqlite3.Connection, limit: int) -> None:
        self._turn = turn
        self._writer = writer
        self._limit = limit
        self._cause_of: CauseOf = no_cause
        self._causes: dict[int, Cause] = {}  # by id, of those that have one
        self._subscribers: dict[str, tuple[str, ...]] = {}  # by kind of event
        self._told: dict[str, int] = {}  # the last id that a subscriber was told of
        self._untidy: set[str] = set()  # subscribers with rows that they were told of
        self._forgotten: set[str] = set()  # subscribers whose rows go, in slices
        self._added: set[str] = set()  # subscribers with new rows of this turn
        self._news: set[str] = set()  # of earlier turns
        self._changed = False  # in this turn
        self._is_paused = False  # nothing could be written: no use to try before something else was
        self._load()
        turn.join(self)

    def _load(self) -> None:
        last = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        self._last: int = last[0] if last else 0
        self._last_kept = self._last
        self._counts: dict[str, int] = dict(
            self._writer.execute("SELECT subscriber, count(*) FROM outbox GROUP BY subscriber")
        )

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        self._cause_of = cause_of
        self._subscribers = {kind: tuple(names) for kind, names in subscribers.items() if names}
        for names in self._subscribers.values():
            self._forgotten.difference_update(names)

    # What the writes say.

    def add(self, kind: str, record: Record, at: int, by: str) -> None:
        """A change was written in this turn. `at`: when, in Unix microseconds; `by`: who is not told of it."""
        names = [name for name in self._subscribers.get(kind, ()) if name != by]
        cause = self._cause_of(by, record.id) if by and names else NO_CAUSE
        for name in names:
            self._add(name, kind, record, at)
            if cause.depth:
                self._causes[self._last] = cause

    def _add(self, name: str, kind: str, record: Record, at: int) -> None:
        values = (name, kind, record.id, record.snippet_type, record.semantic_name, record.version, at)
        self._changed = True
        self._last = self._writer.execute(_INSERT, values).lastrowid or 0
        self._added.add(name)
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if count > self._limit:
            self._drop_oldest(name)

    def _drop_oldest(self, name: str) -> None:
        (oldest, lost), (after, lost_before) = self._writer.execute(_OLDEST, (name,)).fetchall()
        if oldest > self._told.get(name, 0):
            self._writer.execute("UPDATE outbox SET lost = ? WHERE id = ?", (lost + lost_before + 1, after))
        self._writer.execute("DELETE FROM outbox WHERE id = ?", (oldest,))
        self._counts[name] -= 1
        self._causes.pop(oldest, None)

    # What the core asks.

    def next(self, name: str) -> Event | None:
        """The oldest event that is on the disk and that this subscriber was not told of."""
        row = self._writer.execute(_NEXT, (name, self._told.get(name, 0), self._last_kept)).fetchone()
        return None if row is None else Event._make((*row, self._causes.get(row[0], NO_CAUSE)))

    def told(self, name: str, event_id: int) -> None:
        self._told[name] = max(event_id, self._told.get(name, 0))
        self._causes.pop(event_id, None)
        self._untidy.add(name)
        self._is_paused = False  # once more, even if there was no room before

    def forget(self, name: str) -> None:
        self._forgotten.add(name)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows by subscriber."""
        return self._counts

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    def pop_ready(self) -> set[str]:
        news, self._news = self._news, set()
        return news

    # The work.

    @property
    def has_work(self) -> bool:
        return bool(self._untidy or self._forgotten) and not self._is_paused

    def tidy(self) -> None:
        """Delete what was told, and some of what is forgotten. A transaction is open."""
        self._changed = True
        for name in self._untidy:
            self._delete(name, _DELETE_TOLD, self._told[name])
        self._untidy = set()
        for name in self._forgotten:
            self._delete(name, _DELETE_SOME, _DROPPED_AT_ONCE)

    def _delete(self, name: str, statement: str, argument: int) -> None:
        deleted = self._writer.execute(statement, (name, argument)).rowcount
        left = self._counts.get(name, 0) - deleted
        if left:
            self._counts[name] = left
        else:
            self._counts.pop(name, None)

    def settle(self, kept: bool) -> None:
        self._is_paused = not kept
        if not self._changed:
            return
        if kept:
            if not self._counts:
                self._causes.clear()  # also of subscribers that were forgotten
            self._last_kept = self._last
            self._forgotten.intersection_update(self._counts)
            self._news |= self._added
        else:
            self._load()
            self._causes = {number: cause for number, cause in self._causes.items() if number <= self._last}
            self._untidy.update(self._told.keys() & self._counts)
        self._changed = False
        self._added.clear()
