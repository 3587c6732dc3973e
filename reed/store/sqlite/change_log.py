"""The log of changes: a row for each transaction, written with it; its lines are numbered without gaps.

    add, add, …  ── before the COMMIT: one row ──▶ changes(last, lines)     `last`: the number of the row's last line
                                                   epoch(epoch)             see `reed.store.changes`

One row for all writes of a turn costs less than a row for each. Rows beyond `max_changes` lines are deleted by later
transactions, at most TRIM_ROWS by each. While somebody follows, the last lines are kept in memory, so that a change is
sent in the turn of its COMMIT without reading the file.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator

from reed.store.changes import PAGE_CHANGES, ChangePage, check_kept, cursor_of, position_of
from reed.store.sqlite.transaction import Transaction
from reed.wire.snippets import Record
from reed.wire.watch import CREATED, Change

TRIM_ROWS = 500  # in one transaction
TRIM_EVERY = 256  # changes
_ROW_LINES = 500
_IN_MEMORY = 2000  # changes

_INSERT = "INSERT INTO changes (last, lines) VALUES (?, ?)"
_FIRST, _LAST = (f"SELECT last, lines FROM changes ORDER BY last {order} LIMIT 1" for order in ("ASC", "DESC"))
_OLDEST = f"SELECT last FROM changes WHERE last <= ? ORDER BY last LIMIT {TRIM_ROWS}"
_AFTER = "SELECT last, lines FROM changes WHERE last > ? ORDER BY last"


class ChangeLog:
    __slots__ = (
        "_added",
        "_epoch",
        "_insert",
        "_last",
        "_max_changes",
        "_next_trim",
        "_on_changes",
        "_reader",
        "_recent",
        "_trimmed",
        "_writer",
        "_written",
        "has_news",
    )

    def __init__(self, transaction: Transaction, max_changes: int) -> None:
        self.has_news = False  # lines were committed, and somebody follows
        self._writer = transaction.writer
        self._insert = transaction.writer.cursor().execute  # writer.execute makes a cursor each time
        self._reader = transaction.database.reader
        self._max_changes = max_changes
        self._added: list[str] = []  # lines of this transaction
        self._on_changes: Callable[[], None] | None = None
        self._recent: deque[tuple[int, Change]] = deque(maxlen=_IN_MEMORY)
        self._load()
        transaction.before_commit = self.write
        transaction.join(self)

    def _load(self) -> None:
        (self._epoch,) = self._writer.execute("SELECT epoch FROM epoch").fetchone()
        first, last = (self._writer.execute(query).fetchone() for query in (_FIRST, _LAST))
        self._last: int = last[0] if last else 0  # committed
        self._written = self._last  # in this transaction
        self._trimmed: int = first[0] - first[1].count("\n") - 1 if first else 0  # the last line that is gone
        self._next_trim = self._trimmed + self._max_changes + TRIM_EVERY

    # Writing.

    def add(self, kind: str, record: Record, at: int, made_by: str) -> None:
        """`at`: Unix microseconds; `made_by`: a plugin, or ""."""
        # Names have no control characters, so nothing is quoted.
        self._added.append(
            f"{kind}\t{record.id}\t{record.snippet_type}\t{record.semantic_name}\t{record.version}\t{at}\t{made_by}\t"
        )

    def add_created(self, snippet_id: str, type_name: str, name: str, at: int, made_by: str) -> None:
        self._added.append(f"{CREATED}\t{snippet_id}\t{type_name}\t{name}\t1\t{at}\t{made_by}\t")

    def add_bond(self, kind: str, parent: Record, child: Record, at: int, made_by: str) -> None:
        name = parent.semantic_name
        self._added.append(f"{kind}\t{parent.id}\t{parent.snippet_type}\t{name}\t0\t{at}\t{made_by}\t{child.id}")

    def add_type(self, kind: str, type_name: str, at: int, made_by: str) -> None:
        self._added.append(f"{kind}\t\t{type_name}\t\t0\t{at}\t{made_by}\t")

    def write(self) -> None:
        """Put the lines of this transaction into it. Raises sqlite3.Error."""
        added = self._added
        if not added:
            return
        for start in range(0, len(added), _ROW_LINES):
            lines = added[start : start + _ROW_LINES]
            self._written += len(lines)
            self._insert(_INSERT, (self._written, "\n".join(lines)))
        if self._written >= self._next_trim:
            self._trim()

    def _trim(self) -> None:
        oldest = self._writer.execute(_OLDEST, (self._written - self._max_changes,)).fetchall()
        if oldest:
            (self._trimmed,) = oldest[-1]
            self._writer.execute("DELETE FROM changes WHERE last <= ?", (self._trimmed,))
        self._next_trim = self._written + TRIM_EVERY

    def settle(self, committed: bool) -> None:
        if not committed:
            self._added = []
            self._load()
        elif self._added:
            if self._on_changes is not None:
                self._recent.extend(self._lines(self._last + 1, self._added))
                self.has_news = True
            self._last = self._written
            self._added = []

    # Following and reading.

    def follow(self, on_changes: Callable[[], None] | None) -> None:
        self._on_changes = on_changes
        self.has_news = False
        self._recent.clear()

    def tell(self) -> None:
        """The turn's transaction was committed, and its callers were told."""
        self.has_news = False
        if self._on_changes is not None:
            self._on_changes()

    def cursor(self, position: int) -> str:
        return cursor_of(self._epoch, position)

    def position(self, cursor: str) -> int:
        """ "" is the last committed change. Raises Malformed and CursorTooOld."""
        if not cursor:
            return self._last
        position = position_of(cursor, self._epoch)
        self._check(position)
        return position

    def after(self, position: int) -> ChangePage:
        """Raises CursorTooOld and sqlite3.Error."""
        self._check(position)
        if position == self._last:
            return ChangePage([], position, is_last=True)
        found: list[tuple[int, Change]] = []
        if self._recent and self._recent[0][0] <= position + 1:
            for line in reversed(self._recent):
                if line[0] <= position:
                    break
                found.append(line)
            found.reverse()
            del found[PAGE_CHANGES:]
        else:
            self._read(position, found)
        return ChangePage(found, found[-1][0], is_last=found[-1][0] == self._last)

    def _read(self, position: int, found: list[tuple[int, Change]]) -> None:
        rows: sqlite3.Cursor = self._reader.execute(_AFTER, (position,))
        try:
            for last, text in rows:
                lines = text.split("\n")
                first = last - len(lines) + 1
                skipped = max(position + 1 - first, 0)
                found.extend(self._lines(first + skipped, lines[skipped:]))
                if len(found) >= PAGE_CHANGES:
                    break
        finally:
            rows.close()  # or the connection would keep its snapshot

    def _check(self, position: int) -> None:
        check_kept(position, self._epoch, self._trimmed, self._last, self._max_changes)

    def _lines(self, number: int, lines: list[str]) -> Iterator[tuple[int, Change]]:
        """`number`: of the first line."""
        for at_line, line in enumerate(lines, number):
            kind, snippet_id, type_name, name, version, at, made_by, child = line.split("\t")
            cursor = self.cursor(at_line)
            yield (at_line, Change(kind, snippet_id, type_name, name, int(version), int(at), made_by, child, cursor))
