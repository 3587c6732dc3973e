"""Excerpts: the words of a snippet's texts around the terms of a query.

    texts ── fold, in pieces ── find the terms ── the window with most different terms ── its words, unfolded

FTS5's positions took longer than the search. Folding changes lengths, so positions are mapped back in short parts.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice

from reed.store.folding import fold, is_unspaced
from reed.store.query import Term

_PIECE = 32 * 1024  # characters folded at a time
_PART = re.compile(r"(?s:.{1,200})\S{0,40}\s*")  # ends with a word: combining marks stay with their letters
_WINDOW = 160  # characters
_MAX_MATCHES = 20  # of a term in a piece; more hardly improve the window
_BEFORE, _AFTER = 7, 17  # words
_MAX_WORD = 40  # characters


class _Folded:
    def __init__(self, piece: str) -> None:
        if piece.isascii():
            self._parts: list[str] = []
            self.text = piece.lower()
            return
        self._parts = _PART.findall(piece)
        folded = [part.lower() if part.isascii() else fold(part) for part in self._parts]  # most are ASCII
        self._ends = list(accumulate(map(len, folded)))  # of the parts in the folded text
        self.text = "".join(folded)

    def origin(self, at: int) -> int:
        """The position in the piece of a position in the folded text."""
        if not self._parts:
            return at
        number = bisect_right(self._ends, at)
        begin = self._ends[number - 1] if number else 0
        part = self._parts[number]
        low, high = 0, len(part)  # the longest prefix of the part whose folded length is at most at - begin
        while low < high:
            middle = (low + high + 1) // 2
            if len(fold(part[:middle])) <= at - begin:
                low = middle
            else:
                high = middle - 1
        return sum(map(len, self._parts[:number])) + low


class Excerpts:
    def __init__(self, terms: Sequence[Term]) -> None:
        self._terms = [_Pattern(term) for term in terms]

    def of(self, texts: Sequence[str]) -> str:
        best = (0, "", 0)  # number of terms, text, position
        for text in texts:
            for begin in range(0, len(text), _PIECE):
                found, at = self._window(text[begin : begin + _PIECE])
                if found > best[0]:
                    best = (found, text, begin + at)
                if found:
                    break  # a better window may follow: not worth the time
            if best[0] == len(self._terms):
                break
        _, text, at = best
        return _words(text or next(filter(None, texts), ""), at)

    def _window(self, piece: str) -> tuple[int, int]:
        """The number of different terms in the best window, and its position."""
        folded = _Folded(piece)
        positions = sorted(
            (at, number)
            for number, term in enumerate(self._terms)
            for at in islice(term.positions(folded.text), _MAX_MATCHES)
        )
        most, best = 0, 0
        for first, (at, _) in enumerate(positions):
            near = {number for _, number in positions[first : bisect_left(positions, (at + _WINDOW,))]}
            if len(near) > most:
                most, best = len(near), at
            if most == len(self._terms):
                break
        return most, folded.origin(best) if most else 0


class _Pattern:
    def __init__(self, term: Term) -> None:
        words = re.findall(r"[^\W_]+", term.text)
        self._first = words[0]
        self._whole = re.compile(r"[\W_]+".join(map(re.escape, words)))
        self._is_prefix = term.is_prefix

    def positions(self, folded: str) -> Iterator[int]:
        at = folded.find(self._first)  # faster than the regular expression
        while at >= 0:
            if not at or not folded[at - 1].isalnum() or is_edge(folded, at):  # in most places without a call
                match = self._whole.match(folded, at)
                if match and (self._is_prefix or is_edge(folded, match.end())):
                    yield at
            at = folded.find(self._first, at + 1)


def is_edge(text: str, at: int) -> bool:
    """Is there a word boundary? In an unspaced script, everywhere."""
    around = text[max(0, at - 1) : at + 1]
    return len(around) < 2 or not (around[0].isalnum() and around[1].isalnum()) or is_unspaced(around)


def _words(text: str, at: int) -> str:
    room = _MAX_WORD * (_BEFORE + _AFTER)
    before = text[max(0, at - room) : at].rsplit(maxsplit=_BEFORE + 1)  # one more, to know whether there are more
    if before and at and not text[at - 1].isspace():
        at -= len(before.pop())  # the term begins inside a word: `(term`
    after = text[at : at + room].split(maxsplit=_AFTER)
    starts = at <= room and len(before) <= _BEFORE
    ends = at + room >= len(text) and len(after) <= _AFTER
    return ("" if starts else "…") + " ".join((*before[-_BEFORE:], *after[:_AFTER])) + ("" if ends else "…")
