"""SEARCH_QUERY, SEARCH_INDEX (protocol.md#search)."""

from __future__ import annotations

from reed.core.calls import Call, Handle
from reed.store.base import HitPage, Store
from reed.wire.codes import Command
from reed.wire.common import Ref
from reed.wire.search import SearchIndexed, SearchPage, SearchQuery


def handlers(store: Store) -> dict[Command, Handle]:
    def query(call: Call, payload: memoryview) -> None:
        def done(found: HitPage) -> None:
            call.reply(SearchPage(200, found.total, found.hits).pack())

        store.search(*SearchQuery.unpack(payload), done, call.fail)

    def index(call: Call, payload: memoryview) -> None:
        ref = Ref.unpack(payload).ref
        store.index(ref, lambda indexed: call.reply(SearchIndexed(200, indexed).pack()), call.fail)

    return {Command.SEARCH_QUERY: query, Command.SEARCH_INDEX: index}
