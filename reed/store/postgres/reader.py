"""Statements outside the batches of writes. One whose connection was lost is asked again; each is answered within ten
seconds, whatever the server does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from reed.errors import CallError, StoreUnavailable
from reed.store.base import Failed
from reed.store.context import StoreLoop
from reed.store.postgres.connection import Connection, Failure, Lost, Results, Statement
from reed.store.postgres.values import Params, Rows
from reed.store.workers import run

WAIT_SECONDS = 10.0  # that an operation waits for the database, in all: for its reads and its write


@dataclass(slots=True, eq=False)
class _Read:
    statement: Statement
    done: Callable[[Rows], None]
    failed: Failed
    until: float


class Reader:
    def __init__(self, loop: StoreLoop, connection: Connection, on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._connection = connection
        self._on_due = on_due
        self._waiting: deque[_Read] = deque()  # for a connection
        self._open: set[_Read] = set()  # without an answer

    def ask(
        self, name: str, params: Params, done: Callable[[Rows], None], failed: Failed, until: float | None = None
    ) -> None:
        """Run a prepared statement. `done` gets its rows. `until`: the deadline of the operation that it belongs to."""
        read = _Read(Statement(name, params), done, failed, until or self._loop.now() + WAIT_SECONDS)
        self._open.add(read)
        self._ask(read)

    def _ask(self, read: _Read) -> None:
        if not self._connection.is_ready:
            self._waiting.append(read)
            return

        def answered(results: Results) -> None:
            if read in self._open:
                self._open.remove(read)
                run(lambda: read.done(results[0]), read.failed)

        def refused(failure: Failure) -> None:
            if read not in self._open:
                return
            if isinstance(failure, Lost):
                self._ask(read)
            else:
                self._open.remove(read)
                read.failed(failure.as_call_error())

        self._connection.send((read.statement,), answered, refused)
        self._on_due()  # `flush` at the end of the turn

    def flush(self) -> None:
        while self._waiting and self._connection.is_ready:
            read = self._waiting.popleft()
            if read in self._open:
                self._ask(read)
        self._connection.flush()

    def tick(self, now: float) -> None:
        """Give up what has waited for too long, for a connection or for an answer."""
        self._give_up([read for read in self._open if read.until < now])

    def give_up(self) -> None:
        """All of them."""
        self._give_up(list(self._open))

    def _give_up(self, reads: list[_Read]) -> None:
        for read in reads:
            self._open.discard(read)
            read.failed(unavailable())


def unavailable(outcome: str = "") -> CallError:
    return StoreUnavailable(f"the database could not be reached within {WAIT_SECONDS:g} s{outcome}", hint="retry")
