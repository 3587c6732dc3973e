"""The bonds as one connection sees them, the loop's or a worker's.

SqliteGraph   the walks of a new bond (see `reed.store.bonds`)
tree          the bonds below a snippet, or all trees, as JSON (see `tree_text`), read in batches
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterator

from reed.errors import NotFound
from reed.store.bonds import BondGraph
from reed.store.sqlite.database import label
from reed.store.tree_text import Node, TreeText

_BATCH = 64
_CHILDREN = (
    "SELECT bonds.child, snippets.id, snippets.type, snippets.name, bonds.weight, bonds.path,"
    " EXISTS (SELECT 1 FROM bonds AS below WHERE below.parent = bonds.child)"
    " FROM bonds CROSS JOIN snippets ON snippets.sequence = bonds.child WHERE bonds.parent = ?"
)
_FIRST = f"{_CHILDREN} ORDER BY bonds.weight, bonds.path, bonds.child LIMIT {_BATCH}"
_NEXT = (
    f"{_CHILDREN} AND (bonds.weight, bonds.path, bonds.child) > (?, ?, ?)"
    f" ORDER BY bonds.weight, bonds.path, bonds.child LIMIT {_BATCH}"
)
_ROOT = "SELECT sequence, id, type, name, 0, '', 1 FROM snippets WHERE sequence = ?"
_NEXT_PARENT = "SELECT min(parent) FROM bonds WHERE parent > ?"
# Bonds of a deleted snippet may be there for a while.
_IS_NO_ROOT = (
    "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM snippets WHERE sequence = :of) OR EXISTS"
    " (SELECT 1 FROM bonds CROSS JOIN snippets ON snippets.sequence = bonds.parent WHERE bonds.child = :of)"
    " OR NOT EXISTS"
    " (SELECT 1 FROM bonds CROSS JOIN snippets ON snippets.sequence = bonds.child WHERE bonds.parent = :of)"
)


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


def tree(connection: sqlite3.Connection, root: int | None, depth: int, max_nodes: float = math.inf) -> bytes:
    """The JSON of the tree at `root`, a sequence number, or of all; raises TooLarge, NotFound or TooManyNodes."""
    text = TreeText(lambda node: _children(connection, node), depth, is_whole=root is None, max_nodes=max_nodes)
    if root is None:
        text.add_all(_roots(connection, text))
    else:
        text.add(_node(connection, root))
    return text.text()


def _roots(connection: sqlite3.Connection, text: TreeText) -> Iterator[Node]:
    parent = -1
    while True:
        (found,) = connection.execute(_NEXT_PARENT, (parent,)).fetchone()
        if found is None:
            return
        parent = found
        text.count()
        if connection.execute(_IS_NO_ROOT, {"of": parent}).fetchone() is None:
            yield _node(connection, parent)


def _node(connection: sqlite3.Connection, root: int) -> Node:
    row = connection.execute(_ROOT, (root,)).fetchone()
    if row is None:
        raise NotFound("the snippet at the root of this tree was deleted meanwhile")
    return Node._make(row)


def _children(connection: sqlite3.Connection, parent: Node) -> Iterator[Node]:
    rows = connection.execute(_FIRST, (parent.key,)).fetchall()
    while rows:
        nodes = [Node._make(row) for row in rows]
        yield from nodes
        if len(nodes) < _BATCH:
            return
        last = nodes[-1]
        rows = connection.execute(_NEXT, (parent.key, last.weight, last.path, last.key)).fetchall()
