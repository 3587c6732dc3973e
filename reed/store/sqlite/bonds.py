"""The table `bonds`: parent, child, weight, path (protocol.md#bonds).

A deleted snippet's bonds are deleted with it, beyond MAX_DELETED in slices after the COMMIT. Until then reads and walks
pass over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from reed.errors import Conflict
from reed.store.bonds import already_bonded, check_place, has_bonds, not_bonded, own_parent
from reed.store.ids import Ids, sequence_in
from reed.store.snippets import label_of
from reed.store.sqlite.change_log import ChangeLog
from reed.store.sqlite.graph import SqliteGraph
from reed.store.sqlite.snippets import Snippets
from reed.store.sqlite.transaction import RowCount, Transaction
from reed.store.sqlite.types import Types
from reed.wire.snippets import Record
from reed.wire.watch import BONDED, UNBONDED

MAX_STEPS = 1000  # of the walks of a new bond in the loop
MAX_DELETED = 1000  # bonds in one slice; 20,000 would take 60 ms

_DELETE = {
    end: f"DELETE FROM bonds WHERE (parent, child) IN (SELECT parent, child FROM bonds WHERE {end} = ? LIMIT ?)"
    for end in ("parent", "child")
}
_OF = "SELECT bonds.id, p.id, c.id, weight, path FROM bonds JOIN snippets p ON p.sequence = parent"
_OF += " JOIN snippets c ON c.sequence = child WHERE {end} = ? ORDER BY weight, path"
_HAS_CHILD = "SELECT 1 FROM bonds CROSS JOIN snippets ON sequence = child WHERE parent = ? LIMIT 1"
_HAS_PARENT = "SELECT 1 FROM bonds CROSS JOIN snippets ON sequence = parent WHERE child = ? LIMIT 1"


class NewBond(NamedTuple):
    parent: str  # refs
    child: str
    weight: int
    path: str
    made_by: str = ""  # a plugin


class Pair(NamedTuple):
    parent: Record
    child: Record

    @property
    def sequences(self) -> tuple[int, int]:
        return sequence_in(self.parent.id), sequence_in(self.child.id)


class Bonds:
    def __init__(
        self,
        transaction: Transaction,
        types: Types,
        snippets: Snippets,
        ids: Ids,
        clock: Callable[[], int],
        log: ChangeLog,
    ) -> None:
        self._log = log
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

    def find_pair(self, bond: NewBond) -> Pair:
        """The ends of a new bond, which may be bonded but for what `check_graph` finds."""
        check_place(bond.weight, bond.path)
        pair = Pair(self._snippets.find(bond.parent), self._snippets.find(bond.child))
        parent, child = pair
        if parent.id == child.id:
            raise own_parent(label_of(parent))
        if self._exists(*pair.sequences):
            raise already_bonded(label_of(parent), label_of(child))
        self._types.current.get(parent.snippet_type).check_child(child.snippet_type)
        return pair

    def check_graph(self, pair: Pair) -> None:
        """Raises Conflict, Invalid, or TooManySteps: then a worker has to do it."""
        SqliteGraph(self._writer, self._remains, MAX_STEPS).check(*self.graph_arguments(pair))

    def graph_arguments(self, pair: Pair) -> tuple[int, int, dict[str, int]]:
        return *pair.sequences, self._types.current.max_depths()

    def insert(self, bond: NewBond, pair: Pair) -> str:
        parent, child = pair.sequences
        now = self._clock()
        _, bond_id = self._ids.next(now)
        self._transaction.begin()
        row = (parent, bond.weight, bond.path, child, bond_id)
        self._writer.execute("INSERT INTO bonds VALUES (?, ?, ?, ?, ?)", row)
        self.count.value += 1
        self._log.add_bond(BONDED, *pair, now // 1000, bond.made_by)
        return bond_id

    def unbond(self, parent_ref: str, child_ref: str, made_by: str = "") -> None:
        parent, child = self._snippets.find(parent_ref), self._snippets.find(child_ref)
        pair = sequence_in(parent.id), sequence_in(child.id)
        if not self._exists(*pair):
            raise not_bonded(label_of(parent), label_of(child))
        self._transaction.begin()
        self._writer.execute("DELETE FROM bonds WHERE parent = ? AND child = ?", pair)
        self.count.value -= 1
        self._log.add_bond(UNBONDED, parent, child, self._clock() // 1000, made_by)

    def of(self, record: Record) -> Iterator[tuple[str, str, str, int, str]]:
        """Id, parent, child, weight and path of the snippet's bonds: those to its children come first."""
        for end in ("parent", "child"):
            yield from self._writer.execute(_OF.format(end=end), (sequence_in(record.id),))

    def delete_of(self, record: Record, cascade: bool) -> None:
        """Delete the bonds of a snippet that is to be deleted; Conflict if it has any and `cascade` is not set."""
        sequence = sequence_in(record.id)
        if not cascade:
            if any(self._writer.execute(query, (sequence,)).fetchone() for query in (_HAS_CHILD, _HAS_PARENT)):
                raise has_bonds(label_of(record))
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
