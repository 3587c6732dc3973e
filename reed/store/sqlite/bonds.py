"""The table `bonds`: parent, child, weight, path; without cycles, within the rules of both types (protocol.md#bonds).

The check for a cycle searches down from the child and up from the parent, one step each in turn, and ends when either
side is exhausted. So adding a leaf or a new root is cheap in a tree of any size.

A deleted snippet's bonds go with it: up to MAX_DELETED at once, more in slices after the COMMIT, from `remains`. Until
then nothing sees them, since reads join `snippets`, and the walks of the checks pass over them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from reed.errors import Conflict, Invalid, Malformed, NotFound
from reed.store.ids import Ids, sequence_in
from reed.store.sqlite.database import label
from reed.store.sqlite.snippets import Snippets
from reed.store.sqlite.transaction import RowCount, Transaction
from reed.store.sqlite.types import Types
from reed.wire.snippets import Record

MAX_PATH = 65535  # bytes
MAX_DELETED = 1000  # bonds in one slice; 20,000 would take 60 ms

_CHILDREN = "SELECT child FROM bonds WHERE parent = ?"
_PARENTS = "SELECT parent FROM bonds WHERE child = ?"
_DELETE = {
    end: f"DELETE FROM bonds WHERE (parent, child) IN (SELECT parent, child FROM bonds WHERE {end} = ? LIMIT ?)"
    for end in ("parent", "child")
}
_HAS_CHILD = "SELECT 1 FROM bonds CROSS JOIN snippets ON sequence = child WHERE parent = ? LIMIT 1"
_HAS_PARENT = "SELECT 1 FROM bonds CROSS JOIN snippets ON sequence = parent WHERE child = ? LIMIT 1"
_CYCLE_ENDS = 4  # snippets shown at each end of a long cycle


class Bonds:
    def __init__(
        self,
        transaction: Transaction,
        types: Types,
        snippets: Snippets,
        ids: Ids,
        clock: Callable[[], int],
    ) -> None:
        self._transaction = transaction
        self._writer = transaction.writer
        self._types = types
        self._snippets = snippets
        self._ids = ids
        self._clock = clock
        self.count = RowCount(transaction, "bonds")
        self._is_paused = False
        self._load()
        transaction.join(self)

    def _load(self) -> None:
        self._remains = {sequence for (sequence,) in self._writer.execute("SELECT sequence FROM bond_remains")}
        self._is_changed = False  # `_remains`, in this transaction

    def bond(self, parent_ref: str, child_ref: str, weight: int, path: str) -> str:
        if not -(1 << 31) <= weight < 1 << 31:
            raise Malformed(f"weight {weight}", hint="a weight has 32 bits")
        if len(path.encode("utf-8", "replace")) > MAX_PATH or "\0" in path:
            raise Malformed("path: too long, or contains NUL", hint=f"at most {MAX_PATH} bytes")
        parent, child = self._snippets.find(parent_ref), self._snippets.find(child_ref)
        above, below = sequence_in(parent.id), sequence_in(child.id)
        if above == below:
            raise Conflict(f"{_label(parent)} cannot be its own parent")
        if self._exists(above, below):
            raise Conflict(
                f"{_label(parent)} and {_label(child)} are already bonded",
                hint="unbond them first to change weight or path",
            )
        self._types.current.get(parent.snippet_type).check_child(child.snippet_type)
        self._check_cycle(above, below)
        self._check_depth(above, below)
        now = self._clock()
        _, bond_id = self._ids.next(now)
        self._transaction.begin()
        self._writer.execute("INSERT INTO bonds VALUES (?, ?, ?, ?, ?)", (above, weight, path, below, bond_id))
        self.count.value += 1
        return bond_id

    def unbond(self, parent_ref: str, child_ref: str) -> None:
        parent, child = self._snippets.find(parent_ref), self._snippets.find(child_ref)
        pair = sequence_in(parent.id), sequence_in(child.id)
        if not self._exists(*pair):
            raise NotFound(
                f"{_label(child)} is not a child of {_label(parent)}",
                hint="`reed schema tree` shows the bonds there are",
            )
        self._transaction.begin()
        self._writer.execute("DELETE FROM bonds WHERE parent = ? AND child = ?", pair)
        self.count.value -= 1

    def delete_of(self, record: Record, cascade: bool) -> None:
        """Delete the bonds of a snippet that is to be deleted; Conflict if it has any and `cascade` is not set."""
        sequence = sequence_in(record.id)
        if not cascade:
            if any(self._writer.execute(query, (sequence,)).fetchone() for query in (_HAS_CHILD, _HAS_PARENT)):
                raise Conflict(f"{_label(record)} has bonds", hint="delete with cascade (--cascade) to remove them too")
            return
        self._transaction.begin()
        if not self._delete_some(sequence):
            self._writer.execute("INSERT INTO bond_remains VALUES (?)", (sequence,))
            self._remains.add(sequence)
            self._is_changed = True

    def check_restored(self, record: Record) -> None:
        """Conflict while bonds of a snippet that had this id are being deleted."""
        if sequence_in(record.id) in self._remains:
            raise Conflict(f"{record.id} was deleted, and its bonds are still being deleted", hint="retry")

    def _delete_some(self, sequence: int) -> bool:
        """Delete up to MAX_DELETED bonds of a snippet; True if it has no more."""
        room = MAX_DELETED
        for delete in _DELETE.values():
            deleted = self._writer.execute(delete, (sequence, room)).rowcount
            self.count.value -= deleted
            room -= deleted
        return room > 0

    @property
    def has_work(self) -> bool:
        return bool(self._remains) and not self._is_paused

    def work(self, _until: float) -> None:
        """Delete some bonds of a deleted snippet."""
        self._transaction.commit()
        if not self.has_work:  # that commit failed
            return
        sequence = next(iter(self._remains))
        self._transaction.begin_unsynced()
        self._is_changed = True
        if self._delete_some(sequence):
            self._writer.execute("DELETE FROM bond_remains WHERE sequence = ?", (sequence,))
            self._remains.discard(sequence)

    def settle(self, committed: bool) -> None:
        if self._is_changed and not committed:
            self._load()
            self._is_paused = True  # wait for another write to succeed
        elif committed:
            self._is_changed = self._is_paused = False

    def _exists(self, parent: int, child: int) -> bool:
        found = self._writer.execute("SELECT 1 FROM bonds WHERE child = ? AND parent = ?", (child, parent))
        return found.fetchone() is not None

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
        """Snippets above or below `start`, breadth first."""
        queue = deque((start,))
        while queue:
            at = queue.popleft()
            for (other,) in self._writer.execute(query, (at,)):
                if other not in came_from and other not in self._remains:
                    came_from[other] = at
                    queue.append(other)
                    yield other

    def _cycle(self, meeting: int, came_down: dict[int, int], came_up: dict[int, int]) -> str:
        """parent > child > … > parent"""
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
        """Raises Invalid if a snippet above would get more levels below it than its type's `max_depth`."""
        limits = {type_.name: type_.max_depth for type_ in self._types.current if type_.max_depth is not None}
        if not limits:
            return
        room: int | None = None  # levels that the child and its descendants may take
        ancestor = 0
        for distance, level in enumerate(self._levels(_PARENTS, parent, max(limits.values()) + 1)):
            for sequence in level:
                limit = limits.get(self._type_of(sequence))
                if limit is not None and (room is None or limit - distance < room):
                    room, ancestor = limit - distance, sequence
        if room is None:
            return
        if sum(1 for _ in self._levels(_CHILDREN, child, max(room, 0) + 1)) > room:
            type_name = self._type_of(ancestor)
            raise Invalid(
                f"{self._name_of(ancestor)} would get more than {limits[type_name]} levels below it",
                hint=f"max_depth of its type {type_name!r}",
            )

    def _levels(self, query: str, start: int, max_levels: int) -> Iterator[set[int]]:
        """{start}, the snippets one step away, two steps away, …"""
        level = {start}
        while level and max_levels > 0:
            yield level
            max_levels -= 1
            level = {other for at in level for (other,) in self._writer.execute(query, (at,))} - self._remains

    def _type_of(self, sequence: int) -> str:
        (type_name,) = self._writer.execute("SELECT type FROM snippets WHERE sequence = ?", (sequence,)).fetchone()
        return str(type_name)

    def _name_of(self, sequence: int) -> str:
        return label(self._writer, sequence)


def _label(record: Record) -> str:
    return record.semantic_name or record.id
