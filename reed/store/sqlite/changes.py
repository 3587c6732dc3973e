"""Writes in which several parts of the store have a share; each is one write of the turn's transaction."""

from __future__ import annotations

from collections.abc import Callable

from reed.store.sqlite.bonds import Bonds
from reed.store.sqlite.fields import FieldIndexes
from reed.store.sqlite.ids import sequence_in
from reed.store.sqlite.index import Index
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.restoring import Restoring
from reed.store.sqlite.snippets import Snippets
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.types import Type, Types
from reed.wire.snippets import Record


class Changes:
    """`by` is the subscriber who makes a change."""

    def __init__(
        self,
        turn: Transaction,
        types: Types,
        snippets: Snippets,
        bonds: Bonds,
        index: Index,
        fields: FieldIndexes,
        outbox: Outbox,
        clock: Callable[[], int],
    ) -> None:
        self._turn = turn
        self._types = types
        self._snippets = snippets
        self._bonds = bonds
        self._index = index
        self._fields = fields
        self._outbox = outbox
        self._clock = clock
        self.restoring = Restoring(snippets, types, index, outbox, clock)

    def create(self, type_name: str, name: str, content: bytes, by: str) -> str:
        record = self._snippets.create(type_name, name, content)
        self._index.created()
        self._outbox.add("snippet.created", record, record.created_at, by)
        return record.id

    def update(self, ref: str, if_version: int, patch: bytes, by: str) -> str:
        return self._updated(self._snippets.update(ref, if_version, patch), by)

    def replace(self, seen: Record, content: bytes, name: str | None, by: str) -> str:
        return self._updated(self._snippets.replace(seen, content, name), by)

    def rename(self, ref: str, name: str, by: str) -> str:
        return self._noted(self._snippets.rename(ref, name), by)  # the search index holds no names

    def _updated(self, record: Record, by: str) -> str:
        self._index.changed(sequence_in(record.id))
        return self._noted(record, by)

    def _noted(self, record: Record, by: str) -> str:
        self._outbox.add("snippet.updated", record, record.updated_at, by)
        return record.id

    def delete(self, ref: str, cascade: bool, by: str) -> str:
        record = self._snippets.find(ref)
        self._bonds.release(record, cascade)
        self._snippets.delete(record)
        self._index.deleted(sequence_in(record.id))
        self._outbox.add("snippet.deleted", record, self._clock() // 1000, by)
        return record.id

    def define(self, new: Type) -> bool:
        old = self._types.define(new)
        self._index.redefined(new, old)
        self._fields.redefined(new)
        return old is None

    def index_again(self, ref: str) -> int:
        self._turn.begin()  # also when nothing has to be marked: the answer comes with the commit
        if ref:
            self._index.changed(sequence_in(self._snippets.find(ref).id))
            return 1
        self._index.start_again(self._snippets.count)
        return self._snippets.count
