"""The methods of a client for types and bonds. Those of the asyncio client are derived from this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reed.client.calls import Calls
from reed.client.values import own_definition, to_json
from reed.wire.codes import Command

if TYPE_CHECKING:
    from reed.wire.registry import Definition

Json = Any


class StructureMethods(Calls):
    def schema_bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        """Make a snippet the child of another; returns the bond's id. Children are sorted by `weight`.

        Raises NotFound, Conflict if the bond exists or would close a cycle.

        >>> news = core.snippet_create("page", "news", {"title": "News"})
        >>> len(core.schema_bond("blog", "news", weight=2))
        36
        """
        return str(self._request(Command.SCHEMA_BOND, parent, child, weight, path).bond_id)

    def schema_unbond(self, parent: str, child: str) -> None:
        """Remove a bond. Raises NotFound.

        >>> core.schema_unbond("blog", "blog/intro")
        """
        self._request(Command.SCHEMA_UNBOND, parent, child)

    def schema_tree(self, root: str = "", depth: int = 0) -> Json:
        """{"id","type","name","weight","path","children":[…]}; without `root` a list of all roots. Depth 0: all.

        Raises NotFound, TooLarge if the tree exceeds limits.tree_nodes.

        >>> tree = core.schema_tree("blog")
        >>> [child["name"] for child in tree["children"]]
        ['blog/intro']
        """
        return self._json(Command.SCHEMA_TREE, root, depth)

    def registry_define(self, type_name: str, definition: Json) -> bool:
        """Define or redefine a type; returns whether it is new. Raises Invalid, and Conflict if content forbids it.

        >>> core.registry_define("note", {"schema": {"type": "object", "required": ["text"]}})
        True
        """
        return bool(self._request(Command.REGISTRY_DEFINE, type_name, to_json(definition)).status == 201)

    def registry_get(self, type_name: str) -> Definition:
        """The definition of a type. Raises NotFound.

        >>> page = core.registry_get("page")
        >>> page.name, page.json()
        ('page', {'searchable': {'title': 3, 'body': 1}})
        """
        return own_definition(self._request(Command.REGISTRY_GET, type_name).definition)

    def registry_check(self, type_name: str, after: str = "", limit: int = 0) -> dict[str, Json]:
        """Check up to 1000 snippets against their type: {"checked","unfit","first":[{"id","name","problem"}],"cursor"}.

        `cursor` is the next `after`, "" at the end. Raises NotFound.

        >>> core.registry_check("page")
        {'checked': 2, 'unfit': 0, 'first': [], 'cursor': ''}
        """
        return self._json_object(Command.REGISTRY_CHECK, type_name, after, limit)

    def registry_delete(self, type_name: str) -> None:
        """Delete a type. Raises NotFound, Conflict while it has snippets.

        >>> new = core.registry_define("note", {})
        >>> core.registry_delete("note")
        """
        self._request(Command.REGISTRY_DELETE, type_name)

    def registry_list(self) -> list[Definition]:
        """The definitions of all types, sorted by name.

        >>> [definition.name for definition in core.registry_list()]
        ['page']
        """
        return [own_definition(each) for each in self._request(Command.REGISTRY_LIST).definitions]
