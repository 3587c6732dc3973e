"""The outbox: events that wait until each subscriber acknowledges them.

    create, update, delete ── add: a row per subscriber ── COMMIT ── next ── (the core delivers) ── ack ── deleted

Acknowledged rows are deleted with a later write, otherwise in an unsynced transaction, so a power cut may repeat an
event. Beyond `max_events` the oldest of a subscriber is dropped, and the next one counts it as `lost`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reed.store.base import NO_CAUSE, Cause, CauseOf, Event, no_cause
from reed.store.deleted import NOT_DELETED, Deleted
from reed.store.sqlite.transaction import Transaction
from reed.wire.snippets import Record

_DELETE_BATCH = 500  # rows of a dropped subscriber in a slice

_INSERT = (
    "INSERT INTO outbox (subscriber, kind, snippet_id, type, name, version, at, lost) VALUES (?, ?, ?, ?, ?, ?, ?, 0)"
)
_KEEP_DELETED = "UPDATE outbox SET content = ?, bonds = ? WHERE id = ?"
_NEXT = (
    "SELECT id, kind, snippet_id, type, name, version, at, lost, content, bonds FROM outbox"
    " WHERE subscriber = ? AND id > ? AND id <= ? ORDER BY id LIMIT 1"
)
_OLDEST = "SELECT id, lost FROM outbox WHERE subscriber = ? ORDER BY id LIMIT 2"
_DELETE_ACKED = "DELETE FROM outbox WHERE subscriber = ? AND id <= ?"
_DELETE_SOME = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE subscriber = ? LIMIT ?)"


class Outbox:
    def __init__(self, transaction: Transaction, max_events: int) -> None:
        self._transaction = transaction
        self._writer = transaction.writer
        self._max_events = max_events
        self._cause_of: CauseOf = no_cause
        self._causes: dict[int, Cause] = {}  # by event id
        self.subscribers: dict[str, tuple[str, ...]] = {}  # by kind of event, of those with any
        self._acked: dict[str, int] = {}  # last acknowledged id, by subscriber
        self._to_trim: set[str] = set()  # subscribers with acknowledged rows
        self._dropped: set[str] = set()  # subscribers, whose rows are deleted in slices
        self._added: set[str] = set()  # subscribers with new rows in this transaction
        self._ready: set[str] = set()  # in earlier ones, since `pop_ready`
        self._is_changed = False  # in this transaction
        self._is_paused = False  # a deletion failed: wait until another write succeeds
        self._load()
        transaction.join(self)

    def _load(self) -> None:
        last = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        self._last_id: int = last[0] if last else 0
        self._last_committed_id = self._last_id
        self.counts: dict[str, int] = dict(  # rows by subscriber
            self._writer.execute("SELECT subscriber, count(*) FROM outbox GROUP BY subscriber")
        )

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf) -> None:
        self._cause_of = cause_of
        self.subscribers = {kind: tuple(names) for kind, names in subscribers.items() if names}
        for names in self.subscribers.values():
            self._dropped.difference_update(names)

    def is_wanted(self, kind: str, by: str) -> bool:
        """Whether `add` would write an event."""
        return any(name != by for name in self.subscribers.get(kind, ()))

    def add(self, kind: str, record: Record, at: int, by: str, deleted: Deleted = NOT_DELETED) -> None:
        """Write an event for each subscriber but `by`; `at` in Unix microseconds."""
        names = [name for name in self.subscribers.get(kind, ()) if name != by]
        cause = self._cause_of(by, record.id) if by and names else NO_CAUSE
        for name in names:
            self._add(name, kind, record, at)
            if deleted is not NOT_DELETED:
                self._writer.execute(_KEEP_DELETED, (*deleted, self._last_id))
            if cause.depth:
                self._causes[self._last_id] = cause

    def _add(self, name: str, kind: str, record: Record, at: int) -> None:
        values = (name, kind, record.id, record.snippet_type, record.semantic_name, record.version, at)
        self._is_changed = True
        self._last_id = self._writer.execute(_INSERT, values).lastrowid or 0
        self._added.add(name)
        count = self.counts[name] = self.counts.get(name, 0) + 1
        if count > self._max_events:
            self._drop_oldest(name)

    def _drop_oldest(self, name: str) -> None:
        (oldest, lost), (after, lost_before) = self._writer.execute(_OLDEST, (name,)).fetchall()
        if oldest > self._acked.get(name, 0):
            self._writer.execute("UPDATE outbox SET lost = ? WHERE id = ?", (lost + lost_before + 1, after))
        self._writer.execute("DELETE FROM outbox WHERE id = ?", (oldest,))
        self.counts[name] -= 1
        self._causes.pop(oldest, None)

    def next(self, name: str) -> Event | None:
        if name not in self.counts:
            return None
        row = self._writer.execute(_NEXT, (name, self._acked.get(name, 0), self._last_committed_id)).fetchone()
        if row is None:
            return None
        *fields, content, bonds = row
        cause = self._causes.get(row[0], NO_CAUSE)
        return Event._make((*fields, cause, Deleted(content, bonds) if content else NOT_DELETED))

    def ack(self, name: str, event_id: int) -> None:
        self._acked[name] = max(event_id, self._acked.get(name, 0))
        self._causes.pop(event_id, None)
        self._to_trim.add(name)
        self._is_paused = False

    def drop(self, name: str) -> None:
        self._dropped.add(name)

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def pop_ready(self) -> Collection[str]:
        if not self._ready:
            return ()
        ready, self._ready = self._ready, set()
        return ready

    @property
    def has_work(self) -> bool:
        return bool(self._to_trim or self._dropped) and not self._is_paused

    def work(self) -> None:
        if not self._transaction.is_open:
            self._transaction.begin_unsynced()
        self._is_changed = True
        for name in self._to_trim:
            self._delete(name, _DELETE_ACKED, self._acked[name])
        self._to_trim = set()
        for name in self._dropped:
            self._delete(name, _DELETE_SOME, _DELETE_BATCH)

    def _delete(self, name: str, statement: str, argument: int) -> None:
        deleted = self._writer.execute(statement, (name, argument)).rowcount
        left = self.counts.get(name, 0) - deleted
        if left:
            self.counts[name] = left
        else:
            self.counts.pop(name, None)

    def settle(self, committed: bool) -> None:
        self._is_paused = not committed
        if not self._is_changed:
            return
        if committed:
            if not self.counts:
                self._causes.clear()  # also of dropped subscribers
            self._last_committed_id = self._last_id
            self._dropped.intersection_update(self.counts)
            self._ready |= self._added
        else:
            self._load()
            self._causes = {number: cause for number, cause in self._causes.items() if number <= self._last_id}
            self._to_trim.update(self._acked.keys() & self.counts)
        self._is_changed = False
        self._added.clear()
