"""SNIPPET_CREATE, UPDATE, DELETE, GET, LIST (WIRE.md, 01-05). Writes go through the filters, where there are any."""

from __future__ import annotations

from typing import NamedTuple

from reed.core.calls import Call
from reed.core.filters import Filters
from reed.core.router import Route
from reed.errors import CallError
from reed.store.base import Done, Failed, RecordPage, Store
from reed.wire import common, frames
from reed.wire.codes import Command, Flag
from reed.wire.snippets import (
    Record,
    SnippetCreate,
    SnippetDelete,
    SnippetGot,
    SnippetList,
    SnippetPage,
    SnippetUpdate,
    SnippetWritten,
)

_ABOUT_THE_SNIPPET = frozenset({404, 409, 422})
_LARGEST_PREPARED = 16 * 1024  # bytes; what is larger is made when it is asked for
_MOST_PREPARED = 4 * 1024 * 1024


def routes(store: Store, filters: Filters) -> dict[Command, Route]:
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

    got = _PreparedReplies(store)

    def get(call: Call, payload: memoryview) -> None:
        request = payload.tobytes()
        ref = common.unpack_ref(request)
        store.get(ref, lambda record: call.reply_with(got.prepare(request, record)), call.fail)

    def page(call: Call, payload: memoryview) -> None:
        request = SnippetList.unpack(payload)

        def done(found: RecordPage) -> None:
            call.reply(SnippetPage(200, found.cursor, found.records).pack())

        store.page(request.snippet_type, request.after, request.limit, done, call.fail)

    return {
        Command.SNIPPET_CREATE: Route(create),
        Command.SNIPPET_UPDATE: Route(update),
        Command.SNIPPET_DELETE: Route(delete),
        Command.SNIPPET_GET: Route(get, reads_store=True, prepared=got.frame),
        Command.SNIPPET_LIST: Route(page, reads_store=True),
    }


class _Prepared(NamedTuple):
    record: Record
    changes: int  # the store's number when it was the one to give
    frame: bytes


class _PreparedReplies:
    """The frames that answer a GET, by its payload. One is good while the store has not changed; after that, when the
    store gives the very same Record."""

    __slots__ = ("_found", "_size", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[bytes, _Prepared] = {}
        self._size = 0

    def frame(self, payload: memoryview) -> bytes | None:
        found = self._found.get(payload.tobytes())
        return found.frame if found is not None and found.changes == self._store.changes else None

    def prepare(self, request: bytes, record: Record) -> bytes:
        """The frame for what the store gave just now."""
        found = self._found.get(request)
        if found is not None and found.record is record:
            self._found[request] = found._replace(changes=self._store.changes)
            return found.frame
        frame = frames.encode(Command.SNIPPET_GET, SnippetGot(200, record).pack(), Flag.RESPONSE)
        if len(frame) <= _LARGEST_PREPARED:
            self._size += len(frame)
            if self._size > _MOST_PREPARED:
                self._found.clear()
                self._size = len(frame)
            self._found[request] = _Prepared(record, self._store.changes, frame)
        return frame


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
