"""The log of all cores, as watchers read it: tables `batches` and `changes`, in the order of the commits.

    position = batches.seq * MAX_LINES + changes.k          head('epoch')     see `reed.store.changes`

Nothing is told from memory: a commit of another core may come before one of this core, and be heard of later. So after
each commit of this core, and after news of others, one query reads what follows the position of those that watch.
"""

from __future__ import annotations

from collections.abc import Callable

from reed.store.base import Done, Failed
from reed.store.changes import PAGE_CHANGES, ChangePage, check_kept, cursor_of, position_of
from reed.store.postgres.reader import Reader
from reed.store.postgres.values import Rows, number, params, text
from reed.store.postgres.writer import MAX_LINES
from reed.wire.watch import BONDED, UNBONDED, Change

_LAST_K = MAX_LINES - 1
_BONDS = frozenset({BONDED, UNBONDED})
_ID_SIZE = 36


def bond_name(child: str, parent_name: str) -> str:
    """The column `name` of a bond's line, whose `id` and `type` are those of the parent."""
    return child + parent_name


class ChangeLog:
    def __init__(self, epoch: str, reader: Reader, max_changes: int) -> None:
        self._epoch = epoch
        self._reader = reader
        self._max_changes = max_changes
        self._on_changes: Callable[[], None] | None = None

    def follow(self, on_changes: Callable[[], None] | None) -> None:
        self._on_changes = on_changes

    def grew(self) -> None:
        """There may be new lines."""
        if self._on_changes is not None:
            self._on_changes()

    def cursor(self, position: int) -> str:
        return cursor_of(self._epoch, position)

    def position(self, cursor: str, done: Done[int], failed: Failed) -> None:
        """Raises Malformed and CursorTooOld."""
        position = position_of(cursor, self._epoch) if cursor else None

        def found(rows: Rows) -> None:
            if position is None:
                done(_end_of(number(rows, 0, 0)))
                return
            self._check(position, rows)
            done(position)

        self._reader.ask("log_ends", (), found, failed)

    def after(self, position: int, done: Done[ChangePage], failed: Failed) -> None:
        seq, k = divmod(position, MAX_LINES)

        def found(rows: Rows) -> None:
            self._check(position, rows)
            head, read_to = number(rows, 0, 0), seq + PAGE_CHANGES
            changes = [self._change(rows, row) for row in range(rows.ntuples) if rows.get_value(row, 2) is not None]
            if len(changes) == PAGE_CHANGES:
                done(ChangePage(changes, changes[-1][0], is_last=False))
            else:
                done(ChangePage(changes, max(position, _end_of(min(head, read_to))), is_last=read_to >= head))

        self._reader.ask("log_after", params(seq, k), found, failed)

    def _check(self, position: int, rows: Rows) -> None:
        """`rows` begin with the last batch, and the last one that was trimmed. Raises CursorTooOld."""
        last, trimmed = (_end_of(number(rows, 0, at)) for at in (0, 1))
        check_kept(position, self._epoch, trimmed, last, self._max_changes)

    def _change(self, rows: Rows, row: int) -> tuple[int, Change]:
        position = number(rows, row, 2) * MAX_LINES + number(rows, row, 3)
        kind, snippet_id, type_name, name = (text(rows, row, at) for at in range(4, 8))
        version, at, made_by, child = number(rows, row, 8), number(rows, row, 9), text(rows, row, 10), ""
        if kind in _BONDS:
            child, name = name[:_ID_SIZE], name[_ID_SIZE:]
            snippet_id = snippet_id if type_name else ""  # an older core has logged the id of the bond
        elif not kind.startswith("snippet."):
            version = 0
        cursor = self.cursor(position)
        return position, Change(kind, snippet_id, type_name, name, version, at, made_by, child, cursor)


def _end_of(seq: int) -> int:
    return seq * MAX_LINES + _LAST_K
