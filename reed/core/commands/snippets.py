"""SNIPPET_CREATE, UPDATE, DELETE, GET, LIST (WIRE.md, 01-05). Writes go through the filters, where there are any."""

from __future__ import annotations

from reed.core.calls import Call
from reed.core.filters import Filters
from reed.core.prepared import PreparedReplies
from reed.core.router import Route
from reed.errors import CallError
from reed.store.base import Done, Failed, RecordPage, Store
from reed.wire import common
from reed.wire.codes import Command
from reed.wire.snippets import (
    SnippetCreate,
    SnippetDelete,
    SnippetList,
    SnippetPage,
    SnippetUpdate,
    SnippetWritten,
)

_ABOUT_THE_SNIPPET = frozenset({404, 409, 422})


def routes(store: Store, filters: Filters, prepared: PreparedReplies) -> dict[Command, Route]:
    def create(call: Call, payload: memoryview) -> None:
        request = SnippetCreate.unpack(payload)

        def done(snippet_id: str) -> None:
            call.reply(SnippetWritten(201, snippet_id).pack())

        failed = _failed(call)
        by = call.caller.plugin
        writer = store if filters.idle else filters.before(call)
        try:
            writer.create(request.snippet_type, request.semantic_name, bytes(request.content), done, failed, by=by)
        except CallError as error:
            failed(error)

    def update(call: Call, payload: memoryview) -> None:
        request = SnippetUpdate.unpack(payload)
        failed = _failed(call)
        by = call.caller.plugin
        writer = store if filters.idle else filters.before(call)
        try:
            writer.update(request.ref, request.if_version, bytes(request.patch), _written(call), failed, by=by)
        except CallError as error:
            failed(error)

    def delete(call: Call, payload: memoryview) -> None:
        request = SnippetDelete.unpack(payload)
        failed = _failed(call)
        by = call.caller.plugin
        writer = store if filters.idle else filters.before(call)
        try:
            writer.delete(request.ref, request.cascade, _written(call), failed, by=by)
        except CallError as error:
            failed(error)

    def get(call: Call, payload: memoryview) -> None:
        request = payload.tobytes()
        ref = common.unpack_ref(request)
        store.get(ref, lambda record: call.reply_with(prepared.snippet_got(request, record)), call.fail)

    def page(call: Call, payload: memoryview) -> None:
        request = SnippetList.unpack(payload)

        def done(found: RecordPage) -> None:
            call.reply(SnippetPage(200, found.cursor, found.records).pack())

        store.page(request.snippet_type, request.after, request.limit, done, call.fail)

    return {
        Command.SNIPPET_CREATE: Route(create),
        Command.SNIPPET_UPDATE: Route(update),
        Command.SNIPPET_DELETE: Route(delete),
        Command.SNIPPET_GET: Route(get, reads_store=True),
        Command.SNIPPET_LIST: Route(page, reads_store=True),
    }


def _written(call: Call) -> Done[str]:
    def done(snippet_id: str) -> None:
        call.reply(SnippetWritten(200, snippet_id).pack())

    return done


def _failed(call: Call) -> Failed:
    """What is wrong with the snippet itself is told in the write's own struct (WIRE.md, rule 3)."""

    def failed(error: CallError) -> None:
        if error.status in _ABOUT_THE_SNIPPET and call.expects_reply:
            call.reply(SnippetWritten(error.status, "", str(error)).pack())
        else:
            call.fail(error)

    return failed
