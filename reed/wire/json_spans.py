"""Where the values of a JSON text stand, so that a change copies everything else byte by byte.

    {"a": 1.50, "b": [2]}        members() gives key, value and place of each; text[begin:end] is the value as written

Reading a number and writing it again may change its digits (1.50, 18446744073709551615 in a float): who only passes a
value on takes its text from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # nor this one
from typing import NamedTuple

from reed.wire.strict_json import Json

_SPACE = re.compile(r"[ \t\n\r]*")
_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # the stub does not know it


class Member(NamedTuple):
    """One key of an object and its value."""

    key: str
    value: Json
    lead: int  # behind the brace or comma before it
    start: int  # of the key's quotes
    begin: int  # of the value
    end: int  # behind the value


def members(text: str, at: int = 0) -> Iterator[Member]:
    """The members of the object that starts at `at` or behind spaces there. The text must be sound JSON, as
    `strict_json` takes it."""
    lead = _after_space(text, at) + 1
    start = _after_space(text, lead)
    while text[start] != "}":
        key, at = scanstring(text, start + 1, True)
        begin = _after_space(text, _after_space(text, at) + 1)
        value, end = _SCAN(text, begin)
        yield Member(key, value, lead, start, begin, end)
        start = _after_space(text, end)
        if text[start] == ",":
            lead = start + 1
            start = _after_space(text, lead)


def member_text(text: str, key: str) -> str | None:
    """The value of a key as it is written; None when the object has no such key."""
    for member in members(text):
        if member.key == key:
            return text[member.begin : member.end]
    return None


def exact(text: str | bytes) -> Json:
    """The value of a JSON text, its numbers as their digits: equal values are written alike but for spaces and order.

    Raises ValueError for what is no JSON.
    """
    return json.loads(text, parse_int=_digits, parse_float=_digits)


def _digits(text: str) -> tuple[str]:
    """A tuple, as no other value of JSON is one."""
    return (text,)


def _after_space(text: str, at: int) -> int:
    if text[at] not in " \t\n\r":
        return at
    found = _SPACE.match(text, at)
    return found.end() if found else at
