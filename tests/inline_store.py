"""A SqliteStore without a loop, whose jobs run at once in this process: for tests, and programs that tests start."""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reed.errors import CallError
from reed.store.context import StoreContext
from reed.store.sqlite.store import SqliteStore
from reed.store.workers import DEADLINES, Release, Workers


class InlineWorkers:
    """Runs each handler at once, without a deadline."""

    def __init__(self, handlers: Mapping[str, str]) -> None:
        """`handlers`: "module:function" by kind."""
        self._handlers = handlers
        self._jobs: deque[Callable[[], None]] = deque()  # submitted by the answer to another one
        self._is_running = False

    def submit(
        self, kind: str, arguments: Any, done: Callable[[Any], None], failed: Callable[[CallError], None], **_: Any
    ) -> None:
        def run() -> None:
            module, _, name = self._handlers[kind].partition(":")
            try:
                value = getattr(importlib.import_module(module), name)(*arguments)
            except CallError as error:
                failed(error)
            else:
                done(value)

        self._jobs.append(run)
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._jobs:
                self._jobs.popleft()()
        finally:
            self._is_running = False

    def hold(self, callback: Callable[[Release], None]) -> None:
        callback(lambda: None)

    def over_budget(self) -> bool:
        return False

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()


class _NoLoop:
    """The part of a loop that a SqliteStore uses. No time passes: the index is written at once."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self.request_commit = on_due

    def call_later(self, _seconds: float, callback: Callable[[], None]) -> None:
        callback()


def inline_store(
    path: str | Path,
    *,
    clock: Callable[[], int] = time.time_ns,
    cache_bytes: int = 16 * 1024 * 1024,
    max_events: int = 100_000,
    max_changes: int = 100_000,
    on_due: Callable[[], None] = lambda: None,
    on_news: Callable[[], None] = lambda: None,
    warn: Callable[[str], None] = lambda _: None,
    workers: Workers | None = None,
    indexer: Workers | None = None,
) -> SqliteStore:
    """`on_due`: see `reed.store.base`. Without `workers` or `indexer` their jobs run at once."""

    def open_workers(handlers: Mapping[str, str], _count: int, name: str = "workers") -> Workers:
        return (indexer if name == "indexer" else workers) or InlineWorkers(handlers)

    context = StoreContext(
        loop=_NoLoop(on_due),  # type: ignore[arg-type]
        data_dir=Path("/nonexistent"),
        runtime_dir=Path("/nonexistent"),
        core_name="test",
        open_workers=open_workers,
        max_workers=1,
        deadlines=DEADLINES,
        max_events=max_events,
        max_changes=max_changes,
        on_news=on_news,
        warn=warn,
    )
    return SqliteStore(path, context, clock=clock, cache_bytes=cache_bytes)
