"""Bonds as JSON: `{"id","type","name","weight","path","children":[…]}` (protocol.md#bonds).

With a root the JSON is that object; its own weight is 0 and its path empty. Without one it is an array of all trees,
whose roots are the snippets with children and no parent, in creation order. Children are sorted by weight, path and
creation. `depth` counts the levels below a root; 0 means all.

The walk keeps its own stack, so that memory grows only with the text. A tree that nests deeper than JSON may
(protocol.md#json), or does not fit into a payload, is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from reed.errors import TooLarge
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.strict_json import MAX_DEPTH, dumps
from reed.wire.structs import JSON_RESPONSE

MAX_TREE = MAX_PAYLOAD - JSON_RESPONSE.size
MAX_LEVELS = (MAX_DEPTH - 2) // 2  # below a root: each nests an object and an array, as the root does


class Node(NamedTuple):
    key: Any  # of the store
    id: str
    type: str
    name: str
    weight: int
    path: str
    has_children: bool | int


class TooManyNodes(Exception):
    """The tree has more nodes than the caller has time for."""


class TreeText:
    def __init__(
        self, children: Callable[[Node], Iterator[Node]], depth: int, *, is_whole: bool, max_nodes: float = math.inf
    ) -> None:
        """`children` reads the nodes below one; `is_whole`: all trees are written, in an array."""
        self._children = children
        self._depth = depth
        self._max_levels = MAX_LEVELS - 1 if is_whole else MAX_LEVELS
        self._nodes_left = max_nodes
        self._parts: list[str] = []
        self._room = MAX_TREE

    def add_all(self, roots: Iterable[Node]) -> None:
        self._write("[")
        for number, root in enumerate(roots):
            if number:
                self._write(",")
            self.add(root)
        self._write("]")

    def add(self, root: Node) -> None:
        """The tree at this node; TooLarge or TooManyNodes."""
        self._open(root)
        stack = [self._children(root)]
        needs_comma = [False]  # at each level, before the next child
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                needs_comma.pop()
                self._write("]}")
                continue
            if needs_comma[-1]:
                self._write(",")
            needs_comma[-1] = True
            self._open(node)
            if self._shows_children(len(stack), node):
                stack.append(self._children(node))
                needs_comma.append(False)
            else:
                self._write("]}")

    def count(self) -> None:
        """A node was looked at."""
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise TooManyNodes

    def text(self) -> bytes:
        return "".join(self._parts).encode()

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._room -= len(text) if text.isascii() else len(text.encode())
        if self._room < 0:
            raise TooLarge(
                f"the tree has more than {MAX_TREE} bytes", hint="ask for fewer levels (--depth), or for a part of it"
            )

    def _shows_children(self, level: int, node: Node) -> bool:
        if not node.has_children or (self._depth and level >= self._depth):
            return False
        if level < self._max_levels:
            return True
        raise TooLarge(
            f"the tree has more than {self._max_levels} levels, and JSON may nest no deeper",
            hint=f"ask for --depth {self._max_levels}, then for the snippets at its end",
        )

    def _open(self, node: Node) -> None:
        self.count()
        # Ids and names have no character that JSON escapes.
        self._write(
            f'{{"id":"{node.id}","type":"{node.type}","name":"{node.name}","weight":{node.weight},'
            f'"path":{dumps(node.path).decode()},"children":['
        )
