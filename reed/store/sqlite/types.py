"""The table `types`, and its definitions compiled in memory.

Reads see `committed`; writes see `current`, which also has what this transaction has defined.
"""

from __future__ import annotations

from reed.store.sqlite.transaction import Transaction
from reed.store.types import Type, TypeCatalog


class Types:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._defined: list[Type] = []  # in this transaction
        self.committed = TypeCatalog()
        self.committed.load(transaction.writer.execute("SELECT name, definition FROM types").fetchall())
        self.current = self.committed.copy()
        transaction.join(self)

    def define(self, new: Type) -> Type | None:
        """Write a compiled type; gives the one it replaces."""
        self._transaction.begin()
        self._transaction.writer.execute("INSERT OR REPLACE INTO types VALUES (?, ?)", (new.name, new.definition))
        self._defined.append(new)
        return self.current.put(new)

    def settle(self, committed: bool) -> None:
        if not self._defined:
            return
        if committed:
            for new in self._defined:
                self.committed.put(new)
        else:
            self.current = self.committed.copy()
        self._defined.clear()
