"""Statements outside the batches of writes. One whose connection was lost is asked again, for up to ten seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from reed.errors import CallError, StoreUnavailable
from reed.store.base import Failed
from reed.store.context import StoreLoop
from reed.store.postgres.connection import Connection, Failure, Lost, Results, Statement
from reed.store.postgres.values import Params, Rows
from reed.store.workers import run

WAIT_SECONDS = 10.0


class _Read(NamedTuple):
    statement: Statement
    done: Callable[[Rows], None]
    failed: Failed
    until: float


class Reader:
    def __init__(self, loop: StoreLoop, connection: Connection, on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._connection = connection
        self._on_due = on_due
        self._waiting: deque[_Read] = deque()

    def ask(self, name: str, params: Params, done: Callable[[Rows], None], failed: Failed) -> None:
        """Run a prepared statement. `done` gets its rows."""
        self._ask(_Read(Statement(name, params), done, failed, self._loop.now() + WAIT_SECONDS))

    def _ask(self, read: _Read) -> None:
        if not self._connection.is_ready:
            self._waiting.append(read)
            return

        def answered(results: Results) -> None:
            run(lambda: read.done(results[0]), read.failed)

        def refused(failure: Failure) -> None:
            if not isinstance(failure, Lost):
                read.failed(failure.as_call_error())
            elif self._loop.now() < read.until:
                self._ask(read)
            else:
                read.failed(unavailable())

        self._connection.send((read.statement,), answered, refused)
        self._on_due()  # `flush` at the end of the turn

    def flush(self) -> None:
        while self._waiting and self._connection.is_ready:
            self._ask(self._waiting.popleft())
        self._connection.flush()

    def tick(self, now: float) -> None:
        while self._waiting and self._waiting[0].until < now:
            self._waiting.popleft().failed(unavailable())


def unavailable() -> CallError:
    return StoreUnavailable(f"the database could not be reached within {WAIT_SECONDS:g} s", hint="retry")
