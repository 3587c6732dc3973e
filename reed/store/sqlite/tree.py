"""The bonds below a snippet, or all trees, read from SQLite in batches (see `tree_text`)."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator

from reed.errors import NotFound
from reed.store.tree_text import Node, TooManyNodes, TreeText

__all__ = ["TooManyNodes", "tree"]

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
