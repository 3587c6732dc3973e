"""Search: what a person typed, as an FTS5 expression, and the hits for it, best first (WIRE.md, 30).

    cafe "hello world" conf    ->    "cafe" AND "hello world" AND "conf"*

Words and "phrases", all of which must be there; the last one may be the beginning of a word, unless it is a phrase or a
single letter (half of all words begin with one of a few letters: that would find everything, slowly).
Nothing typed is ever syntax: every word goes into FTS5 as a quoted string. Case and diacritics do not matter, nor do
letters that others write with two or without their stroke (letters).
"""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections.abc import Sequence

from reed.errors import Malformed
from reed.store.base import HitPage
from reed.store.sqlite.excerpt import Excerpts, Term
from reed.store.sqlite.jobs import Steps
from reed.store.sqlite.letters import plain, written
from reed.store.sqlite.types import WEIGHTS
from reed.wire.search import SearchHit

DEFAULT_LIMIT = 20
LARGEST_LIMIT = 1000
DEEPEST_HIT = 100_000  # offset + limit

_MAX_WORDS = 32  # of a query; what follows is ignored
_STEP = 200  # matches between two chances to interrupt

_WORD = re.compile(r"\w+")
# bm25 counts down: the best match is the most negative.
_MATCHES = (
    f"SELECT -bm25(search, {', '.join(map(str, WEIGHTS))}), -snippets.sequence"
    " FROM search CROSS JOIN snippets ON snippets.sequence = search.rowid WHERE search MATCH ?"
)
_MATCHES_OF_TYPE = f"{_MATCHES} AND snippets.type = ?"
_HIT = "SELECT id, type, name FROM snippets WHERE sequence = ?"
_TEXTS = f"SELECT {', '.join(f'w{number}' for number in range(len(WEIGHTS)))} FROM search WHERE rowid = ?"


def check_window(limit: int, offset: int) -> int:
    """The limit to use; Malformed when it or the offset is beyond what is answered."""
    if limit > LARGEST_LIMIT:
        raise Malformed(f"limit {limit}", hint=f"at most {LARGEST_LIMIT}")
    if offset + limit > DEEPEST_HIT:
        raise Malformed(f"offset {offset}", hint=f"hits are counted to {DEEPEST_HIT}; make the query narrower")
    return limit or DEFAULT_LIMIT


def parse(query: str) -> list[Term]:
    """The terms of a query; none when there is no word in it."""
    clean = plain(query.replace("\0", " ").encode("utf-8", "replace").decode())
    terms: list[Term] = []
    is_beginning = False
    room = _MAX_WORDS
    for number, piece in enumerate(clean.split('"')):
        is_phrase = number % 2 == 1
        for term in [piece] if is_phrase else piece.split():
            words = _WORD.findall(term)
            if room == 0 or not any(map(_has_letter, words)):
                continue
            text = term if len(words) <= room else " ".join(words[:room])
            room -= min(len(words), room)
            terms.append(Term(text))
            is_beginning = not is_phrase and len(words[-1]) > 1
    if terms and is_beginning:
        terms[-1] = Term(terms[-1].text, is_beginning=True)
    return terms


def expression(terms: Sequence[Term]) -> str:
    """The FTS5 expression for the terms."""
    return " AND ".join(f'"{text}"*' if is_beginning else f'"{text}"' for text, is_beginning in terms)


def search(
    connection: sqlite3.Connection, terms: Sequence[Term], type_name: str, limit: int, offset: int
) -> Steps[HitPage]:
    """Every match is counted and weighed, a slice at a time; the best are kept, and fetched at the end."""
    if not terms:
        return HitPage(0, [])
    yield
    match = expression(terms)
    if type_name:
        matches = connection.execute(_MATCHES_OF_TYPE, (match, type_name))
    else:
        matches = connection.execute(_MATCHES, (match,))
    wanted = offset + limit
    total = 0
    best: list[tuple[float, int]] = []  # a heap of (score, -sequence), worst first
    while found := matches.fetchmany(_STEP):
        total += len(found)
        for hit in found:
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
        texts = connection.execute(_TEXTS, (-sequence,)).fetchone()
        excerpt = yield from excerpts.of([written(text) for text in texts if text])
        hits.append(SearchHit(snippet_id, kind, name, score, excerpt))
    return HitPage(total, hits)


def _has_letter(word: str) -> bool:
    return any(map(str.isalnum, word))
