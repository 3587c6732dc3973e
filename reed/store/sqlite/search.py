"""Search in FTS5: the hits for the terms of a query, best first (protocol.md#search).

    cafe "hello world" conf    ->    "cafe" AND "hello world" AND "conf"*

Every word is quoted, so no input is FTS5 syntax. For each column that matches a hit scores weight² × (1 + x / (1 + x)),
x being its bm25: so a title of weight 5 beats any number of matches in a body of weight 1.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from reed.errors import StoreFailed
from reed.store.excerpt import Excerpts
from reed.store.query import Term, hit_limit, parse
from reed.store.search_text import WEIGHTS
from reed.store.sqlite.files import Source, errors_of, snapshot
from reed.store.sqlite.index_file import TEXT_COLUMNS
from reed.wire.search import SearchHit

_FETCHED = 200  # matches at a time

_MATCHES = (
    "SELECT -snippets.sequence{scores}"
    " FROM index_file.search CROSS JOIN snippets ON snippets.sequence = search.rowid WHERE search MATCH ?"
)
_HIT = "SELECT id, type, name FROM snippets WHERE sequence = ?"
_TEXTS = f"SELECT written, {TEXT_COLUMNS} FROM index_file.search WHERE rowid = ?"


Found = tuple[int, list[tuple[Any, ...]]]  # how many match, and a SearchHit for each of the window


def run_search(source: Source, query: str, type_name: str, columns: list[int], limit: int, offset: int) -> Found:
    """A job of a worker, which also parses the query: patterns for that may take 17 ms, which would be a turn of the
    loop."""
    limit = hit_limit(limit, offset)
    terms = parse(query)
    with errors_of(source[0]), snapshot(source, with_index=True) as connection:
        try:
            return _search(connection, terms, type_name, columns, limit, offset)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            path = Source(*source).index_path
            raise StoreFailed(f"{path} is damaged: {error}", hint="`reed search index` makes it again") from error


def expression(terms: Sequence[Term]) -> str:
    return " AND ".join(f'"{term.phrase}"*' if term.is_prefix else f'"{term.phrase}"' for term in terms)


def _search(
    connection: sqlite3.Connection,
    terms: Sequence[Term],
    type_name: str,
    columns: Collection[int],
    limit: int,
    offset: int,
) -> Found:
    """Score every match, keep the best, and fetch those. `columns` are those of the index that any type uses."""
    ordered = sorted(columns)
    places = [(at, float(WEIGHTS[column]) ** 2) for at, column in enumerate(ordered, 1)]  # of the scores in a row
    query = _MATCHES.format(scores="".join(f", bm25(search, {_only(column)})" for column in ordered))
    if type_name:
        matches = connection.execute(f"{query} AND snippets.type = ?", (expression(terms), type_name))
    else:
        matches = connection.execute(query, (expression(terms),))
    wanted = offset + limit
    total = 0
    best: list[tuple[float, int]] = []  # a heap of (score, -sequence), worst first
    while found := matches.fetchmany(_FETCHED):
        total += len(found)
        for row in found:
            score = 0.0  # inlined: half of the Python time of a search with 100,000 hits
            for at, square in places:  # most columns of a row match nothing: no list is made of them
                x = row[at]
                if x < 0:  # FTS5's bm25 is negative for a match; the best is the lowest
                    score += square * (2.0 - 1.0 / (1.0 - x))
            hit = score, row[0]
            if len(best) < wanted:
                heapq.heappush(best, hit)
            elif hit > best[0]:
                heapq.heapreplace(best, hit)
    best.sort(reverse=True)
    excerpts = Excerpts(terms)
    hits = []
    for score, sequence in best[offset:]:
        snippet_id, kind, name = connection.execute(_HIT, (-sequence,)).fetchone()
        written, *texts = connection.execute(_TEXTS, (-sequence,)).fetchone()
        shown = json.loads(written) if written else [text for text in texts if text]
        hits.append(tuple(SearchHit(snippet_id, kind, name, score, excerpts.of(shown))))
    return total, hits


def _only(column: int) -> str:
    return ", ".join("1" if number == column else "0" for number in range(len(WEIGHTS)))
