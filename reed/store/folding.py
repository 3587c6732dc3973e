"""Unicode folding for search, which FTS5's tokenizer lacks: for the index, queries and excerpts.

    fold      NFKD, case folding, without diacritics and invisible characters, NFC
              Straße → strasse   ΟΔΥΣΣΕΥΣ → οδυσσευσ   ﬁ → fi   ＡＢＣ → abc   בְּרֵאשִׁית → בראשית

    segment   overlapping pairs of scripts without spaces, so that a phrase of pairs finds any part of a run
              東京都 → 東京 京都 都

The tokenizer folds a text that `is_plain` itself. Marks that distinguish words stay: dakuten (が is not か), Indic
vowel signs, Thai tone marks.
"""

from __future__ import annotations

import re
import unicodedata
from operator import add

__all__ = ["UNSPACED", "fold", "is_plain", "is_unspaced", "last_run", "segment"]

# Patterns are compiled when the first text needs them: for all of them a worker would take 6 ms, and most need none.
_ASCII = bytes(range(128))

# Letters that Unicode does not decompose; casefold() folds ß, ﬁ and ς.
_STROKES = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "ħ": "h", "ŧ": "t", "ð": "d", "þ": "th"}

# Format characters, variation selectors, the Arabic tatweel.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff"
)
# Diacritics, Hebrew points, Arabic vowels.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
_DROPPED = f"[{_INVISIBLE}{_MARKS}]+"

# All but what FTS5's tokenizer folds as `fold` does; a test compares them.
_NOT_PLAIN = (
    "[^\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b6\u00b7\u00bb\u00bf-\u00c5\u00c7-\u00cf\u00d1-\u00d6\u00d7"
    "\u00d9-\u00dd\u00e0-\u00e5\u00e7-\u00ef\u00f1-\u00f6\u00f7\u00f9-\u00fd\u00ff-\u010f\u0112-\u0125\u0128-\u012f"
    "\u0134-\u0137\u0139-\u013e\u0143-\u0148\u014c-\u0151\u0154-\u0165\u0168-\u017e"
    "\u2010-\u2016\u2018-\u201f\u2020-\u2027\u2030\u2039\u203a\u20a0-\u20a7\u20a9-\u20bf\u2190-\u21ff\u2500-\u25ff]"
)

# Scripts without spaces between words, and Korean, whose words take endings.
_BMP = (
    "\u0e01-\u0e4e\u0e81-\u0ecf\u1000-\u103f\u1050-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007"
    "\u3021-\u302f\u3031-\u3035\u3038-\u303b\u3041-\u309a\u309d-\u30fa\u30fc-\u312f\u3131-\u318e\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
)
_BEYOND_BMP = "\U00020000-\U0003ffff"
UNSPACED = _BMP + _BEYOND_BMP
_RUN = f"[{_BMP}]+|[{_BEYOND_BMP}]+"  # a single set would be ten times slower
_LAST_RUN = f"([{UNSPACED}]+)\\W*$"


def is_plain(text: str) -> bool:
    return text.isascii() or re.search(_NOT_PLAIN, _beyond_ascii(text)) is None


def fold(text: str) -> str:
    """May change the length of the text."""
    if text.isascii():
        return text.lower()
    folded = _drop(unicodedata.normalize("NFKD", text)).casefold()
    if not unicodedata.is_normalized("NFKD", folded):
        folded = _drop(unicodedata.normalize("NFKD", folded))
    for letter, plain in _STROKES.items():
        folded = folded.replace(letter, plain)
    return unicodedata.normalize("NFC", folded)


def _drop(text: str) -> str:
    return re.sub(_DROPPED, "", text) if re.search(_DROPPED, _beyond_ascii(text)) else text


def _beyond_ascii(text: str) -> str:
    """Few characters in most texts, so searching only these is faster."""
    return text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")


def segment(folded: str, *, is_open: bool = False) -> str:
    """The folded text with each unspaced run as pairs and its last character. `is_open`: without the last character
    of a run at the end, which may continue in the indexed text."""
    if folded.isascii():
        return folded
    text = re.sub(_RUN, _pairs, folded)
    run = last_run(folded) if is_open else ""
    return text[: text.rindex(f" {run[-1]} ")] if len(run) > 1 else text


def _pairs(run: re.Match[str]) -> str:
    text = run[0]
    return f" {' '.join((*map(add, text, text[1:]), text[-1]))} "


def last_run(folded: str) -> str:
    run = None if folded.isascii() else re.search(_LAST_RUN, folded)
    return run[1] if run is not None else ""


def is_unspaced(text: str) -> bool:
    return not text.isascii() and re.search(_RUN, text) is not None
