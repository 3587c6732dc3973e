"""The log of changes, as watchers read it from any store (internals/store.md#log-of-changes).

A position is a number that rises with each committed change. A cursor is a position as text, with the epoch of its log:
"5f3a9c01-1042". The epoch is random, and changes when a store gets content that is not in its log, as by a restored
backup. So a cursor is refused, rather than misread, by a store that it does not belong to.
"""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import CursorTooOld, Malformed
from reed.wire.watch import Change

PAGE_CHANGES = 500  # in a page, about

_HINT = "read what you need again (SNIPPET_LIST), and watch without a cursor, from now on"


class ChangePage(NamedTuple):
    changes: list[tuple[int, Change]]  # with their positions, in the order of the commits
    position: int  # everything up to here is in this page, or before it
    is_last: bool  # nothing later was committed when it was read


def cursor_of(epoch: str, position: int) -> str:
    return f"{epoch}-{position}"


def position_of(cursor: str, epoch: str) -> int:
    """Raises Malformed, and CursorTooOld for a cursor of another log."""
    of_log, dash, number = cursor.partition("-")
    if not (dash and of_log and number.isascii() and number.isdigit()):
        raise Malformed(f"{cursor!r} is no cursor", hint="use one that the core has sent")
    if of_log != epoch:
        raise CursorTooOld(
            f"the cursor {cursor} belongs to another store, or to the time before a backup was restored", hint=_HINT
        )
    return int(number)


def check_kept(position: int, epoch: str, trimmed: int, last: int, max_changes: int) -> None:
    """Raises CursorTooOld unless the log, trimmed up to a position, still has what follows this one."""
    if position < trimmed:
        problem = f"is too old: the store keeps the last {max_changes} changes (limits.kept_changes)"
    elif position > last:
        problem = "is beyond the last change of this store"
    else:
        return
    raise CursorTooOld(f"the cursor {cursor_of(epoch, position)} {problem}", hint=_HINT)
