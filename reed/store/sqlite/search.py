"""Search in FTS5: the hits for the terms of a query, best first (protocol.md#search).

    cafe "hello world" conf    ->    "cafe" AND "hello world" AND "conf"*

Every word goes into FTS5 as a quoted string: nothing that was typed is syntax. A hit's score is a sum over the columns
that have it: weight² × (1 + x / (1 + x)), where x is bm25 in that column. So each part lies between once and twice the
square of its weight, and a hit in a title of weight 5 beats any number of hits in a body of weight 1, in a text of any
length. One bm25 over all columns would add up their hits, and divide by the length of all of them.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Collection, Sequence

from reed.errors import Malformed
from reed.store.base import HitPage
from reed.store.excerpt import Excerpts
from reed.store.query import Term
from reed.store.sqlite.jobs import Steps
from reed.store.sqlite.types import WEIGHTS
from reed.wire.search import SearchHit

DEFAULT_LIMIT = 20
LARGEST_LIMIT = 1000
DEEPEST_HIT = 100_000  # offset + limit

_STEP = 200  # matches between two chances to interrupt

_MATCHES = (
    "SELECT -snippets.sequence{scores}"
    " FROM search CROSS JOIN snippets ON snippets.sequence = search.rowid WHERE search MATCH ?"
)
_HIT = "SELECT id, type, name FROM snippets WHERE sequence = ?"
_TEXTS = f"SELECT written, {', '.join(f'w{number}' for number in range(len(WEIGHTS)))} FROM search WHERE rowid = ?"


def check_window(limit: int, offset: int) -> int:
    """The limit to use; Malformed when it or the offset is beyond what is answered."""
    if limit > LARGEST_LIMIT:
        raise Malformed(f"limit {limit}", hint=f"at most {LARGEST_LIMIT}")
    if offset + limit > DEEPEST_HIT:
        raise Malformed(f"offset {offset}", hint=f"hits are counted to {DEEPEST_HIT}; make the query narrower")
    return limit or DEFAULT_LIMIT


def expression(terms: Sequence[Term]) -> str:
    """The FTS5 expression for the terms."""
    return " AND ".join(f'"{term.phrase}"*' if term.is_prefix else f'"{term.phrase}"' for term in terms)


def search(
    connection: sqlite3.Connection,
    terms: Sequence[Term],
    type_name: str,
    columns: Collection[int],
    limit: int,
    offset: int,
) -> Steps[HitPage]:
    """Every match is counted and weighed, a slice at a time; the best are kept, and fetched at the end.

    `columns` are those of the index that any type uses.
    """
    yield
    ordered = sorted(columns)
    squares = [float(WEIGHTS[column]) ** 2 for column in ordered]
    query = _MATCHES.format(scores="".join(f", bm25(search, {_only(column)})" for column in ordered))
    if type_name:
        matches = connection.execute(f"{query} AND snippets.type = ?", (expression(terms), type_name))
    else:
        matches = connection.execute(query, (expression(terms),))
    wanted = offset + limit
    total = 0
    best: list[tuple[float, int]] = []  # a heap of (score, -sequence), worst first
    while found := matches.fetchmany(_STEP):
        total += len(found)
        for sequence, *scores in found:
            hit = _score(squares, scores), sequence
            if len(best) < wanted:
                heapq.heappush(best, hit)
            elif hit > best[0]:
                heapq.heapreplace(best, hit)
        yield
    best.sort(reverse=True)
    excerpts = Excerpts(terms)
    hits = []
    for score, sequence in best[offset:]:
        snippet_id, kind, name = connection.execute(_HIT, (-sequence,)).fetchone()
        written, *texts = connection.execute(_TEXTS, (-sequence,)).fetchone()
        shown = json.loads(written) if written else [text for text in texts if text]
        excerpt = yield from excerpts.of(shown)
        hits.append(SearchHit(snippet_id, kind, name, score, excerpt))
    return HitPage(total, hits)


def _only(column: int) -> str:
    """The weights with which bm25 looks at that column only."""
    return ", ".join("1" if number == column else "0" for number in range(len(WEIGHTS)))


def _score(squares: Sequence[float], scores: Sequence[float]) -> float:
    """FTS5's bm25 counts down: the best match is the most negative, and 0 is none."""
    return sum(square * (2.0 - 1.0 / (1.0 - score)) for square, score in zip(squares, scores, strict=True) if score < 0)
