"""The table `types`, and its definitions compiled in memory.

Reads see `committed`; writes see `current`, with what this transaction has changed.
"""

from __future__ import annotations

from reed.store.sqlite.transaction import Transaction
from reed.store.types import Type, TypeCatalog


class Types:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._changed: list[tuple[str, Type | None]] = []  # in this transaction; None: deleted
        self.committed = TypeCatalog()
        self.committed.load(transaction.writer.execute("SELECT name, definition FROM types").fetchall())
        self.current = self.committed.copy()
        transaction.join(self)

    def define(self, new: Type) -> Type | None:
        """Write a compiled type; gives the one it replaces."""
        self._transaction.begin()
        self._transaction.writer.execute("INSERT OR REPLACE INTO types VALUES (?, ?)", (new.name, new.definition))
        self._changed.append((new.name, new))
        return self.current.put(new)

    def delete(self, name: str) -> None:
        self._transaction.begin()
        self._transaction.writer.execute("DELETE FROM types WHERE name = ?", (name,))
        self._changed.append((name, None))
        self.current.remove(name)

    def settle(self, committed: bool) -> None:
        if not self._changed:
            return
        if committed:
            for name, new in self._changed:
                if new is None:
                    self.committed.remove(name)
                else:
                    self.committed.put(new)
        else:
            self.current = self.committed.copy()
        self._changed.clear()
