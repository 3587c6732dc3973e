"""Finds the values of a JSON text, so that a change copies everything else byte by byte (stored-bytes.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # unknown to the stub
from typing import NamedTuple

from reed.wire.strict_json import Json

_SPACE = re.compile(r"[ \t\n\r]*")
_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # unknown to the stub


class Member(NamedTuple):
    """A key and its value, with offsets into the text."""

    key: str
    value: Json
    lead: int  # after the brace or comma before the key
    start: int  # of the key's quotes
    begin: int  # of the value
    end: int  # after the value


def members(text: str, at: int = 0) -> Iterator[Member]:
    """The members of the object at `at`, or after white space there. The text must be valid JSON."""
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
    """The value as it is written; None if the object lacks the key."""
    for member in members(text):
        if member.key == key:
            return text[member.begin : member.end]
    return None


class Number(NamedTuple):
    """Equal only to a number of the same digits: 1 and 1.0 differ."""

    text: str


_EXACT = json.JSONDecoder(parse_int=Number, parse_float=Number)


def exact(text: str | bytes) -> Json:
    """Each number is a Number. ValueError if not JSON. json.loads would make a decoder for each text."""
    if not isinstance(text, str):
        text = text.decode(json.detect_encoding(text), "surrogatepass")  # as json.loads does
    return _EXACT.decode(text)


def _after_space(text: str, at: int) -> int:
    if text[at] not in " \t\n\r":
        return at
    found = _SPACE.match(text, at)
    return found.end() if found else at
