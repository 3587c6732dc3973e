"""Records of the commands on search (protocol.md#search)."""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import Malformed
from reed.wire import structs
from reed.wire.structs import (
    Bytes,
    clip,
    decode_text,
    encode_text,
    exact,
    fill,
    head,
    pack_text,
    split,
    split_item,
    unpack_items,
    unpack_text,
)


class SearchQuery(NamedTuple):
    query: str
    snippet_type: str = ""
    limit: int = 0
    offset: int = 0

    def pack(self) -> bytes:
        query = encode_text(self.query)
        if len(query) > 65535:
            raise Malformed(f"a query of {len(query)} bytes", hint="at most 65535")
        kind = pack_text(self.snippet_type, 32)
        return fill(structs.SEARCH_QUERY, kind, self.limit, self.offset, len(query)) + query

    @classmethod
    def unpack(cls, payload: Bytes) -> SearchQuery:
        (kind, limit, offset, _), query = split(structs.SEARCH_QUERY, payload, "SEARCH_QUERY")
        return cls(decode_text(query, "query"), unpack_text(kind), limit, offset)


class SearchHit(NamedTuple):
    id: str
    snippet_type: str
    semantic_name: str
    score: float  # higher is better
    excerpt: str

    @property
    def type(self) -> str:
        return self.snippet_type

    @property
    def name(self) -> str:
        return self.semantic_name

    def pack(self) -> bytes:
        excerpt = clip(self.excerpt)
        texts = pack_text(self.id, 36), pack_text(self.snippet_type, 32), pack_text(self.semantic_name, 32)
        return fill(structs.SEARCH_HIT, *texts, self.score, len(excerpt)) + excerpt

    @classmethod
    def unpack_from(cls, payload: memoryview) -> tuple[SearchHit, memoryview]:
        (snippet_id, kind, name, score, _), excerpt, rest = split_item(structs.SEARCH_HIT, payload, "hit")
        texts = unpack_text(snippet_id), unpack_text(kind), unpack_text(name)
        return cls(*texts, score, decode_text(excerpt, "excerpt")), rest


class SearchPage(NamedTuple):
    status: int
    total: int
    hits: list[SearchHit]

    def pack(self) -> bytes:
        fixed = fill(structs.SEARCH_PAGE, self.status, self.total, len(self.hits))
        return fixed + b"".join(hit.pack() for hit in self.hits)

    @classmethod
    def unpack(cls, payload: Bytes) -> SearchPage:
        status, total, count = head(structs.SEARCH_PAGE, payload, "SEARCH_QUERY")
        rest = memoryview(payload)[structs.SEARCH_PAGE.size :]
        return cls(status, total, unpack_items(SearchHit.unpack_from, count, rest, "SEARCH_QUERY"))


class SearchIndexed(NamedTuple):
    status: int
    indexed: int  # snippets

    def pack(self) -> bytes:
        return fill(structs.COUNT, self.status, self.indexed)

    @classmethod
    def unpack(cls, payload: Bytes) -> SearchIndexed:
        return cls(*exact(structs.COUNT, payload, "count"))
