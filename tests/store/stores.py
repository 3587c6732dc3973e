"""The stores that the contract suite runs over. A new one is a line in STORES."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import postgres_store
from harness import Factory, LateWorkers, Options, Running
from late_store import LateStore

from reed.store.base import Store
from reed.store.sqlite.store import HANDLERS, INDEXER_HANDLERS
from tests.inline_store import inline_store


class DueTurns:
    """Turns of a store that asks for them (`on_due`), as the loop runs them."""

    def __init__(self) -> None:
        self.store: Store
        self.workers: Sequence[LateWorkers] = ()
        self._is_due = True  # the loop always runs a first turn
        self._works = False

    def on_due(self) -> None:
        self._is_due = True

    def turn(self) -> bool:
        for workers in self.workers:
            workers.turn()
        if self._is_due or self._works:
            self._is_due = False
            self.store.work(time.monotonic() + 0.004)
            self.store.commit()
            self._works = self.store.has_work
        return any(workers.is_busy for workers in self.workers) or self._works or self._is_due

    def close(self) -> None:
        self.store.close()


def open_sqlite(path: Path, *, late: int | None = None, **options: Any) -> DueTurns:
    """`late`: workers that answer later, in an order that follows from this number; else at once."""
    turns = DueTurns()
    if late is not None:
        turns.workers = LateWorkers(late, HANDLERS), LateWorkers(late, INDEXER_HANDLERS)
        options = dict(zip(("workers", "indexer"), turns.workers, strict=True)) | options
    turns.store = inline_store(path, on_due=turns.on_due, **options)
    return turns


def _open_sqlite(folder: Path, options: Options) -> DueTurns:
    given = {name: value for name, value in options._asdict().items() if value is not None}
    return open_sqlite(folder / "reed.db", late=1, **given)


def _open_late(seed: int, folder: Path, options: Options) -> Running:
    turns = _open_sqlite(folder, options)
    turns.store = LateStore(turns.store, seed, turns.on_due)  # type: ignore[assignment]
    return turns


STORES = {
    "sqlite": Factory(_open_sqlite),
    "late": Factory(partial(_open_late, 1)),
    "postgres": Factory(postgres_store.open_postgres, postgres_store.unavailable),
}
