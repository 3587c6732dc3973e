"""The commands that the store carries out: SNIPPET_, SCHEMA_, REGISTRY_ and SEARCH_.

A restore is not filtered, but keeps its place in the queue of filters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from reed.core.calls import Call, Handler
from reed.core.creates import refuse, written
from reed.core.filters import Filters
from reed.core.response_cache import ResponseCache
from reed.core.watchers import Watchers
from reed.core.write_queue import WriteQueue
from reed.errors import CallError
from reed.store import base
from reed.store.base import HitPage, RecordPage, Restored, Store
from reed.store.snippets import MAX_SHORT_PAGE
from reed.wire import strict_json
from reed.wire.codes import Command
from reed.wire.common import Done, JsonResponse
from reed.wire.registry import RegistryCheck, RegistryDefine, RegistryGot, RegistryPage
from reed.wire.requests import Name, Ref
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond
from reed.wire.search import SearchIndexed, SearchPage, SearchQuery
from reed.wire.snippets import (
    SnippetCreate,
    SnippetDelete,
    SnippetFind,
    SnippetList,
    SnippetNames,
    SnippetPage,
    SnippetRename,
    SnippetRestore,
    SnippetUpdate,
    SnippetWritten,
)
from reed.wire.structs import nothing_left
from reed.wire.watch import SnippetWatch

_RESTORED = {"created": 201, "replaced": 204, "unchanged": 200}


def handlers(store: Store, filters: Filters, cache: ResponseCache, watchers: Watchers) -> dict[Command, Handler]:
    def watch(call: Call, payload: memoryview) -> None:
        watchers.begin(call, SnippetWatch.unpack(payload))

    return {
        Command.SNIPPET_WATCH: watch,
        **_snippet_handlers(store, filters, cache),
        **_bond_handlers(store, filters),
        **_type_handlers(store, filters),
        **_search_handlers(store),
    }


def _snippet_handlers(store: Store, filters: Filters, cache: ResponseCache) -> dict[Command, Handler]:
    def create(call: Call, payload: memoryview) -> None:
        kind, name, content = SnippetCreate.fields(payload)
        writer, failed = store if filters.idle else filters.queue_for(call), partial(refuse, call)
        try:
            writer.create(kind, name, bytes(content), written(call, 201), failed, call.connection.origin)
        except CallError as error:
            failed(error)

    def update(call: Call, payload: memoryview) -> None:
        ref, if_version, patch = SnippetUpdate.unpack(payload)
        _write(call, written(call, 200), _writer(store, filters, call).update, ref, if_version, bytes(patch))

    def delete(call: Call, payload: memoryview) -> None:
        ref, cascade = SnippetDelete.unpack(payload)
        _write(call, written(call, 200), _writer(store, filters, call).delete, ref, cascade)

    def rename(call: Call, payload: memoryview) -> None:
        ref, name = SnippetRename.unpack(payload)
        _write(call, written(call, 200), _writer(store, filters, call).rename, ref, name)

    def restore(call: Call, payload: memoryview) -> None:
        flags, record = SnippetRestore.unpack(payload)

        def done(restored: Restored) -> None:
            call.reply(SnippetWritten(_RESTORED[restored.outcome], restored.id, restored.warning).pack())

        record = record._replace(content=bytes(record.content))
        _write(call, done, _writer(store, filters, call).restore, record, flags=flags)

    def get(call: Call, payload: memoryview) -> None:
        request = payload.tobytes()
        ref, changes = Ref.unpack(request).ref, store.changes
        store.get(ref, lambda record: call.reply_with(*cache.snippet_got(request, record, changes)), call.fail)

    def page(call: Call, payload: memoryview) -> None:
        kind, after, limit = SnippetList.unpack(payload)
        if limit > MAX_SHORT_PAGE:
            call.count(is_job=True)
        store.page(kind, after, limit, _page(call), call.fail, origin=call.origin)

    def find(call: Call, payload: memoryview) -> None:
        kind, conditions, after, limit = SnippetFind.unpack(payload)
        call.count(is_job=True)
        store.find(kind, bytes(conditions), after, limit, _page(call), call.fail, origin=call.origin)

    def names(call: Call, payload: memoryview) -> None:
        def done(found: list[str]) -> None:
            call.reply(JsonResponse(200, strict_json.dumps(found)).pack())

        store.names(*SnippetNames.unpack(payload), done, call.fail)

    return {
        Command.SNIPPET_CREATE: create,
        Command.SNIPPET_UPDATE: update,
        Command.SNIPPET_DELETE: delete,
        Command.SNIPPET_RESTORE: restore,
        Command.SNIPPET_GET: get,
        Command.SNIPPET_LIST: page,
        Command.SNIPPET_FIND: find,
        Command.SNIPPET_RENAME: rename,
        Command.SNIPPET_NAMES: names,
    }


def _writer(store: Store, filters: Filters, call: Call) -> Store | WriteQueue:
    return store if filters.idle else filters.queue_for(call)


def _json(call: Call) -> base.Done[bytes]:
    return lambda json: call.reply(*JsonResponse(200, json).parts())


def _page(call: Call) -> base.Done[RecordPage]:
    return lambda found: call.reply(*SnippetPage(200, found.cursor, found.records).parts())


def _write(call: Call, done: base.Done[Any], write: Callable[..., None], *arguments: object, **options: object) -> None:
    failed = partial(refuse, call)
    try:
        write(*arguments, done, failed, origin=call.origin, **options)
    except CallError as error:
        failed(error)


def _bond_handlers(store: Store, filters: Filters) -> dict[Command, Handler]:
    def bond(call: Call, payload: memoryview) -> None:
        request = SchemaBond.unpack(payload)
        _writer(store, filters, call).bond(
            *request, lambda bond_id: call.reply(SchemaBonded(201, bond_id).pack()), call.fail, origin=call.origin
        )

    def unbond(call: Call, payload: memoryview) -> None:
        parent, child = SchemaUnbond.unpack(payload)
        _writer(store, filters, call).unbond(
            parent, child, lambda _: call.reply(Done(200).pack()), call.fail, origin=call.origin
        )

    def tree(call: Call, payload: memoryview) -> None:
        root, depth = SchemaTree.unpack(payload)
        call.count(is_job=True)
        store.tree(root, depth, _json(call), call.fail, origin=call.origin)

    return {Command.SCHEMA_BOND: bond, Command.SCHEMA_UNBOND: unbond, Command.SCHEMA_TREE: tree}


def _type_handlers(store: Store, filters: Filters) -> dict[Command, Handler]:
    def define(call: Call, payload: memoryview) -> None:
        name, definition = RegistryDefine.unpack(payload)

        def done(is_new: bool) -> None:
            call.reply(Done(201 if is_new else 200).pack())

        _writer(store, filters, call).define(name, bytes(definition), done, call.fail, origin=call.origin)

    def get(call: Call, payload: memoryview) -> None:
        name = Name.unpack(payload).name
        store.definition(name, lambda found: call.reply(RegistryGot(200, found).pack()), call.fail)

    def list_all(call: Call, payload: memoryview) -> None:
        nothing_left(payload, "REGISTRY_LIST")
        store.definitions(lambda found: call.reply(RegistryPage(200, found).pack()), call.fail)

    def check(call: Call, payload: memoryview) -> None:
        name, after, limit = RegistryCheck.unpack(payload)
        call.count(is_job=True)
        store.check(name, after, limit, _json(call), call.fail, origin=call.origin)

    def delete(call: Call, payload: memoryview) -> None:
        name = Name.unpack(payload).name
        _writer(store, filters, call).delete_type(
            name, lambda _: call.reply(Done(200).pack()), call.fail, origin=call.origin
        )

    return {
        Command.REGISTRY_DEFINE: define,
        Command.REGISTRY_DELETE: delete,
        Command.REGISTRY_GET: get,
        Command.REGISTRY_LIST: list_all,
        Command.REGISTRY_CHECK: check,
    }


def _search_handlers(store: Store) -> dict[Command, Handler]:
    def query(call: Call, payload: memoryview) -> None:
        call.count(is_job=True)

        def done(found: HitPage) -> None:
            call.reply(SearchPage(200, found.total, found.hits).pack())

        store.search(*SearchQuery.unpack(payload), done, call.fail, origin=call.origin)

    def index(call: Call, payload: memoryview) -> None:
        ref = Ref.unpack(payload).ref
        store.index(ref, lambda indexed: call.reply(SearchIndexed(200, indexed).pack()), call.fail)

    return {Command.SEARCH_QUERY: query, Command.SEARCH_INDEX: index}
