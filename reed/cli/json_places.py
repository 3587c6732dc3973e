"""Places in a JSON text: the line of each that a message of the core names.

$.tags[1]: 5 is not of type "string"    ->    $.tags[1] (line 7): 5 is not of type "string"
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from reed.wire.json_spans import members

_PLACE = re.compile(r"\$((?:\.[^\s.\[\]:]+|\[\d+\])*): ")
_BEFORE_ITEM = re.compile(r"[ \t\n\r,]*")
_SCAN = json.JSONDecoder().raw_decode


def with_lines(message: str, text: str) -> str:
    """A message of the core, with the line behind each place such as `$.tags[1]` that is in the text."""
    lines = {place: text.count("\n", 0, at) + 1 for place, at in _places(text, 0, "")}

    def with_line(found: re.Match[str]) -> str:
        line = lines.get(found[1])
        return f"${found[1]} (line {line}): " if line else found[0]

    return _PLACE.sub(with_line, message)


def _places(text: str, at: int, place: str) -> Iterator[tuple[str, int]]:
    """Each value at `at` and below, with its offset. The text must be valid JSON."""
    at = _after(text, at)
    yield place, at
    if text[at] == "{":
        for member in members(text, at):
            inner = _places(text, member.begin, f"{place}.{member.key}")
            next(inner)
            yield f"{place}.{member.key}", member.start
            yield from inner
    elif text[at] == "[":
        at = _after(text, at + 1)
        number = 0
        while text[at] != "]":
            yield from _places(text, at, f"{place}[{number}]")
            at = _after(text, _SCAN(text, at)[1])
            number += 1


def _after(text: str, at: int) -> int:
    found = _BEFORE_ITEM.match(text, at)
    return found.end() if found else at
