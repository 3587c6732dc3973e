"""The texts of a content for the search index, by the weight of their fields.

    {"title": 10, "body": 1}  of the type        {"title": "Intro", "body": {"p": ["one", 2]}}  of the content
                 └────── column of WEIGHTS ──────┘
                 10: "Intro"      1: "one\\n2"

An object or an array gives every string and number in it.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

from reed.wire.strict_json import Json

WEIGHTS = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 50, 100)  # as many as the index has columns
MAX_TEXT = 1024 * 1024  # bytes of text indexed for a snippet: writing one row cannot be interrupted
_BOUNDS = [math.sqrt(low * high) for low, high in pairwise(WEIGHTS)]

Columns = tuple[tuple[str, int], ...]  # (searchable field, number of its weight in WEIGHTS)


def nearest_column(weight: float) -> int:
    # By ratio: 70 is nearer to 50 than to 100.
    return bisect_left(_BOUNDS, weight)


def texts_by_column(columns: Columns, content: bytes) -> list[str]:
    """The text for each of WEIGHTS, "" where there is none; MAX_TEXT bytes in all."""
    texts = [""] * len(WEIGHTS)
    if not columns:
        return texts
    value = json.loads(str(content, "utf-8"))  # json.loads would first look which encoding it is
    room = MAX_TEXT
    for field, column in columns:
        found = value.get(field)
        text = _truncated(found if isinstance(found, str) else "\n".join(_texts(found)), room)
        room -= len(text)
        texts[column] = f"{texts[column]}\n{text}" if texts[column] else text
    return texts


def _truncated(text: str, room: int) -> str:
    """As much of the text as fits into so many bytes."""
    if len(text) * 4 <= room:
        return text
    return text.encode("utf-8", "surrogatepass")[: max(room, 0)].decode("utf-8", "ignore")


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
