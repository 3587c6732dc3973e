"""The methods of a client for snippets, search, bonds and types.

Those of the asyncio client are derived from this file by tests/client/derive.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reed.client.calls import Calls
from reed.client.values import own, own_definition, own_page, to_json
from reed.wire.codes import Command

if TYPE_CHECKING:
    from reed.wire.registry import Definition
    from reed.wire.search import SearchPage
    from reed.wire.snippets import Record, SnippetPage, SnippetWritten

Json = Any


class ContentMethods(Calls):
    def snippet_create(self, snippet_type: str, semantic_name: str, content: Json) -> str:
        """Create a snippet; returns its id. `content` is an object, `semantic_name` may be "".

        Raises NotFound if there is no such type, Conflict if the name or a unique field is in use, Invalid if the
        content does not fit its type.

        >>> snippet_id = core.snippet_create("page", "about", {"title": "About us"})
        >>> len(snippet_id)
        36
        """
        return self._write(Command.SNIPPET_CREATE, snippet_type, semantic_name, to_json(content))

    def snippet_update(self, ref: str, patch: Json, if_version: int = 0) -> str:
        """Apply a JSON Merge Patch (RFC 7396) to the content; returns the id.

        Raises NotFound, Invalid if the content would not fit its type, Conflict unless the version is `if_version`
        (0: any).

        >>> page = core.snippet_get("blog/intro")
        >>> snippet_id = core.snippet_update("blog/intro", {"title": "Hi", "body": None}, if_version=page.version)
        >>> core.snippet_get("blog/intro").json()
        {'title': 'Hi'}
        """
        return self._write(Command.SNIPPET_UPDATE, ref, if_version, to_json(patch))

    def snippet_delete(self, ref: str, *, cascade: bool = False) -> str:
        """Delete a snippet; returns its id.

        Raises NotFound, and Conflict if the snippet has bonds, unless `cascade` deletes them too.

        >>> snippet_id = core.snippet_delete("blog/intro", cascade=True)
        >>> core.snippet_names()
        ['blog']
        """
        return self._write(Command.SNIPPET_DELETE, ref, cascade)

    def snippet_restore(
        self, record: Record, *, accept_unfit: bool = False, overwrite: bool = False, dry_run: bool = False
    ) -> SnippetWritten:
        """Write a snippet with its former id, version and times; `dry_run` only checks.

        The status is 201 (new), 204 (replaced an older version) or 200 (already the same). Raises Conflict if the store
        has a newer version, unless `overwrite`. Content that does not fit its type only sets `error` if `accept_unfit`.

        >>> page = core.snippet_get("blog/intro")
        >>> snippet_id = core.snippet_delete("blog/intro", cascade=True)
        >>> core.snippet_restore(page).status
        201
        """
        from reed.wire.snippets import RestoreFlag

        flags = RestoreFlag.ACCEPT_UNFIT * accept_unfit | RestoreFlag.OVERWRITE * overwrite
        flags |= RestoreFlag.DRY_RUN * dry_run
        written: SnippetWritten = self._request(Command.SNIPPET_RESTORE, flags, record)
        return written

    def snippet_rename(self, ref: str, semantic_name: str) -> str:
        """Give a snippet another name, or none (""); returns its id. Raises NotFound, Conflict if the name is in use.

        >>> snippet_id = core.snippet_rename("blog/intro", "blog/first")
        >>> core.snippet_get("blog/first").version
        2
        """
        return self._write(Command.SNIPPET_RENAME, ref, semantic_name)

    def snippet_get(self, ref: str) -> Record:
        """The snippet with this name, id or beginning of an id. Raises NotFound.

        >>> page = core.snippet_get("blog/intro")
        >>> page.name, page.type, page.version
        ('blog/intro', 'page', 1)
        >>> page.json()
        {'title': 'Hello', 'body': 'A few words.'}
        """
        return own(self._request(Command.SNIPPET_GET, ref).record)

    def snippet_list(self, snippet_type: str = "", after: str = "", limit: int = 0) -> SnippetPage:
        """A page of snippets in the order of their creation, of one type or of all (""). Limit 0 is 100, the most 1000.

        The page's `cursor` is the next `after`, "" at the end; `snippets` goes through all pages.

        >>> page = core.snippet_list("page", limit=1)
        >>> [record.name for record in page.records]
        ['blog']
        >>> [record.name for record in core.snippet_list("page", after=page.cursor).records]
        ['blog/intro']
        """
        return own_page(self._request(Command.SNIPPET_LIST, snippet_type, after, limit))

    def snippet_find(self, snippet_type: str, conditions: Json, after: str = "", limit: int = 0) -> SnippetPage:
        """Like `snippet_list`, of snippets whose top-level fields equal `conditions`, {field: value}.

        >>> [record.name for record in core.snippet_find("page", {"title": "Hello"}).records]
        ['blog/intro']
        """
        return own_page(self._request(Command.SNIPPET_FIND, snippet_type, to_json(conditions), after, limit))

    def snippets(self, snippet_type: str = "", page_size: int = 0, where: Json = None) -> Iterator[Record]:
        """All snippets, page by page: those of `snippet_list`, or of `snippet_find` with the conditions `where`.

        A page is read when it is needed. A snippet that is created or deleted meanwhile may be missing.

        >>> [record.name for record in core.snippets("page", where={"title": "Hello"})]
        ['blog/intro']
        """
        cursor = ""
        while True:
            if where is None:
                page = self.snippet_list(snippet_type, cursor, page_size)
            else:
                page = self.snippet_find(snippet_type, where, cursor, page_size)
            yield from page.records
            cursor = page.cursor
            if not cursor:
                return

    def snippet_names(self, prefix: str = "", limit: int = 0) -> list[str]:
        """Names that begin with `prefix`, sorted. Limit 0 is 100, the most 1000.

        >>> core.snippet_names("blog/")
        ['blog/intro']
        """
        return self._json_list(Command.SNIPPET_NAMES, prefix, limit)

    def search(self, query: str, snippet_type: str = "", limit: int = 0, offset: int = 0) -> SearchPage:
        """Hits for words and "phrases", best first; the last word may be a prefix. Limit 0 is 20.

        A page has `total` and `hits`, each with id, type, name, score and an excerpt. Raises Invalid, JobTimeout if the
        search takes too long.

        >>> [hit.name for hit in core.search("few word").hits]
        ['blog/intro']
        """
        page: SearchPage = self._request(Command.SEARCH_QUERY, query, snippet_type, limit, offset)
        return page

    def search_index(self, ref: str = "") -> int:
        """Rebuild the index of one snippet, or of all (""); returns how many. Raises NotFound.

        >>> core.search_index("blog/intro")
        1
        """
        return int(self._request(Command.SEARCH_INDEX, ref).indexed)


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
