"""SEARCH_QUERY, SEARCH_INDEX (protocol.md#search)."""

from __future__ import annotations

from reed.core.calls import Call
from reed.core.router import Route
from reed.store.base import HitPage, Store
from reed.wire import common
from reed.wire.codes import Command
from reed.wire.search import SearchIndexed, SearchPage, SearchQuery


def routes(store: Store) -> dict[Command, Route]:
    def query(call: Call, payload: memoryview) -> None:
        request = SearchQuery.unpack(payload)

        def done(found: HitPage) -> None:
            call.reply(SearchPage(200, found.total, found.hits).pack())

        store.search(request.query, request.snippet_type, request.limit, request.offset, done, call.fail)

    def index(call: Call, payload: memoryview) -> None:
        def done(indexed: int) -> None:
            call.reply(SearchIndexed(200, indexed).pack())

        store.index(common.unpack_ref(payload), done, call.fail)

    return {
        Command.SEARCH_QUERY: Route(query, reads_store=True),
        Command.SEARCH_INDEX: Route(index),
    }
