"""JSON texts that people edit: numbers keep their digits, keys their order, and a change is found as a patch.

    exact(text) ── value ──┬─ pretty   two spaces for each level, for an editor
                           ├─ compact  for the core
                           └─ patch    what turns the object `old` into `new`, as a JSON Merge Patch

A value is as `reed.wire.json_spans.exact` gives it: a number is a tuple of its digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from reed.errors import Invalid
from reed.wire.json_spans import exact, members
from reed.wire.strict_json import Json

_PLACE = re.compile(r"\$((?:\.[^\s.\[\]:]+|\[\d+\])*): ")
_BEFORE_ITEM = re.compile(r"[ \t\n\r,]*")
_SCAN = json.JSONDecoder().raw_decode


def pretty(value: Json, level: int = 0) -> str:
    inside, outside = "\n" + "  " * (level + 1), "\n" + "  " * level
    if isinstance(value, dict) and value:
        parts = [f"{_string(key)}: {pretty(each, level + 1)}" for key, each in value.items()]
        return f"{{{inside}{f',{inside}'.join(parts)}{outside}}}"
    if isinstance(value, list) and value:
        parts = [pretty(each, level + 1) for each in value]
        return f"[{inside}{f',{inside}'.join(parts)}{outside}]"
    return compact(value)


def compact(value: Json) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_string(key)}:{compact(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(compact, value))}]"
    return str(value[0]) if isinstance(value, tuple) else _string(value)


def _string(value: Json) -> str:
    """A string, true, false or null."""
    return json.dumps(value, ensure_ascii=False)


def patch(old: dict[str, Json], new: dict[str, Json], above: str = "$") -> dict[str, Json]:
    """Empty if nothing differs. Raises Invalid for a new null in an object, which a merge patch cannot write."""
    found: dict[str, Json] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        place = f"{above}.{key}"
        if key in old and old[key] == value:
            continue
        if isinstance(value, dict):
            before = old.get(key)
            if isinstance(before, dict):
                found[key] = patch(before, value, place)
                continue
            patch({}, value, place)  # has it a null?
        elif value is None:
            raise Invalid(f"{place}: null cannot be written by an update", hint="remove the field")
        found[key] = value
    return found


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


def exact_object(text: bytes) -> dict[str, Any]:
    """Raises Malformed, with line and column, unless it is a JSON object that the core would take."""
    from reed.wire import strict_json

    strict_json.load_object(text)
    found: dict[str, Any] = exact(text)
    return found
