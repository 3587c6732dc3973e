"""The words of a query in an excerpt, so that a page can mark them: text is folded as the search folds it.

marked("…die Straße…", "strasse")  ->  [("…die ", False), ("Straße", True), ("…", False)]
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from reed.errors import Malformed
from reed.store.excerpt import is_edge
from reed.store.folding import fold, last_run
from reed.store.query import Term, parse

_WORD = re.compile(r"[^\W_]+")


def marked(text: str, query: str) -> list[tuple[str, bool]]:
    """The text in pieces, each with whether it is a hit."""
    try:
        terms = parse(query)
    except Malformed:
        return [(text, False)]
    hits: list[tuple[int, int]] = []
    folded, origins = _folded(text)
    for begin, end in sorted(hit for term in terms for hit in _found(term, folded, origins)):
        if hits and begin <= hits[-1][1]:
            hits[-1] = (hits[-1][0], max(end, hits[-1][1]))
        else:
            hits.append((begin, end))
    return list(_pieces(text, hits))


def _pieces(text: str, hits: list[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    at = 0
    for begin, end in hits:
        if begin > at:
            yield text[at:begin], False
        yield text[begin:end], True
        at = end
    if at < len(text):
        yield text[at:], False


def _folded(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters, and its end, where that begins in the text."""
    folded, origins = "", []
    at = 0
    while at < len(text):
        end = at + 1
        while end < len(text) and unicodedata.category(text[end]).startswith("M"):
            end += 1  # marks belong to their letter
        part = fold(text[at:end])
        folded += part
        origins += [at] * len(part)
        at = end
    return folded, [*origins, len(text)]


def _found(term: Term, folded: str, origins: list[int]) -> Iterator[tuple[int, int]]:
    words = _WORD.findall(term.text)
    if not words:
        return
    # A prefix is marked with the rest of its word, unless words are not told apart by spaces.
    rest = r"[^\W_]*" if term.is_prefix and not last_run(words[-1]) else ""
    for match in re.finditer(r"[\W_]+".join(map(re.escape, words)) + rest, folded):
        if is_edge(folded, match.start()) and (term.is_prefix or is_edge(folded, match.end())):
            end = match.end()
            while end < len(folded) and origins[end] == origins[end - 1]:
                end += 1  # half of a letter, such as the first s of ß
            yield origins[match.start()], origins[end]
