"""Derived from reed/client/structure.py by tests/client/derive.py: change that, and run this with --write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reed.client.aio.calls import Calls
from reed.client.values import own_definition, to_json
from reed.wire.codes import Command

if TYPE_CHECKING:
    from reed.wire.registry import Definition

Json = Any


class StructureMethods(Calls):
    async def schema_bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        """Make a snippet the child of another; returns the bond's id. Children are sorted by `weight`.

        Raises NotFound, Conflict if the bond exists or would close a cycle.

        >>> news = await core.snippet_create("page", "news", {"title": "News"})
        >>> len(await core.schema_bond("blog", "news", weight=2))
        36
        """
        return str((await self._request(Command.SCHEMA_BOND, parent, child, weight, path)).bond_id)

    async def schema_unbond(self, parent: str, child: str) -> None:
        """Remove a bond. Raises NotFound.

        >>> await core.schema_unbond("blog", "blog/intro")
        """
        await self._request(Command.SCHEMA_UNBOND, parent, child)

    async def schema_tree(self, root: str = "", depth: int = 0) -> Json:
        """{"id","type","name","weight","path","children":[…]}; without `root` a list of all roots. Depth 0: all.

        Raises NotFound, TooLarge if the tree exceeds limits.tree_nodes.

        >>> tree = await core.schema_tree("blog")
        >>> [child["name"] for child in tree["children"]]
        ['blog/intro']
        """
        return await self._json(Command.SCHEMA_TREE, root, depth)

    async def registry_define(self, type_name: str, definition: Json) -> bool:
        """Define or redefine a type; returns whether it is new. Raises Invalid, and Conflict if content forbids it.

        >>> await core.registry_define("note", {"schema": {"type": "object", "required": ["text"]}})
        True
        """
        return bool((await self._request(Command.REGISTRY_DEFINE, type_name, to_json(definition))).status == 201)

    async def registry_get(self, type_name: str) -> Definition:
        """The definition of a type. Raises NotFound.

        >>> page = await core.registry_get("page")
        >>> page.name, page.json()
        ('page', {'searchable': {'title': 3, 'body': 1}})
        """
        return own_definition((await self._request(Command.REGISTRY_GET, type_name)).definition)

    async def registry_check(self, type_name: str, after: str = "", limit: int = 0) -> dict[str, Json]:
        """Check up to 1000 snippets against their type: {"checked","unfit","first":[{"id","name","problem"}],"cursor"}.

        `cursor` is the next `after`, "" at the end. Raises NotFound.

        >>> await core.registry_check("page")
        {'checked': 2, 'unfit': 0, 'first': [], 'cursor': ''}
        """
        return await self._json_object(Command.REGISTRY_CHECK, type_name, after, limit)

    async def registry_delete(self, type_name: str) -> None:
        """Delete a type. Raises NotFound, Conflict while it has snippets.

        >>> new = await core.registry_define("note", {})
        >>> await core.registry_delete("note")
        """
        await self._request(Command.REGISTRY_DELETE, type_name)

    async def registry_list(self) -> list[Definition]:
        """The definitions of all types, sorted by name.

        >>> [definition.name for definition in await core.registry_list()]
        ['page']
        """
        return [own_definition(each) for each in (await self._request(Command.REGISTRY_LIST)).definitions]
