"""An excerpt: the few words of a text around what was searched for.

    texts of a snippet ── folded as FTS5 folds ── the places of the terms ── where most are near ── the words there

FTS5 could do it (`snippet()`), by running the query again or by indexing the texts again: both took longer than the
search itself. Only a few thousand characters at a time are folded, until the terms were found.

A folded text may be longer (ß is ss there): each such letter before a place moves that place back by one.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from reed.store.sqlite.jobs import Steps
from reed.store.sqlite.letters import PLAIN

_PIECE = 32 * 1024  # characters looked through between two chances to interrupt
_WINDOW = 160  # characters in which terms count as together
_MOST_PLACES = 20  # of a term in a piece: further ones hardly make a better window
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_TWO_LETTERS = re.compile("[ßẞæÆœŒ]")  # when folded
_BEFORE, _AFTER = 7, 17  # words
_WORD_LENGTH = 40  # characters, so many words are surely in a few times that


class Term(NamedTuple):
    """One word or phrase of a query."""

    text: str
    is_beginning: bool = False  # of a word


def fold(text: str) -> str:
    """Without case and diacritics; every character but those of _TWO_LETTERS stays one."""
    return (text if text.isascii() else _NOT_ASCII.sub(_folded, text)).lower()


def _folded(match: re.Match[str]) -> str:
    character = match[0]
    plain = PLAIN.get(character)
    folded = unicodedata.normalize("NFD", character)[0].lower() if plain is None else plain
    return folded if plain or len(folded) == 1 else character


class Excerpts:
    """Makes the excerpts for one query."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._terms = [self._pattern(term) for term in terms]

    def of(self, texts: Sequence[str]) -> Steps[str]:
        """The excerpt of the one text in which most terms are near each other."""
        best = (0, "", 0)  # how many terms, in which text, where
        for text in texts:
            for begin in range(0, len(text), _PIECE):
                found, at = self._window(text[begin : begin + _PIECE])
                if found > best[0]:
                    best = (found, text, begin + at)
                if found:
                    break  # further on there may be a better one: not worth the time
                yield
            if best[0] == len(self._terms):
                break
        _, text, at = best
        return _words(text or next(filter(None, texts), ""), at)

    def _pattern(self, term: Term) -> tuple[str, re.Pattern[str]]:
        """Its first word, which is quickly found, and what it must be there."""
        words = re.findall(r"[^\W_]+", fold(term.text))
        end = "" if term.is_beginning else r"(?![^\W_])"
        return words[0], re.compile(r"(?<![^\W_])" + r"[\W_]+".join(map(re.escape, words)) + end)

    def _window(self, piece: str) -> tuple[int, int]:
        """How many different terms are in the best window, and where it begins."""
        folded = fold(piece)
        longer = [] if len(folded) == len(piece) else _second_letters(piece)
        places = sorted(
            (at - bisect(longer, at), number)
            for number, term in enumerate(self._terms)
            for at in islice(_places(folded, *term), _MOST_PLACES)
        )
        most, best = 0, 0
        for first, (at, _) in enumerate(places):
            near = {number for place, number in islice(places, first, None) if place - at < _WINDOW}
            if len(near) > most:
                most, best = len(near), at
            if most == len(self._terms):
                break
        return most, best


def _second_letters(piece: str) -> list[int]:
    """Where in the folded piece the second ones of two letters are that are one in the piece."""
    return [match.start() + number for number, match in enumerate(_TWO_LETTERS.finditer(piece), 1)]


def _places(folded: str, word: str, term: re.Pattern[str]) -> Iterator[int]:
    at = folded.find(word)
    while at >= 0:
        if term.match(folded, at):
            yield at
        at = folded.find(word, at + 1)


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
