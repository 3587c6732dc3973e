"""Snippets, bonds and types in dicts. Each method handles one command: its record in, the record of the answer out.

Errors are those of a store, with their status and text. While no type is defined, content of any type is accepted;
once a test defines types, content is checked against them as in the core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from reed.errors import Invalid, Malformed
from reed.store import bonds as bond_errors
from reed.store import snippets as snippet_errors
from reed.store.field_values import conditions_of, satisfies
from reed.store.merge_patch import merge
from reed.store.tree_text import Node, TreeText
from reed.store.types import TypeCatalog, compile_type, type_in_use
from reed.wire import identifiers, strict_json
from reed.wire.common import Done, JsonResponse
from reed.wire.registry import Definition, RegistryCheck, RegistryDefine, RegistryGot, RegistryPage
from reed.wire.requests import Name, Ref
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond
from reed.wire.search import SearchHit, SearchIndexed, SearchPage, SearchQuery
from reed.wire.snippets import (
    Record,
    SnippetCreate,
    SnippetDelete,
    SnippetFind,
    SnippetGot,
    SnippetList,
    SnippetNames,
    SnippetPage,
    SnippetRename,
    SnippetRestore,
    SnippetUpdate,
    SnippetWritten,
)

_EXCERPT = 160  # characters


class _Bond(NamedTuple):
    id: str
    parent: str
    child: str
    weight: int
    path: str


class FakeContent:
    def __init__(self) -> None:
        self.records: dict[str, Record] = {}  # by id, in the order of creation
        self._names: dict[str, str] = {}  # name -> id
        self._bonds: dict[tuple[str, str], _Bond] = {}
        self._types = TypeCatalog()
        self._last_id = 0
        self.deleted: dict[str, tuple[Record, list[dict[str, Any]]]] = {}  # by name and id: the record, and its bonds

    def id_of(self, ref: str) -> str:
        return self._names.get(ref, ref)

    def find(self, ref: str) -> Record:
        """By id or name. Raises NotFound."""
        record = self.records.get(self.id_of(ref))
        if record is None:
            raise snippet_errors.not_found(ref, self._names)
        return record

    def bonds_of(self, snippet_id: str) -> list[dict[str, Any]]:
        return [bond._asdict() for bond in self._bonds.values() if snippet_id in (bond.parent, bond.child)]

    # Snippets

    def snippet_get(self, request: Ref) -> SnippetGot:
        return SnippetGot(200, self.find(request.ref))

    def snippet_list(self, request: SnippetList) -> SnippetPage:
        return self._page(request.snippet_type, request.after, request.limit, lambda _record: True)

    def snippet_find(self, request: SnippetFind) -> SnippetPage:
        conditions = conditions_of(bytes(request.conditions))
        return self._page(
            request.snippet_type,
            request.after,
            request.limit,
            lambda record: satisfies(conditions, bytes(record.content)),
        )

    def snippet_names(self, request: SnippetNames) -> JsonResponse:
        names = sorted(name for name in self._names if name.startswith(request.prefix))
        return JsonResponse(200, strict_json.dumps(names[: request.limit or None]))

    def snippet_create(self, request: SnippetCreate) -> SnippetWritten:
        content = self._checked(request.snippet_type, bytes(request.content))
        now = time.time_ns() // 1000
        record = Record(self._next_id(), request.snippet_type, request.semantic_name, 1, now, now, content)
        self._claim(request.semantic_name, record.id)
        self.records[record.id] = record
        return SnippetWritten(201, record.id)

    def snippet_update(self, request: SnippetUpdate) -> SnippetWritten:
        record = self.find(request.ref)
        if request.if_version and request.if_version != record.version:
            raise snippet_errors.overtaken(request.ref, record.version, request.if_version)
        patch = bytes(request.patch)
        if not isinstance(strict_json.loads(patch), dict):
            raise Invalid("the patch is not an object: the content must stay one", hint="send a JSON Merge Patch")
        text, _ = merge(bytes(record.content).decode(), patch.decode())
        self._change(record, content=self._checked(record.snippet_type, text.encode()))
        return SnippetWritten(200, record.id)

    def snippet_rename(self, request: SnippetRename) -> SnippetWritten:
        record = self.find(request.ref)
        self._claim(request.semantic_name, record.id)
        self._names.pop(record.semantic_name if record.semantic_name != request.semantic_name else "", None)
        self._change(record, semantic_name=request.semantic_name)
        return SnippetWritten(200, record.id)

    def snippet_delete(self, request: SnippetDelete) -> SnippetWritten:
        record = self.find(request.ref)
        bonded = [pair for pair in self._bonds if record.id in pair]
        if bonded and not request.cascade:
            raise bond_errors.has_bonds(snippet_errors.label_of(record))
        for ref in filter(None, (record.semantic_name, record.id)):
            self.deleted[ref] = record, self.bonds_of(record.id)
        for pair in bonded:
            del self._bonds[pair]
        self._names.pop(record.semantic_name, None)
        del self.records[record.id]
        return SnippetWritten(200, record.id)

    def snippet_restore(self, request: SnippetRestore) -> SnippetWritten:
        """Replaces whatever has that id; the flags are not looked at."""
        record = request.record._replace(content=bytes(request.record.content))
        old = self.records.get(record.id)
        self._claim(record.semantic_name, record.id)
        if old is not None and old.semantic_name != record.semantic_name:
            self._names.pop(old.semantic_name, None)
        self.records[record.id] = record
        return SnippetWritten(204 if old else 201, record.id)

    # Bonds

    def schema_bond(self, request: SchemaBond) -> SchemaBonded:
        parent, child = self.find(request.parent), self.find(request.child)
        if parent.id == child.id:
            raise bond_errors.own_parent(snippet_errors.label_of(parent))
        if (parent.id, child.id) in self._bonds:
            raise bond_errors.already_bonded(request.parent, request.child)
        parent_type = self._types.find(parent.snippet_type)
        if parent_type is not None:
            parent_type.check_child(child.snippet_type)
        bond = _Bond(self._next_id(), parent.id, child.id, request.weight, request.path)
        self._bonds[parent.id, child.id] = bond
        return SchemaBonded(201, bond.id)

    def schema_unbond(self, request: SchemaUnbond) -> Done:
        pair = self.find(request.parent).id, self.find(request.child).id
        if self._bonds.pop(pair, None) is None:
            raise bond_errors.not_bonded(request.parent, request.child)
        return Done(200)

    def schema_tree(self, request: SchemaTree) -> JsonResponse:
        text = TreeText(self._children, request.depth, is_whole=not request.root)
        if request.root:
            text.add(self._node(self.find(request.root)))
        else:
            children = {child for _, child in self._bonds}
            text.add_all(self._node(each) for each in self.records.values() if each.id not in children)
        return JsonResponse(200, text.text())

    # Types

    def registry_define(self, request: RegistryDefine) -> Done:
        replaced = self._types.put(compile_type(request.type_name, bytes(request.definition)))
        return Done(200 if replaced else 201)

    def registry_get(self, request: Name) -> RegistryGot:
        return RegistryGot(200, Definition(request.name, self._types.get(request.name).definition))

    def registry_list(self) -> RegistryPage:
        return RegistryPage(200, self._types.definitions())

    def registry_check(self, request: RegistryCheck) -> JsonResponse:
        found = self._types.get(request.type_name)
        unfit = []
        of_type = [each for each in self.records.values() if each.snippet_type == request.type_name]
        for record in of_type:
            try:
                found.check(strict_json.load_object(record.content))
            except Invalid as error:
                unfit.append(f"{snippet_errors.label_of(record)}: {error.message}")
        answer = {"checked": len(of_type), "unfit": len(unfit), "first": unfit[0] if unfit else "", "cursor": ""}
        return JsonResponse(200, strict_json.dumps(answer))

    def registry_delete(self, request: Name) -> Done:
        self._types.get(request.name)
        if count := sum(each.snippet_type == request.name for each in self.records.values()):
            raise type_in_use(request.name, count)
        self._types.remove(request.name)
        return Done(200)

    # Search

    def search_query(self, request: SearchQuery) -> SearchPage:
        """Snippets that contain all words, in any text; the score is the number of occurrences."""
        words = request.query.casefold().split()
        if not words:
            raise Malformed("the query has no word to search for", hint="search for letters or digits")
        hits = []
        for record in self._of_type(request.snippet_type):
            text = " ".join(_texts(strict_json.loads(record.content)))
            counts = [text.casefold().count(word) for word in words]
            if all(counts):
                hits.append(SearchHit(*record[:3], float(sum(counts)), text[:_EXCERPT]))
        hits.sort(key=lambda hit: -hit.score)
        end = request.offset + (request.limit or len(hits))
        return SearchPage(200, len(hits), hits[request.offset : end])

    def search_index(self, request: Ref) -> SearchIndexed:
        if request.ref:
            self.find(request.ref)
        return SearchIndexed(200, 1 if request.ref else len(self.records))

    # Parts

    def _page(self, kind: str, after: str, limit: int, is_wanted: Callable[[Record], bool]) -> SnippetPage:
        records = [each for each in self._of_type(kind) if each.id > after and is_wanted(each)]
        page = records[: snippet_errors.page_limit(limit)]
        return SnippetPage(200, page[-1].id if len(page) < len(records) else "", page)

    def _of_type(self, kind: str) -> Iterator[Record]:
        return (record for record in self.records.values() if not kind or record.snippet_type == kind)

    def _checked(self, kind: str, content: bytes) -> bytes:
        """Raises Malformed, Invalid."""
        identifiers.check("type name", kind)
        value = strict_json.load_object(content)
        if len(self._types):
            self._types.require(kind).check(value)
        return content

    def _claim(self, name: str, snippet_id: str) -> None:
        if not name:
            return
        identifiers.check("semantic name", name)
        if self._names.get(name, snippet_id) != snippet_id:
            raise snippet_errors.name_in_use(name, self._names[name])
        self._names[name] = snippet_id

    def _change(self, record: Record, **fields: Any) -> None:
        now = max(time.time_ns() // 1000, record.updated_at + 1)
        self.records[record.id] = record._replace(version=record.version + 1, updated_at=now, **fields)

    def _next_id(self) -> str:
        """In the format of the core's ids, and the same in every run."""
        self._last_id += 1
        return f"01900000-0000-7000-8000-{self._last_id:012x}"

    def _node(self, record: Record, weight: int = 0, path: str = "") -> Node:
        has_children = any(parent == record.id for parent, _ in self._bonds)
        return Node(record.id, record.id, record.snippet_type, record.semantic_name, weight, path, has_children)

    def _children(self, parent: Node) -> Iterator[Node]:
        bonds = sorted(
            (bond for bond in self._bonds.values() if bond.parent == parent.key), key=lambda each: each.weight
        )
        return (self._node(self.records[bond.child], bond.weight, bond.path) for bond in bonds)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
