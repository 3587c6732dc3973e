"""SqliteStore implements `reed.store.base.Store`, in one thread, and not after a fork.

write   checked (see `contents`), written into the turn's transaction; `done` after the COMMIT
read    short ones in the loop, long ones and searches in a worker (see `reading`)
work    a slice in each turn of what needs the writing connection:
        1. the end of a checkpoint; nothing else in that turn
        2. deleting acknowledged events, in the transaction of the turn's writes
        3. round robin: indexes of fields, rows of `stale` that are indexed, bonds of deleted snippets
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any

from reed.store.base import CauseOf, Done, Event, Failed, no_cause
from reed.store.changes import ChangePage
from reed.store.sqlite.files import close_connections
from reed.store.sqlite.parts import HANDLERS, INDEXER_HANDLERS
from reed.store.sqlite.writes import Writes

__all__ = ["HANDLERS", "INDEXER_HANDLERS", "SqliteStore"]


class SqliteStore(Writes):
    # Events.

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        self._outbox.subscribe(subscribers, cause_of)

    def next_event(self, subscriber: str, done: Done[Event | None], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(lambda: self._outbox.next(subscriber)))

    def ack(self, subscriber: str, event_id: int) -> None:
        self._outbox.ack(subscriber, event_id)
        self._on_due()

    def drop_events(self, subscriber: str) -> None:
        self._outbox.drop(subscriber)
        self._on_due()

    def events_waiting(self) -> Mapping[str, int]:
        return self._outbox.counts

    def pop_ready(self) -> Collection[str]:
        return self._outbox.pop_ready()

    # Changes.

    def follow_changes(self, on_changes: Callable[[], None] | None) -> None:
        self._log.follow(on_changes)

    def watch_position(self, cursor: str, done: Done[int], failed: Failed) -> None:  # noqa: ARG002
        done(self._log.position(cursor))

    def changes_after(self, position: int, done: Done[ChangePage], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(lambda: self._log.after(position)))

    def cursor_of(self, position: int) -> str:
        return self._log.cursor(position)

    # The turn.

    def when_idle(self, done: Callable[[], None]) -> None:
        def wait_for_commit() -> None:
            self._when_idle.append(done)
            self._on_due()

        self._contents.when_back(wait_for_commit)

    @property
    def has_work(self) -> bool:
        return self._checkpoints.has_work or self._outbox.has_work or any(part.has_work for part in self._with_work)

    def work(self, until: float) -> bool:
        if self._checkpoints.has_work:
            self._transaction.commit()
            self._checkpoints.work()
            return self.has_work
        try:
            if self._outbox.has_work:
                self._outbox.work()
            part = next((part for part in self._with_work if part.has_work), None)
            if part is not None:
                self._with_work.remove(part)
                self._with_work.append(part)
                part.work(until)
        except (sqlite3.Error, MemoryError) as error:
            self._transaction.fail(error)
        return self.has_work

    def commit(self) -> None:
        if self._transaction.may_commit():
            self._commit()

    def _commit(self) -> None:
        self._transaction.commit()
        if self._outbox.has_ready:
            self._context.on_news()
        if self._log.has_news:
            self._log.tell()
        if self._when_idle:
            callbacks, self._when_idle = self._when_idle, []
            for callback in callbacks:
                callback()

    def stats(self) -> dict[str, Any]:
        return {
            "path": self._database.path,
            "bytes": self._database.size(),
            "snippets": self._snippets.count.value,
            "types": len(self._types.committed),
            "bonds": self._bonds.count.value,
            "events": sum(self._outbox.counts.values()),
            "unindexed": self._index.behind,
            "commits": self._transaction.commits,
            "cached": len(self._cache),
            "cached_bytes": self._cache.size,
        }

    def close(self) -> None:
        self._commit()
        self._index.close()
        close_connections()  # of jobs that ran in this process, as in tests
        self._database.close()
