"""RFC 8259 JSON in UTF-8 (protocol.md#json).

Rejects what the standard library accepts: NaN and Infinity (also as 1e999), duplicate keys, lone surrogates, UTF-16,
and nesting beyond 64 levels.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

from reed.errors import Malformed

MAX_DEPTH = 64
ENVELOPE = 8  # levels that a response or an exported line may add

Json = Any

# An unterminated string is one token too. No part backtracks, so the time is linear.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[\[\]{}]', re.DOTALL)
_SHORT = 64 * 1024  # characters; splitting a longer text at its quotes could take several times its memory
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes | bytearray | memoryview, max_depth: int = MAX_DEPTH) -> Json:
    """Raises Malformed, with line and column."""
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"JSON: not UTF-8 at byte {error.start}") from None
    if len(text) > max_depth and text.count("{") + text.count("[") > max_depth and _brackets(text) > max_depth:
        _check_depth(text, max_depth)
    try:
        try:
            value, end = _SCAN(text, 0)
            whole = end == len(text)
        except StopIteration:
            whole = False
        if not whole:  # white space around the value, or not JSON
            value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"JSON: {_what(text, error)}") from None
    except ValueError:  # Python limits the digits of an integer
        raise Malformed(f"JSON: an integer of more than {sys.get_int_max_str_digits()} digits") from None
    if "\\" in text and _ESCAPED_SURROGATE.search(text):
        _check_surrogates(value)
    return value


def load_object(data: bytes | bytearray | memoryview, max_depth: int = MAX_DEPTH) -> dict[str, Json]:
    """Malformed unless the value is an object."""
    value = loads(data, max_depth)
    if not isinstance(value, dict):
        raise Malformed(f"JSON: expected an object, found {describe(value)}")
    return value


def dumps(value: Json) -> bytes:
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"JSON: {error}") from None


def describe(value: Json) -> str:
    """The kind of a value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _what(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "the text is empty"
    if text.startswith("\ufeff"):
        return "starts with a byte order mark"
    return f"{error.msg} at line {error.lineno} column {error.colno}"


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Malformed(f"JSON: duplicate key {duplicate!r}")
    return value


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Malformed(f"JSON: number {text[:40]} is out of range")
    return number


def _constant(text: str) -> Json:
    raise Malformed(f"JSON: {text} is not a JSON value")


def _brackets(text: str) -> int:
    """How many opening brackets are outside of strings: Markdown has many inside. `_check_depth` takes far longer."""
    if len(text) <= _SHORT:
        if '\\"' in text:  # an escaped quote ends no string, one after an escaped backslash does
            text = text.replace("\\\\", "__").replace('\\"', "__")  # of the same length: half the time
        text = "".join(text.split('"')[::2])
    return text.count("{") + text.count("[")


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match.group()
        if token in "[{":
            depth += 1
            if depth > max_depth:
                raise Malformed(f"JSON: nested deeper than {max_depth}")
        elif token in "]}":
            depth -= 1


def _check_surrogates(value: Json) -> None:
    try:
        _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("JSON: lone surrogate in a string") from None


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
_SCAN = _DECODER.scan_once  # type: ignore[attr-defined]  # faster than `decode`
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
