"""The search index: `reed.search`."""

from __future__ import annotations

from typing import NamedTuple

from reed.plugin.services import ask_json, encode


class SearchHit(NamedTuple):
    id: str
    type: str
    name: str
    score: float
    excerpt: str


class SearchPage(NamedTuple):
    total: int
    hits: list[SearchHit]  # best first


class Search:
    """Every method raises Error."""

    def query(self, text: str, *, type: str = "", limit: int = 0, offset: int = 0) -> SearchPage:
        found = ask_json("search.query", encode([text, type, limit, offset]))
        hits = [SearchHit(**{name: hit[name] for name in SearchHit._fields}) for hit in found["hits"]]
        return SearchPage(found["total"], hits)

    def index(self, ref: str = "") -> int:
        """The number of snippets that were indexed; without a ref, all are."""
        return int(ask_json("search.index", encode([ref])))
