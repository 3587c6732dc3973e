"""Search vectors: a text as words with places and labels, folded as SQLite's index folds it (store.md#search-index).

    type     {"title": 5, "body": 1}                        its two highest weights get the labels A and B
    content  {"title": "Café", "body": "The café is open"}
    vector   'cafe':1A,4B  'is':5B  'open':6B  'the':3B      places of a column begin one after the last of the other

PostgreSQL has four labels, so the lowest weights of a type with more than four share one. Its text search parser and
dictionaries are not used: words are made here, so that both stores find the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from reed.store.folding import fold, segment
from reed.store.query import Term
from reed.store.search_text import WEIGHTS, Columns

LABELS = "ABCD"
_MAX_PLACE = 16383  # the server's
_MAX_PLACES = 255  # of a word
_MAX_WORD = 512  # bytes; the server takes 2,046
_MAX_VECTOR = 900_000  # bytes, of 1 MiB; an entry has some bytes besides its word and places
_ENTRY = 16


def labels_of(columns: Columns) -> dict[int, str]:
    """The label of each column of a type."""
    ordered = sorted({column for _, column in columns}, reverse=True)
    return {column: LABELS[min(number, len(LABELS) - 1)] for number, column in enumerate(ordered)}


def weights_of(columns: Columns) -> list[float]:
    """The weights of the labels A to D."""
    weights = [0.0] * len(LABELS)
    for column, label in labels_of(columns).items():
        number = LABELS.index(label)
        weights[number] = max(weights[number], float(WEIGHTS[column]))
    return weights


def words(text: str) -> list[str]:
    """The words of a folded text: letters, digits and marks; all other characters separate them."""
    if text.isascii():
        separators = {character: " " for character in set(text) if not character.isalnum()}
    else:
        separators = {character: " " for character in set(text) if not _is_of_word(character)}
    return text.translate({ord(character): space for character, space in separators.items()}).split()


def _is_of_word(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LN" or category in {"Co", "Mn", "Mc"}


def vector(texts: Sequence[str], labels: dict[int, str]) -> str:
    """The literal of a tsvector; `texts` by column (`search_text.texts_by_column`)."""
    places: dict[str, list[str]] = {}
    room, place = _MAX_VECTOR, 0
    for column, label in sorted(labels.items(), reverse=True):
        for word in words(segment(fold(texts[column]))):
            place = min(place + 1, _MAX_PLACE)
            found = places.get(word)
            if found is None:
                size = len(word.encode("utf-8", "replace"))
                if size > _MAX_WORD or room < size + _ENTRY:
                    continue
                room -= size + _ENTRY
                places[word] = [f"{place}{label}"]
            elif len(found) < _MAX_PLACES and place < _MAX_PLACE and room > _ENTRY:
                room -= 2
                found.append(f"{place}{label}")
        place = min(place + 1, _MAX_PLACE)  # so that no phrase spans two fields
    return " ".join(f"'{word}':{','.join(found)}" for word, found in places.items())


def query(terms: Iterable[Term], joined: str = " & ") -> str:
    """The literal of a tsquery; with " | " any of the terms matches."""
    return joined.join(filter(None, map(_term, terms)))


def _term(term: Term) -> str:
    found = [f"'{word}'" for word in words(fold(term.phrase))]
    if found and term.is_prefix:
        found[-1] += ":*"
    return f"({' <-> '.join(found)})" if found else ""
