"""Letters that FTS5 takes for letters of their own, and people for others: `strasse` finds Straße, and Straße strasse.

    text     Straße ── marked ──▶ Strass◌e ──┬── FTS5, which drops the mark ──▶ strasse ◀── plain ── straße, in a query
                                             └── written ──▶ Straße, for the excerpt

(Diacritics that are no strokes, as in é and ü, FTS5 drops by itself.) The index keeps the texts that it has, for the
excerpts; so what was replaced is marked there, by two combining marks that stand together in no language.
"""

from __future__ import annotations

import re

__all__ = ["PLAIN", "marked", "plain", "written"]

PLAIN = {
    "ß": "ss",
    "ẞ": "SS",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "ı": "i",
}
_MARK = "\u0331\u030f"
_MARKED = {letter: plain + _MARK for letter, plain in PLAIN.items()}
_WRITTEN = {marked: letter for letter, marked in _MARKED.items()}
_ASCII = bytes(range(128))
_LETTER = re.compile(f"[{''.join(PLAIN)}]")
_MARKED_LETTER = re.compile("|".join(_WRITTEN))


def plain(text: str) -> str:
    """The text as most people type it."""
    return text if text.isascii() else _LETTER.sub(lambda match: PLAIN[match[0]], text)


def marked(text: str) -> str:
    """The plain text, with a mark after what was another letter."""
    return _LETTER.sub(lambda match: _MARKED[match[0]], text) if not text.isascii() and _has_some(text) else text


def written(marked: str) -> str:
    """The text of which `marked` made this."""
    # One character is found faster than two.
    return _MARKED_LETTER.sub(lambda match: _WRITTEN[match[0]], marked) if _MARK[1] in marked else marked


def _has_some(text: str) -> bool:
    """Looks through the characters beyond ASCII alone, which are few: a quarter of the time that all of them take."""
    beyond = text.encode("utf-8", "surrogatepass").translate(None, _ASCII)
    return _LETTER.search(beyond.decode("utf-8", "surrogatepass")) is not None
