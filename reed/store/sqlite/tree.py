"""Bonds as JSON: `{"id","type","name","weight","path","children":[…]}` (protocol.md#bonds).

With a root the JSON is that object; its own weight is 0 and its path empty. Without one it is an array of all trees,
whose roots are the snippets with children and no parent, in creation order. Children are sorted by weight, path and
creation. `depth` counts the levels below a root; 0 means all.

The walk keeps its own stack and reads children in batches, so that memory grows only with the text. A tree that nests
deeper than JSON may (protocol.md#json), or does not fit into a payload, is refused.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from reed.errors import NotFound, TooLarge
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.strict_json import MAX_DEPTH, dumps
from reed.wire.structs import JSON_RESPONSE

MAX_TREE = MAX_PAYLOAD - JSON_RESPONSE.size
MAX_LEVELS = (MAX_DEPTH - 2) // 2  # below a root: each nests an object and an array, as the root does

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
# Bonds of a deleted snippet may be there for a while (see `bonds`).
_IS_NO_ROOT = (
    "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM snippets WHERE sequence = ?1) OR EXISTS"
    " (SELECT 1 FROM bonds CROSS JOIN snippets ON snippets.sequence = bonds.parent WHERE bonds.child = ?1)"
    " OR NOT EXISTS"
    " (SELECT 1 FROM bonds CROSS JOIN snippets ON snippets.sequence = bonds.child WHERE bonds.parent = ?1)"
)


class _Node(NamedTuple):
    sequence: int
    id: str
    type: str
    name: str
    weight: int
    path: str
    has_children: int  # 0 or 1


class TooManyNodes(Exception):
    """The tree has more nodes than the caller has time for."""


def tree(connection: sqlite3.Connection, root: int | None, depth: int, max_nodes: float = math.inf) -> bytes:
    """The JSON of the tree at `root`, a sequence number, or of all; raises TooLarge, NotFound or TooManyNodes."""
    writer = _TreeWriter(connection, depth, MAX_LEVELS if root is not None else MAX_LEVELS - 1, max_nodes)
    if root is not None:
        writer.add(root)
        return writer.text()
    writer.write("[")
    parent = -1
    first = True
    while True:
        (found,) = connection.execute(_NEXT_PARENT, (parent,)).fetchone()
        if found is None:
            break
        parent = found
        writer.count()
        if connection.execute(_IS_NO_ROOT, (parent,)).fetchone() is None:
            if not first:
                writer.write(",")
            first = False
            writer.add(parent)
    writer.write("]")
    return writer.text()


class _TreeWriter:
    def __init__(self, connection: sqlite3.Connection, depth: int, max_levels: int, max_nodes: float) -> None:
        self._connection = connection
        self._depth = depth
        self._max_levels = max_levels
        self._nodes_left = max_nodes
        self._parts: list[str] = []
        self._room = MAX_TREE

    def write(self, text: str) -> None:
        self._parts.append(text)
        self._room -= len(text) if text.isascii() else len(text.encode())
        if self._room < 0:
            raise TooLarge(
                f"the tree has more than {MAX_TREE} bytes", hint="ask for fewer levels (--depth), or for a part of it"
            )

    def count(self) -> None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise TooManyNodes

    def text(self) -> bytes:
        return "".join(self._parts).encode()

    def add(self, root: int) -> None:
        row = self._connection.execute(_ROOT, (root,)).fetchone()
        if row is None:
            raise NotFound("the snippet at the root of this tree was deleted meanwhile")
        self._open(_Node._make(row))
        stack = [self._children(root)]
        needs_comma = [False]  # at each level, before the next child
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                needs_comma.pop()
                self.write("]}")
                continue
            if needs_comma[-1]:
                self.write(",")
            needs_comma[-1] = True
            self._open(node)
            if self._shows_children(len(stack), node):
                stack.append(self._children(node.sequence))
                needs_comma.append(False)
            else:
                self.write("]}")

    def _shows_children(self, level: int, node: _Node) -> bool:
        if not node.has_children or (self._depth and level >= self._depth):
            return False
        if level < self._max_levels:
            return True
        raise TooLarge(
            f"the tree has more than {self._max_levels} levels, and JSON may nest no deeper",
            hint=f"ask for --depth {self._max_levels}, then for the snippets at its end",
        )

    def _open(self, node: _Node) -> None:
        self.count()
        # Ids and names have no character that JSON escapes.
        self.write(
            f'{{"id":"{node.id}","type":"{node.type}","name":"{node.name}","weight":{node.weight},'
            f'"path":{dumps(node.path).decode()},"children":['
        )

    def _children(self, parent: int) -> Iterator[_Node]:
        rows = self._connection.execute(_FIRST, (parent,)).fetchall()
        while rows:
            nodes = [_Node._make(row) for row in rows]
            yield from nodes
            if len(nodes) < _BATCH:
                return
            last = nodes[-1]
            rows = self._connection.execute(_NEXT, (parent, last.weight, last.path, last.sequence)).fetchall()
