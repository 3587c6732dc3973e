"""The graph of bonds as one connection to SQLite sees it: the loop's, or a worker's, which needs no more of `bonds`."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterator

from reed.store.bonds import BondGraph
from reed.store.sqlite.database import label


class SqliteGraph(BondGraph[int]):
    def __init__(self, connection: sqlite3.Connection, deleted: Collection[int], max_steps: float = math.inf) -> None:
        super().__init__(deleted, max_steps)
        self._connection = connection

    def children(self, at: int) -> Iterator[int]:
        return self._numbers("SELECT child FROM bonds WHERE parent = ?", at)

    def parents(self, at: int) -> Iterator[int]:
        return self._numbers("SELECT parent FROM bonds WHERE child = ?", at)

    def _numbers(self, query: str, at: int) -> Iterator[int]:
        return (number for (number,) in self._connection.execute(query, (at,)))

    def type_of(self, at: int) -> str:
        (name,) = self._connection.execute("SELECT type FROM snippets WHERE sequence = ?", (at,)).fetchone()
        return str(name)

    def label_of(self, at: int) -> str:
        return label(self._connection, at)
