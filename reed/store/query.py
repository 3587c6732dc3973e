"""What a person typed into a search, as terms.

    café "Hello World" conf    ->    cafe    "hello world"    conf…

Words and "phrases", all of which must be there; the last one may be the beginning of a word, unless it is a phrase or a
single letter (half of all words begin with one of a few letters: that would find everything, slowly). Nothing typed is
ever syntax of an engine. Terms are folded, as the texts in the index are (folding).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from reed.errors import Malformed
from reed.store.folding import UNSPACED, fold, last_run, segment

MAX_WORDS = 32  # of a query, and pairs of an unspaced script; what follows is ignored

_WORD = re.compile(f"[{UNSPACED}]|(?:(?![{UNSPACED}])[^\\W_])+")  # a word, or a character of an unspaced script


class Term(NamedTuple):
    """One word or phrase of a query."""

    text: str  # folded
    is_beginning: bool = False  # of a word

    @property
    def phrase(self) -> str:
        """The words and pairs to look for, one after the other."""
        return segment(self.text, is_open=True)

    @property
    def is_prefix(self) -> bool:
        """May the last of them go on? A single character of an unspaced script is the beginning of its pairs."""
        run = last_run(self.text)
        return len(run) == 1 if run else self.is_beginning


def parse(query: str) -> list[Term]:
    """The terms of a query. Raises Malformed when there is no word in it."""
    clean = query.replace("\0", " ").encode("utf-8", "replace").decode()
    terms: list[Term] = []
    is_beginning = False
    room = MAX_WORDS
    for number, piece in enumerate(clean.split('"')):
        is_phrase = number % 2 == 1
        for typed in [piece] if is_phrase else piece.split():
            text = fold(typed)
            words = list(_WORD.finditer(text))
            if room <= 0 or not any(map(str.isalnum, text)):
                continue
            terms.append(Term(text if len(words) <= room else text[: words[room - 1].end()]))
            room -= len(words)
            is_beginning = not is_phrase and len(words[-1][0]) > 1
    if not terms:
        raise Malformed("the query has no word to search for", hint="search for letters or digits")
    if is_beginning:
        terms[-1] = Term(terms[-1].text, is_beginning=True)
    return terms
