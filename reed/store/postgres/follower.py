"""Reads the log of all cores: every quarter of a second, and at once when another core says that it has written.

    NOTIFY, or the timer ──▶ news since `last` ──▶ lines of other cores: `on_line`      trust renewed
                                      └─ the log was trimmed beyond `last` ──▶ `on_gap`

Batches are numbered in the order of their commits, so no reader misses one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reed.store.context import StoreLoop
from reed.store.postgres.connection import Connection, Failure, Statement
from reed.store.postgres.log_statements import PAGE_BATCHES
from reed.store.postgres.values import Rows, number, params, text

POLL_SECONDS = 0.25


class LogLine(NamedTuple):
    """A change that a core has committed."""

    seq: int
    k: int
    kind: str  # "" for a batch without changes
    id: str  # of the snippet, or the bond
    made_by: str  # the plugin


class Follower:
    def __init__(
        self,
        loop: StoreLoop,
        core: str,
        last: int,
        connection: Connection,
        on_line: Callable[[LogLine], None],
        on_gap: Callable[[], None],
        on_read: Callable[[float], None],
    ) -> None:
        """`last`: the last batch that is known. `on_line` gets the changes of other cores, `on_read` the time at which
        a query was sent that has now shown all of them."""
        self.last = last
        self._loop = loop
        self._core = core.encode()
        self._connection = connection
        self._on_line = on_line
        self._on_gap = on_gap
        self._on_read = on_read
        self._is_out = False
        self._is_wanted = False  # again, when the answer has come

    def poll(self) -> None:
        if self._is_out:
            self._is_wanted = True
        elif self._connection.is_ready:
            self._is_out, self._is_wanted = True, False
            sent_at = self._loop.now()
            statements = (Statement("heads", ()), Statement("news", params(self.last, self._core)))
            self._connection.send(statements, lambda results: self._read(sent_at, *results), self._failed)
            self._connection.flush()

    def _failed(self, _: Failure) -> None:
        self._is_out = False

    def _read(self, sent_at: float, heads: Rows, news: Rows) -> None:
        self._is_out = False
        head, trimmed = (number(heads, 0, at) for at in (0, 1))
        if trimmed > self.last:
            self.last = head
            self._on_gap()
        else:
            read_to = self.last + PAGE_BATCHES
            for line in _lines(news):
                self.last = max(self.last, line.seq)
                if line.kind:
                    self._on_line(line)
            self.last = max(self.last, min(head, read_to))
        if self.last >= head:
            self._on_read(sent_at)
        if self._is_wanted or self.last < head:
            self.poll()


def _lines(rows: Rows) -> list[LogLine]:
    return [
        LogLine(
            seq=number(rows, row, 0),
            k=number(rows, row, 1),
            kind=text(rows, row, 2),
            id=text(rows, row, 3),
            made_by=text(rows, row, 4),
        )
        for row in range(rows.ntuples)
    ]
