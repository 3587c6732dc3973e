"""Bonds between snippets: `reed.schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reed.plugin import writes
from reed.plugin.services import ask_json, encode
from reed.plugin.writes import written, written_id


class TreeNode(NamedTuple):
    id: str
    type: str
    name: str
    weight: int
    path: str
    children: list[TreeNode]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> TreeNode:
        children = [cls.of(each) for each in fields.get("children") or ()]
        return cls(fields["id"], fields["type"], fields["name"], fields["weight"], fields["path"], children)


class Schema:
    """Every method raises Error."""

    def bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        """The bond's id."""
        return written_id(writes.bond(parent, child, weight, path))

    def unbond(self, parent: str, child: str) -> bool:
        """True."""
        return bool(written(writes.unbond(parent, child))[0])

    def tree(self, root: str = "", depth: int = 0) -> list[TreeNode]:
        """The tree below a snippet, as a list of one; without a root, all roots. `depth` 0: everything."""
        found = ask_json("schema.tree", encode([root, depth]))
        return [TreeNode.of(each) for each in (found if isinstance(found, list) else [found])]
