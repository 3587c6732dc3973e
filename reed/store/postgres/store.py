"""PostgresStore: the contract `reed.store.base.Store` on a database that several cores share (scaling.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from reed.store.base import CauseOf, Done, Event, Failed, no_cause
from reed.store.changes import ChangePage
from reed.store.postgres.operation import ALL
from reed.store.postgres.parts import STOP_SECONDS
from reed.store.postgres.values import ignore, params
from reed.store.postgres.writes import Writes


class PostgresStore(Writes):
    @property
    def changes(self) -> int:
        return self._records.changes

    @property
    def has_work(self) -> bool:
        return False

    @property
    def fsync_seconds(self) -> float:
        return 0.0

    # Events.

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        self._outbox.subscribe(subscribers, cause_of)

    def next_event(self, subscriber: str, done: Done[Event | None], failed: Failed) -> None:
        self._outbox.next(subscriber, done, failed)

    def ack(self, subscriber: str, event_id: int) -> None:
        self._outbox.ack(subscriber, event_id)

    def drop_events(self, subscriber: str) -> None:
        self._outbox.drop(subscriber)

    def events_waiting(self) -> Mapping[str, int]:
        return self._outbox.counts

    def pop_ready(self) -> Collection[str]:
        return self._outbox.pop_ready()

    # Changes.

    def follow_changes(self, on_changes: Callable[[], None] | None) -> None:
        self._log.follow(on_changes)

    def watch_position(self, cursor: str, done: Done[int], failed: Failed) -> None:
        self._log.position(cursor, done, failed)

    def changes_after(self, position: int, done: Done[ChangePage], failed: Failed) -> None:
        self._log.after(position, done, failed)

    def cursor_of(self, position: int) -> str:
        return self._log.cursor(position)

    # The turn.

    def work(self, until: float) -> bool:  # noqa: ARG002
        return False

    def commit(self) -> None:
        """Send what this turn has begun; answers come in later turns."""
        self._writer.commit()
        self._reader.flush()
        self._asker.flush()
        if self._outbox.has_ready:
            self._context.on_news()

    @property
    def is_idle(self) -> bool:
        """Has every write that was begun ended?"""
        context = self._write_context
        return self._writer.is_idle and not context.origins and not context.snippets and self._contents.is_idle

    def when_idle(self, done: Callable[[], None]) -> None:
        """The core stops: from now on a database that is away is waited for only so long."""
        self._stops_at = min(self._stops_at, self._loop.now() + STOP_SECONDS)
        self._pending.when_ended(ALL, done)

    def stats(self) -> dict[str, Any]:
        return {
            "path": f"postgres:{self._server}",
            "bytes": self._figures.get("bytes", 0),
            "snippets": self._snippets.value,
            "types": len(self._types.catalog),
            "bonds": self._bonds.value,
            "events": sum(self._outbox.counts.values()),
            "unindexed": self._index.behind,
            "commits": self._writer.commits,
            "cached": len(self._records.cache),
            "cached_bytes": self._records.cache.size,
            "kind": "postgres",
            "core": self._core,
            "is_connected": all(connection.is_ready for connection in self._connections),
            "lag_seconds": round(self._records.age, 3),
            "connections": self._figures.get("connections", 0),
            "batch": self._last_batch,
            "cores": [
                {**core, "plugins": sorted(core["plugins"]), "differs": self._differences(core["plugins"])}
                for core in self._cores
            ],
        }

    def _differences(self, plugins: Mapping[str, str]) -> list[str]:
        """The plugins whose rows are not the same there and here."""
        both = {**plugins, **self._registry}
        return sorted(name for name in both if plugins.get(name) != self._registry.get(name))

    def close(self) -> None:
        """Gives up leases and the row in `cores`, if the database answers at once."""
        self._outbox.yield_all()
        self._asker.ask("leave", params(self._core), ignore, ignore)
        self._asker.flush()
        self._close()
