"""An excerpt: the few words of a text around what was searched for.

    texts of a snippet ── folded ── the places of the terms ── where most are near ── the words there, as written

An index could tell the places, by running the query again or by indexing the texts again: both took longer than the
search itself. Only a few thousand characters at a time are folded, until the terms were found. Folding changes lengths,
so a piece is folded in parts of some 200 characters, and a place is looked for within its part.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice

from reed.store.folding import fold, is_unspaced
from reed.store.query import Term

_PIECE = 32 * 1024  # characters folded at a time
_PART = re.compile(r"(?s:.{1,200})\S{0,40}\s*")  # ends with a word: marks stay with their letters
_WINDOW = 160  # characters in which terms count as together
_MAX_PLACES = 20  # of a term in a piece: further ones hardly make a better window
_BEFORE, _AFTER = 7, 17  # words
_WORD_LENGTH = 40  # characters, so many words are surely in a few times that


class _Folded:
    """A piece of text, folded, that knows where its places are in the piece."""

    def __init__(self, piece: str) -> None:
        if piece.isascii():
            self._parts: list[str] = []
            self.text = piece.lower()
            return
        self._parts = _PART.findall(piece)
        folded = [fold(part) for part in self._parts]
        self._ends = list(accumulate(map(len, folded)))  # of the parts in the folded text
        self.text = "".join(folded)

    def origin(self, at: int) -> int:
        """The place in the piece of a place in the folded text."""
        if not self._parts:
            return at
        number = bisect_right(self._ends, at)
        begin = self._ends[number - 1] if number else 0
        part = self._parts[number]
        low, high = 0, len(part)  # the longest beginning of the part that folds to no more than what is before `at`
        while low < high:
            middle = (low + high + 1) // 2
            if len(fold(part[:middle])) <= at - begin:
                low = middle
            else:
                high = middle - 1
        return sum(map(len, self._parts[:number])) + low


class Excerpts:
    """Makes the excerpts for one query."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._terms = [_Sought(term) for term in terms]

    def of(self, texts: Sequence[str]) -> str:
        """The excerpt of the one text in which most terms are near each other."""
        best = (0, "", 0)  # how many terms, in which text, where
        for text in texts:
            for begin in range(0, len(text), _PIECE):
                found, at = self._window(text[begin : begin + _PIECE])
                if found > best[0]:
                    best = (found, text, begin + at)
                if found:
                    break  # further on there may be a better one: not worth the time
            if best[0] == len(self._terms):
                break
        _, text, at = best
        return _words(text or next(filter(None, texts), ""), at)

    def _window(self, piece: str) -> tuple[int, int]:
        """How many different terms are in the best window, and where it begins."""
        folded = _Folded(piece)
        places = sorted(
            (at, number)
            for number, term in enumerate(self._terms)
            for at in islice(term.places(folded.text), _MAX_PLACES)
        )
        most, best = 0, 0
        for first, (at, _) in enumerate(places):
            near = {number for place, number in islice(places, first, None) if place - at < _WINDOW}
            if len(near) > most:
                most, best = len(near), at
            if most == len(self._terms):
                break
        return most, folded.origin(best) if most else 0


class _Sought:
    """A term, and how to find it in a folded text."""

    def __init__(self, term: Term) -> None:
        words = re.findall(r"[^\W_]+", term.text)
        self._first = words[0]
        self._whole = re.compile(r"[\W_]+".join(map(re.escape, words)))
        self._may_go_on = term.is_prefix

    def places(self, folded: str) -> Iterator[int]:
        at = folded.find(self._first)  # found quickly
        while at >= 0:
            match = self._whole.match(folded, at)
            if match and _is_edge(folded, at) and (self._may_go_on or _is_edge(folded, match.end())):
                yield at
            at = folded.find(self._first, at + 1)


def _is_edge(text: str, at: int) -> bool:
    """Does a word begin or end there? In an unspaced script, anywhere."""
    around = text[max(0, at - 1) : at + 1]
    return len(around) < 2 or not (around[0].isalnum() and around[1].isalnum()) or is_unspaced(around)


def _words(text: str, at: int) -> str:
    """The words around a place, with "…" where words are left out."""
    room = _WORD_LENGTH * (_BEFORE + _AFTER)
    before = text[max(0, at - room) : at].split()
    if before and at and not text[at - 1].isspace():
        at -= len(before.pop())  # the match begins within a word as people see it: `(word`
    after = text[at : at + room].split()
    starts = at <= room and len(before) <= _BEFORE
    ends = at + room >= len(text) and len(after) <= _AFTER
    return ("" if starts else "…") + " ".join((*before[-_BEFORE:], *after[:_AFTER])) + ("" if ends else "…")
