"""The lines of an export: types first, then snippets in creation order, then bonds. One JSON object each.

    {"kind":"type","name":"page","definition":{…}}
    {"kind":"snippet","id":"0190…","type":"page","name":"blog/intro","version":3,"created_at":…,"updated_at":…,"content":{…}}
    {"kind":"bond","parent":"0190…","child":"0190…","weight":0,"path":""}

The definition and the content stand last, as the very bytes that are stored, so that neither side has to build them
anew and a number keeps its digits. JSON that was laid out in lines, or has spaces around it, does not fit in: it
travels as text, in "content_text" or "definition_text". A snippet with a UUID as its id is restored as it was; another
id, or none, makes a new one, and only ties the bonds of the file. Lines that people write may have their keys in any
order.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from reed.errors import Malformed
from reed.wire.json_spans import member_text
from reed.wire.registry import Definition
from reed.wire.schema import SchemaBond
from reed.wire.snippets import Record


class Line(NamedTuple):
    """A line of an export: what it says, and the bytes of its content or definition."""

    about: dict[str, Any]
    json: bytes = b""

    def text(self, key: str, *, default: str | None = None) -> str:
        """A field that is a string; Malformed when it is not."""
        value = self.about.get(key, default)
        if not isinstance(value, str):
            raise Malformed(f"{key!r} must be a string" if key in self.about else f"{key!r} is missing")
        return value

    def number(self, key: str, default: int) -> int:
        """A field that is a whole number; Malformed when it is not."""
        value = self.about.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Malformed(f"{key!r} must be a whole number")
        return value


def of_type(definition: Definition) -> bytes:
    about = {"kind": "type", "name": definition.type_name}
    return _line(about, "definition", bytes(definition.definition))


def of_snippet(record: Record) -> bytes:
    return _line({"kind": "snippet", **record.json_fields()}, "content", bytes(record.content))


def of_bond(parent: str, child: str, weight: int, path: str) -> bytes:
    return _dumps({"kind": "bond", "parent": parent, "child": child, "weight": weight, "path": path}) + b"\n"


def record(line: Line) -> Record:
    """The snippet of a line with an id; what a person left out is that of a new one, made when its id was."""
    snippet_id = line.text("id")
    made_at = int(snippet_id[:8] + snippet_id[9:13], 16) * 1000
    created_at = line.number("created_at", made_at)
    return Record(
        snippet_id,
        line.text("type"),
        line.text("name", default=""),
        line.number("version", 1),
        created_at,
        line.number("updated_at", created_at),
        line.json,
    )


def bond(line: Line, parent: str, child: str) -> SchemaBond:
    """The bond of a line, between these two."""
    return SchemaBond(parent, child, line.number("weight", 0), line.text("path", default=""))


def _line(about: dict[str, Any], key: str, text: bytes) -> bytes:
    if b"\n" in text or b"\r" in text or text != text.strip():
        return _dumps({**about, f"{key}_text": text.decode()}) + b"\n"
    return b'%b,"%b":%b}\n' % (_dumps(about)[:-1], key.encode(), text)


def read(line: bytes) -> Line:
    """Read a line; json.JSONDecodeError or Malformed says what is wrong with it."""
    text = line.decode()
    for key in ("content", "definition"):
        # In a string its quotes would be escaped, so this is the key. What was nested in another key fails below.
        head, found, tail = text.partition(f',"{key}":')
        if found:
            about = _as_export_writes_it(head, tail)
            if about is not None:
                return Line(about, tail[:-1].encode())
    return _any_order(text)


def _as_export_writes_it(head: str, tail: str) -> dict[str, Any] | None:
    """What stands before the content, if the content is a whole JSON value and the line ends with it."""
    try:
        about = json.loads(head + "}")
        _, end = json.JSONDecoder().raw_decode(tail)
    except ValueError:
        return None
    return about if tail[end:] == "}" else None


def _any_order(text: str) -> Line:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise Malformed("expected an object")
    for key in ("content", "definition"):
        if f"{key}_text" in value:
            inner = value.pop(f"{key}_text")
            if not isinstance(inner, str):
                raise Malformed(f"'{key}_text' must be a string")
            return Line(value, inner.encode())
        if key in value:
            del value[key]
            return Line(value, (member_text(text, key) or "").encode())
    return Line(value)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
