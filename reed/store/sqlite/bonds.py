"""Bonds: parent, child, weight, path; no cycles, and what the types of both allow (protocol.md#bonds).

A cycle is looked for from both ends at once, downward from the child and upward from the parent, a step each in turn:
the search ends as soon as either end has nothing left, so adding a leaf or a new root is cheap however large the tree.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator

from reed.errors import Conflict, Invalid, Malformed, NotFound
from reed.store.sqlite.ids import Ids, sequence_in
from reed.store.sqlite.snippets import Snippets
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.types import Types
from reed.wire.snippets import Record

MAX_PATH = 65535  # bytes

_CHILDREN = "SELECT child FROM bonds WHERE parent = ?"
_PARENTS = "SELECT parent FROM bonds WHERE child = ?"
_CYCLE_ENDS = 4  # snippets named at each end of a long cycle


class Bonds:
    def __init__(
        self,
        turn: Transaction,
        writer: sqlite3.Connection,
        types: Types,
        snippets: Snippets,
        ids: Ids,
        clock: Callable[[], int],
    ) -> None:
        self._turn = turn
        self._writer = writer
        self._types = types
        self._snippets = snippets
        self._ids = ids
        self._clock = clock
        self.count: int = writer.execute("SELECT count(*) FROM bonds").fetchone()[0]
        self._count_kept = self.count
        turn.join(self)

    def bond(self, parent_ref: str, child_ref: str, weight: int, path: str) -> str:
        """Make `child` a child of `parent`; gives the bond's id."""
        if not -(1 << 31) <= weight < 1 << 31:
            raise Malformed(f"weight {weight}", hint="a weight has 32 bits")
        if len(path.encode("utf-8", "replace")) > MAX_PATH or "\0" in path:
            raise Malformed("path: too long, or with a NUL in it", hint=f"at most {MAX_PATH} bytes")
        parent, child = self._snippets.find(parent_ref), self._snippets.find(child_ref)
        above, below = sequence_in(parent.id), sequence_in(child.id)
        if above == below:
            raise Conflict(f"{_label(parent)} cannot be its own parent")
        if self._exists(above, below):
            raise Conflict(
                f"{_label(parent)} and {_label(child)} are bonded already",
                hint="unbond them first to change weight or path",
            )
        self._check_composition(parent, child)
        self._check_cycle(above, below)
        self._check_depth(above, below)
        now = self._clock()
        _, bond_id = self._ids.next(now)
        self._turn.begin()
        self._writer.execute("INSERT INTO bonds VALUES (?, ?, ?, ?, ?)", (above, weight, path, below, bond_id))
        self.count += 1
        return bond_id

    def unbond(self, parent_ref: str, child_ref: str) -> None:
        parent, child = self._snippets.find(parent_ref), self._snippets.find(child_ref)
        pair = sequence_in(parent.id), sequence_in(child.id)
        if not self._exists(*pair):
            raise NotFound(
                f"{_label(child)} is no child of {_label(parent)}", hint="`reed schema tree` shows the bonds there are"
            )
        self._turn.begin()
        self._writer.execute("DELETE FROM bonds WHERE parent = ? AND child = ?", pair)
        self.count -= 1

    def release(self, record: Record, cascade: bool) -> None:
        """Before `record` is deleted: its bonds go too with `cascade`, else Conflict when it has any."""
        ends = (sequence_in(record.id),) * 2
        if not cascade:
            (bonded,) = self._writer.execute(
                "SELECT EXISTS (SELECT 1 FROM bonds WHERE parent = ?) OR EXISTS (SELECT 1 FROM bonds WHERE child = ?)",
                ends,
            ).fetchone()
            if bonded:
                raise Conflict(
                    f"{_label(record)} has bonds", hint="delete it with cascade (--cascade), and they go too"
                )
            return
        self._turn.begin()
        self.count -= self._writer.execute("DELETE FROM bonds WHERE parent = ? OR child = ?", ends).rowcount

    def settle(self, kept: bool) -> None:
        if kept:
            self._count_kept = self.count
        else:
            self.count = self._count_kept

    def _exists(self, parent: int, child: int) -> bool:
        found = self._writer.execute("SELECT 1 FROM bonds WHERE child = ? AND parent = ?", (child, parent))
        return found.fetchone() is not None

    def _check_composition(self, parent: Record, child: Record) -> None:
        allowed = self._types.get(parent.snippet_type).composed_of
        if allowed is not None and child.snippet_type not in allowed:
            expected = ", ".join(sorted(allowed)) or "no children at all"
            raise Invalid(
                f"a {parent.snippet_type!r} has no children of type {child.snippet_type!r}",
                hint=f"its definition (composed_of) allows {expected}",
            )

    def _check_cycle(self, parent: int, child: int) -> None:
        came_down: dict[int, int] = {child: child}  # snippet -> the one it was reached from
        came_up: dict[int, int] = {parent: parent}
        down = self._reach(_CHILDREN, child, came_down)
        up = self._reach(_PARENTS, parent, came_up)
        for below, above in zip(down, up, strict=False):
            meeting = below if below in came_up else above if above in came_down else None
            if meeting is not None:
                raise Conflict(f"this bond would close a cycle: {self._cycle(meeting, came_down, came_up)}")

    def _reach(self, query: str, start: int, came_from: dict[int, int]) -> Iterator[int]:
        """All snippets above or below `start`, nearest first, each once."""
        queue = deque((start,))
        while queue:
            at = queue.popleft()
            for (other,) in self._writer.execute(query, (at,)):
                if other not in came_from:
                    came_from[other] = at
                    queue.append(other)
                    yield other

    def _cycle(self, meeting: int, came_down: dict[int, int], came_up: dict[int, int]) -> str:
        """parent > child > … > parent, as names; the middle of a long one left out."""
        steps = [meeting]
        while came_down[steps[-1]] != steps[-1]:
            steps.append(came_down[steps[-1]])
        steps.reverse()
        while came_up[steps[-1]] != steps[-1]:
            steps.append(came_up[steps[-1]])
        steps.insert(0, steps[-1])
        if len(steps) <= 2 * _CYCLE_ENDS:
            return " > ".join([self._name_of(step) for step in steps])
        first, last = steps[:_CYCLE_ENDS], steps[-_CYCLE_ENDS:]
        return " > ".join([*map(self._name_of, first), "…", *map(self._name_of, last)])

    def _check_depth(self, parent: int, child: int) -> None:
        """No type above may get more levels below it than its `max_depth`."""
        limits = {kind.name: kind.max_depth for kind in self._types if kind.max_depth is not None}
        if not limits:
            return
        room: int | None = None  # levels that the child and what is below it may take
        holder = 0
        for distance, level in enumerate(self._levels(_PARENTS, parent, max(limits.values()) + 1)):
            for sequence in level:
                limit = limits.get(self._type_of(sequence))
                if limit is not None and (room is None or limit - distance < room):
                    room, holder = limit - distance, sequence
        if room is None:
            return
        if sum(1 for _ in self._levels(_CHILDREN, child, max(room, 0) + 1)) > room:
            kind = self._type_of(holder)
            raise Invalid(
                f"{self._name_of(holder)} would get more than {limits[kind]} levels below it",
                hint=f"its type {kind!r} says so (max_depth)",
            )

    def _levels(self, query: str, start: int, most: int) -> Iterator[set[int]]:
        """{start}, those one step away, two steps, … while there are any, at most `most` sets."""
        level = {start}
        while level and most > 0:
            yield level
            most -= 1
            level = {other for at in level for (other,) in self._writer.execute(query, (at,))}

    def _type_of(self, sequence: int) -> str:
        (kind,) = self._writer.execute("SELECT type FROM snippets WHERE sequence = ?", (sequence,)).fetchone()
        return str(kind)

    def _name_of(self, sequence: int) -> str:
        found = self._writer.execute("SELECT name, id FROM snippets WHERE sequence = ?", (sequence,)).fetchone()
        return str(found[0] or found[1])


def _label(record: Record) -> str:
    return record.semantic_name or record.id
