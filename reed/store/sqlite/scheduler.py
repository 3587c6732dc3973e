"""Work of the writing connection, a slice in each turn.

1. the end of a checkpoint; nothing else in that turn
2. deleting acknowledged events, in the transaction of the turn's writes
3. round robin: indexes of fields, rows of `stale` that are indexed, bonds of deleted snippets
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable

from reed.store.sqlite.bonds import Bonds
from reed.store.sqlite.field_indexes import FieldIndexes
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.search_index import SearchIndex
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.wal import WalCheckpoints


class Scheduler:
    def __init__(
        self,
        transaction: Transaction,
        outbox: Outbox,
        checkpoints: WalCheckpoints,
        parts: Iterable[SearchIndex | FieldIndexes | Bonds],
    ) -> None:
        self._transaction = transaction
        self._outbox = outbox
        self._checkpoints = checkpoints
        self._parts = deque(parts)

    @property
    def has_work(self) -> bool:
        return self._checkpoints.has_work or self._outbox.has_work or self._next() is not None

    def _next(self) -> SearchIndex | FieldIndexes | Bonds | None:
        for part in self._parts:
            if part.has_work:
                return part
        return None

    def work(self, until: float) -> None:
        if self._checkpoints.has_work:
            self._transaction.commit()
            self._checkpoints.work()
            return
        try:
            if self._outbox.has_work:
                self._outbox.work()
            part = self._next()
            if part is not None:
                self._parts.remove(part)
                self._parts.append(part)
                part.work(until)
        except (sqlite3.Error, MemoryError) as error:
            self._transaction.fail(error)
