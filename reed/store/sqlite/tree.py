"""Bonds as JSON: `{"id","type","name","weight","path","children":[…]}` (protocol.md#bonds).

With a root: that object; its own weight is 0 and its path empty. Without one: an array of all roots in creation order.
A root is a snippet that has children and no parent: what is bonded to nothing is no tree, and `page` lists it.
Children come by weight, then path, then creation. `depth` counts the levels below a root: 1 is a root and its
children, 0 all of them.

The walk keeps its own stack and reads children a batch at a time, so neither a deep nor a wide tree costs more than its
own text. JSON may nest 64 deep (protocol.md#json) and a payload has a limit: what would pass either is refused, not
cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from reed.errors import NotFound, TooLarge
from reed.store.sqlite.jobs import Steps
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.strict_json import MAX_DEPTH, dumps
from reed.wire.structs import JSON_RESPONSE

MAX_TREE = MAX_PAYLOAD - JSON_RESPONSE.size
DEEPEST = (MAX_DEPTH - 2) // 2  # levels below a root: each nests an object and an array, as the root does
_STEP = 16  # snippets between two chances to interrupt

_BATCH = 64
# Most have no children: they are not asked for any.
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
_HAS_PARENT = "SELECT 1 FROM bonds WHERE child = ? LIMIT 1"


class _Node(NamedTuple):
    sequence: int
    id: str
    type: str
    name: str
    weight: int
    path: str
    has_children: int  # 0 or 1


def tree(connection: sqlite3.Connection, root: int | None, depth: int) -> Steps[bytes]:
    """The JSON of one tree (`root` is a sequence number) or of all; raises TooLarge."""
    walk = _Walk(connection, depth, DEEPEST if root is not None else DEEPEST - 1)
    if root is not None:
        yield from walk.add(root)
        return walk.text()
    walk.write("[")
    parent = -1
    first = True
    while True:
        (found,) = connection.execute(_NEXT_PARENT, (parent,)).fetchone()
        if found is None:
            break
        parent = found
        if connection.execute(_HAS_PARENT, (parent,)).fetchone() is None:
            if not first:
                walk.write(",")
            first = False
            yield from walk.add(parent)
        yield
    walk.write("]")
    return walk.text()


class _Walk:
    def __init__(self, connection: sqlite3.Connection, depth: int, deepest: int) -> None:
        self._connection = connection
        self._depth = depth
        self._deepest = deepest
        self._parts: list[str] = []
        self._room = MAX_TREE

    def write(self, text: str) -> None:
        self._parts.append(text)
        self._room -= len(text) if text.isascii() else len(text.encode())
        if self._room < 0:
            raise TooLarge(
                f"the tree has more than {MAX_TREE} bytes", hint="ask for fewer levels (--depth), or for a part of it"
            )

    def text(self) -> bytes:
        return "".join(self._parts).encode()

    def add(self, root: int) -> Steps[None]:
        """Write one tree."""
        row = self._connection.execute(_ROOT, (root,)).fetchone()
        if row is None:
            raise NotFound("the snippet at the root of this tree was deleted meanwhile")
        self._open(_Node._make(row))
        stack = [self._children(root)]
        wrote_one = [False]  # at each level: does the next need a comma?
        steps = 0
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                wrote_one.pop()
                self.write("]}")
                continue
            if wrote_one[-1]:
                self.write(",")
            wrote_one[-1] = True
            self._open(node)
            if self._goes_below(len(stack), node):
                stack.append(self._children(node.sequence))
                wrote_one.append(False)
            else:
                self.write("]}")
            steps += 1
            if steps % _STEP == 0:
                yield

    def _goes_below(self, level: int, node: _Node) -> bool:
        """Are the children of a node of this level shown?"""
        if not node.has_children or (self._depth and level >= self._depth):
            return False
        if level < self._deepest:
            return True
        raise TooLarge(
            f"the tree has more than {self._deepest} levels, and JSON may nest no deeper",
            hint=f"ask for --depth {self._deepest}, then for the snippets at its end",
        )

    def _open(self, node: _Node) -> None:
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
