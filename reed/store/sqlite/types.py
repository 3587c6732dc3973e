"""The table `types`, and its definitions compiled in memory."""

from __future__ import annotations

from reed.store.sqlite.transaction import Transaction
from reed.store.types import Type, TypeCatalog


class Types(TypeCatalog):
    def __init__(self, transaction: Transaction) -> None:
        super().__init__()
        self._transaction = transaction
        self._is_changed = False  # in this transaction
        self._load()
        transaction.join(self)

    def define(self, new: Type) -> Type | None:
        """Write a compiled type; gives the one it replaces."""
        self._transaction.begin()
        self._transaction.writer.execute("INSERT OR REPLACE INTO types VALUES (?, ?)", (new.name, new.definition))
        self._is_changed = True
        return self.put(new)

    def settle(self, committed: bool) -> None:
        if self._is_changed and not committed:
            self._load()
        self._is_changed = False

    def _load(self) -> None:
        self.load(self._transaction.writer.execute("SELECT name, definition FROM types").fetchall())
