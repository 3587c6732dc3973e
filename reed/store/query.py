"""Parses a search query into terms, all of which must match.

    café "Hello World" conf    ->    cafe    "hello world"    conf…

Terms are folded. The last one matches as a prefix, unless it is a phrase, or a single letter, which would match nearly
everything. The cost is bounded: equal terms count once, and a long phrase becomes several.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from unicodedata import category

from reed.errors import Malformed
from reed.store.folding import UNSPACED, fold, is_unspaced, last_run, segment

MAX_QUERY = 1024  # characters; the rest is ignored
MAX_PHRASE = 8  # words: matching a phrase of 32 equal words takes FTS5 seconds in a long text
MAX_WORDS = 32  # words, and characters of unspaced scripts, in a query; the rest is ignored
DEFAULT_LIMIT = 20
MAX_LIMIT = 1000
MAX_HIT = 100_000  # offset + limit

_MARKS = ("Mn", "Mc")
_ASCII_WORD = r"[^\W_]+"
_WORD = f"[{UNSPACED}]|(?:(?![{UNSPACED}])[^\\W_])+"  # or a character of an unspaced script


class Term(NamedTuple):
    text: str  # a word or a phrase, folded
    is_beginning: bool = False  # of a word

    @property
    def phrase(self) -> str:
        return segment(self.text, is_open=True)

    @property
    def is_prefix(self) -> bool:
        """Does the last word match as a prefix? A single character of an unspaced script does: the index has pairs."""
        run = last_run(self.text)
        return len(run) == 1 if run else self.is_beginning


def parse(query: str) -> list[Term]:
    """Raises Malformed when the query has no word."""
    clean = query[:MAX_QUERY].replace("\0", " ").encode("utf-8", "replace").decode()
    texts: dict[str, None] = {}  # of the terms, in their order
    last = ""
    is_beginning = False
    room = MAX_WORDS
    for number, piece in enumerate(clean.split('"')):
        is_phrase = number % 2 == 1
        for typed in [piece] if is_phrase else piece.split():
            text = fold(typed)
            words = _words(text)
            is_cut = len(words) > room
            words = words[:room]
            if not any(map(str.isalnum, text)) or not words:
                continue
            for first in range(0, len(words), MAX_PHRASE):
                part = words[first : first + MAX_PHRASE]
                # With its punctuation, unless it was cut.
                begin = part[0].start() if first else 0
                end = part[-1].end() if is_cut or first + MAX_PHRASE < len(words) else len(text)
                if first and not any(map(str.isalnum, text[begin:end])):
                    continue  # marks of a letter before them
                last = text[begin:end]
                room -= 0 if last in texts else len(part)
                texts[last] = None
            is_beginning = not is_phrase and len(words[-1][0]) > 1
    if not texts:
        raise Malformed("the query has no word to search for", hint="search for letters or digits")
    if is_beginning:
        del texts[last]
        return [*map(Term, texts), Term(last, is_beginning=True)]
    return list(map(Term, texts))


def _words(text: str) -> list[re.Match[str]]:
    """As the index has them: a mark is part of a word, also a first one."""
    if text.isascii():
        return list(re.finditer(_ASCII_WORD, text))
    text = "".join("x" if category(each) in _MARKS and not is_unspaced(each) else each for each in text)
    return list(re.finditer(_WORD, text))


def hit_limit(limit: int, offset: int) -> int:
    """The number of hits to return; 0 means DEFAULT_LIMIT. Raises Malformed."""
    if limit > MAX_LIMIT:
        raise Malformed(f"limit {limit}", hint=f"at most {MAX_LIMIT}")
    if offset + limit > MAX_HIT:
        raise Malformed(f"offset {offset}", hint=f"offset + limit is at most {MAX_HIT}; narrow the query")
    return limit or DEFAULT_LIMIT
