"""JSON values whose numbers keep their digits, patches between them, and JSON Pointers into them.

    loads('{"a": [1.0, 12345678901234567890]}')    ->  {"a": [Number("1.0"), Number("12345678901234567890")]}
    dumps(value)                                   ->  the same text again, but for white space
    "/a/1"                                         ->  the second item of the member "a" (RFC 6901)

Python's own numbers would turn 1.0 into 1 on the way through a form or an editor, and 1e2 into 100.0.
"""

from __future__ import annotations

import json

from reed.errors import Invalid
from reed.wire import strict_json
from reed.wire.json_spans import Number, exact
from reed.wire.strict_json import Json

__all__ = [
    "ABSENT",
    "Absent",
    "Json",
    "Number",
    "dumps",
    "join",
    "load_object",
    "loads",
    "patch",
    "shown",
    "size",
    "steps",
]


class Absent:
    """The type of ABSENT, which stands for a member that an object lacks (None is JSON's null)."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


def loads(text: str | bytes) -> Json:
    """Raises Malformed, with line and column, for what the core would refuse too."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    strict_json.loads(data)
    return exact(data)


def load_object(data: bytes) -> dict[str, Json]:
    """As `loads`. Malformed unless the value is an object."""
    strict_json.load_object(data)
    found: dict[str, Json] = exact(data)
    return found


def dumps(value: Json, indent: int = 0) -> str:
    """Compact, or with `indent` spaces for each level."""
    return _text(value, "\n" if indent else "", " " * indent)


def _text(value: Json, line: str, step: str) -> str:
    """`line` stands before the closing bracket, and with `step` before each item."""
    if isinstance(value, Number):
        return value.text
    if not isinstance(value, (dict, list)) or not value:
        return _plain(value)
    inside = line + step
    if isinstance(value, list):
        items = f",{inside}".join(_text(each, inside, step) for each in value)
        return f"[{inside}{items}{line}]"
    colon = ": " if step else ":"
    items = f",{inside}".join(f"{_plain(key)}{colon}{_text(each, inside, step)}" for key, each in value.items())
    return f"{{{inside}{items}{line}}}"


def _plain(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def size(value: Json) -> int:
    """The number of values in it, itself included."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(size, items))


def patch(old: dict[str, Json], new: dict[str, Json], path: str = "$") -> dict[str, Json]:
    """The JSON Merge Patch (RFC 7396) that turns one object into the other; {} if they are equal.

    Such a patch cannot set a member to null, or to an object with a null member: raises Invalid then.
    """
    found: dict[str, Json] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        before = old.get(key, ABSENT)
        if before == value:
            continue
        here = f"{path}.{key}"
        if value is None:
            raise Invalid(f"{here}: an update cannot set a member to null", hint="remove the member")
        if isinstance(value, dict):
            found[key] = patch(before if isinstance(before, dict) else {}, value, here)
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
