"""JSON values whose numbers keep their digits, patches between them, and JSON Pointers into them.

    loads('{"a": [1.0, 12345678901234567890]}')    ->  {"a": [Number("1.0"), Number("12345678901234567890")]}
    dumps(value)                                   ->  the same text again, but for white space
    "/a/1"                                         ->  the second item of the member "a" (RFC 6901)

Python's own numbers would turn 1.0 into 1 on the way through a form or an editor, and 1e2 into 100.0.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from reed.errors import Invalid
from reed.wire import strict_json

Json = Any  # None, bool, str, Number, list, dict


class Number(NamedTuple):
    """Equal only to a number of the same digits: 1 and 1.0 differ."""

    text: str


class Absent:
    """The type of ABSENT, which stands for a member that an object lacks (None is JSON's null)."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


def loads(text: str | bytes) -> Json:
    """Raises Malformed, with line and column, for what the core would refuse too."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    strict_json.loads(data)
    return json.loads(data, parse_int=Number, parse_float=Number)


def load_object(data: bytes) -> dict[str, Json]:
    """As `loads`. Malformed unless the value is an object."""
    strict_json.load_object(data)
    found: dict[str, Json] = json.loads(data, parse_int=Number, parse_float=Number)
    return found


def dumps(value: Json, indent: int = 0) -> str:
    """Compact, or with `indent` spaces for each level."""
    return "".join(_parts(value, indent, 0))


def _parts(value: Json, indent: int, level: int) -> list[str]:
    if isinstance(value, Number):
        return [value.text]
    if not isinstance(value, (dict, list)) or not value:
        return [_plain(value)]
    before, between, after = _spaces(indent, level)
    is_object = isinstance(value, dict)
    parts = ["{" if is_object else "["]
    for number, item in enumerate(value):
        parts.append(between if number else before)
        if is_object:
            parts.append(_plain(item) + (": " if indent else ":"))
        parts += _parts(value[item] if is_object else item, indent, level + 1)
    return [*parts, after, "}" if is_object else "]"]


def _spaces(indent: int, level: int) -> tuple[str, str, str]:
    """What stands before the first item, between two, and after the last."""
    if not indent:
        return "", ",", ""
    line = "\n" + " " * indent * (level + 1)
    return line, "," + line, "\n" + " " * indent * level


def _plain(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def size(value: Json) -> int:
    """The number of values in it, itself included."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(size, items))


def patch(
    old: dict[str, Json],
    new: dict[str, Json],
    null_error: Callable[[tuple[str, ...]], Invalid],
    path: tuple[str, ...] = (),
) -> dict[str, Json]:
    """The JSON Merge Patch (RFC 7396) that turns one object into the other; {} if they are equal.

    Such a patch cannot set a member to null, or to an object with a null member: raises `null_error` of that member's
    path then.
    """
    found: dict[str, Json] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        before = old.get(key, ABSENT)
        if before == value:
            continue
        here = (*path, key)
        if value is None:
            raise null_error(here)
        if isinstance(value, dict):
            found[key] = patch(before if isinstance(before, dict) else {}, value, null_error, here)
        else:
            found[key] = value
    return found


# JSON Pointers.


def join(pointer: str, step: str | int) -> str:
    return f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"


def steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def shown(pointer: str) -> str:
    """A pointer for people: `author.name`, `keywords.2`; "" is the whole content."""
    return ".".join(steps(pointer))
