"""SNIPPET_CREATE, UPDATE, DELETE, GET, LIST, FIND, RESTORE, RENAME, NAMES.

Writes go through the filters, if there are any; a restore only waits for its turn there.
"""

from __future__ import annotations

from collections.abc import Callable

from reed.core.calls import Call
from reed.core.filters import Filters, WriteQueue
from reed.core.response_cache import ResponseCache
from reed.core.router import Route
from reed.errors import CallError
from reed.store.base import Done, Failed, RecordPage, Restored, Store
from reed.wire import common, strict_json
from reed.wire.codes import Command
from reed.wire.common import JsonResponse
from reed.wire.snippets import (
    RestoreFlag,
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

_RESTORED = {"created": 201, "replaced": 204, "unchanged": 200}
_ABOUT_THE_SNIPPET = frozenset({404, 409, 422})


def routes(store: Store, filters: Filters, prepared: ResponseCache) -> dict[Command, Route]:
    def writer(call: Call) -> Store | WriteQueue:
        return store if filters.idle else filters.queue_for(call)

    def create(call: Call, payload: memoryview) -> None:
        asked = SnippetCreate.unpack(payload)
        _write(call, 201, writer(call).create, asked.snippet_type, asked.semantic_name, bytes(asked.content))

    def update(call: Call, payload: memoryview) -> None:
        asked = SnippetUpdate.unpack(payload)
        _write(call, 200, writer(call).update, asked.ref, asked.if_version, bytes(asked.patch))

    def delete(call: Call, payload: memoryview) -> None:
        asked = SnippetDelete.unpack(payload)
        _write(call, 200, writer(call).delete, asked.ref, asked.cascade)

    def restore(call: Call, payload: memoryview) -> None:
        flags, record = SnippetRestore.unpack(payload)

        def done(restored: Restored) -> None:
            call.reply(SnippetWritten(_RESTORED[restored.outcome], restored.id, restored.warning).pack())

        failed = _failed(call)
        try:
            writer(call).restore(
                record._replace(content=bytes(record.content)),
                done,
                failed,
                accept_unfit=bool(flags & RestoreFlag.ACCEPT_UNFIT),
                overwrite=bool(flags & RestoreFlag.OVERWRITE),
                dry_run=bool(flags & RestoreFlag.DRY_RUN),
                by=call.caller.plugin,
            )
        except CallError as error:
            failed(error)

    def rename(call: Call, payload: memoryview) -> None:
        asked = SnippetRename.unpack(payload)
        _write(call, 200, writer(call).rename, asked.ref, asked.semantic_name)

    def get(call: Call, payload: memoryview) -> None:
        request = payload.tobytes()
        ref = common.unpack_ref(request)
        store.get(ref, lambda record: call.reply_with(*prepared.snippet_got(request, record)), call.fail)

    def page(call: Call, payload: memoryview) -> None:
        request = SnippetList.unpack(payload)
        store.page(request.snippet_type, request.after, request.limit, _page(call), call.fail)

    def find(call: Call, payload: memoryview) -> None:
        kind, conditions, after, limit = SnippetFind.unpack(payload)
        store.find(kind, bytes(conditions), after, limit, _page(call), call.fail)

    def names(call: Call, payload: memoryview) -> None:
        request = SnippetNames.unpack(payload)

        def done(found: list[str]) -> None:
            call.reply(JsonResponse(200, strict_json.dumps(found)).pack())

        store.names(request.prefix, request.limit, done, call.fail)

    return {
        Command.SNIPPET_CREATE: Route(create),
        Command.SNIPPET_UPDATE: Route(update),
        Command.SNIPPET_DELETE: Route(delete),
        Command.SNIPPET_RESTORE: Route(restore),
        Command.SNIPPET_GET: Route(get, reads_store=True),
        Command.SNIPPET_LIST: Route(page, reads_store=True),
        Command.SNIPPET_FIND: Route(find, reads_store=True),
        Command.SNIPPET_RENAME: Route(rename),
        Command.SNIPPET_NAMES: Route(names, reads_store=True),
    }


def _page(call: Call) -> Done[RecordPage]:
    def done(found: RecordPage) -> None:
        call.reply(*SnippetPage(200, found.cursor, found.records).parts())

    return done


def _write(call: Call, status: int, write: Callable[..., None], *what: object) -> None:
    def done(snippet_id: str) -> None:
        call.reply(SnippetWritten(status, snippet_id).pack())

    failed = _failed(call)
    try:
        write(*what, done, failed, by=call.caller.plugin)
    except CallError as error:
        failed(error)


def _failed(call: Call) -> Failed:
    """What is wrong with the snippet itself is told in the write's own struct (protocol.md#responses)."""

    def failed(error: CallError) -> None:
        if error.status in _ABOUT_THE_SNIPPET and call.expects_reply:
            call.reply(SnippetWritten(error.status, "", str(error)).pack())
        else:
            call.fail(error)

    return failed
