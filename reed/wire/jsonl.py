"""The lines of an export: types first, then snippets in creation order, then bonds. One JSON object each.

    {"kind":"type","name":"page","definition":{…}}
    {"kind":"snippet","id":"0190…","type":"page","name":"blog/intro","version":3,"created_at":…,"updated_at":…,"content":{…}}
    {"kind":"bond","parent":"0190…","child":"0190…","weight":0,"path":""}

The definition and the content come last and are copied, so that numbers keep their digits. JSON with line breaks, or
with white space around it, becomes a string in "content_text" or "definition_text". Lines that people write may have
their keys in any order.
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
    fields: dict[str, Any]
    json: bytes = b""  # the content or the definition

    def text(self, key: str, *, default: str | None = None) -> str:
        value = self.fields.get(key, default)
        if not isinstance(value, str):
            raise Malformed(f"{key!r} must be a string" if key in self.fields else f"{key!r} is missing")
        return value

    def number(self, key: str, default: int) -> int:
        value = self.fields.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Malformed(f"{key!r} must be a whole number")
        return value


def of_type(definition: Definition) -> bytes:
    fields = {"kind": "type", "name": definition.type_name}
    return _line(fields, "definition", bytes(definition.definition))


def of_snippet(record: Record) -> bytes:
    return _line({"kind": "snippet", **record.json_fields()}, "content", bytes(record.content))


def of_bond(parent: str, child: str, weight: int, path: str) -> bytes:
    return _dumps({"kind": "bond", "parent": parent, "child": child, "weight": weight, "path": path}) + b"\n"


def record(line: Line) -> Record:
    """The snippet of a line whose id is a UUID, which has the time where times are missing."""
    snippet_id = line.text("id")
    id_time = int(snippet_id[:8] + snippet_id[9:13], 16) * 1000
    created_at = line.number("created_at", id_time)
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
    return SchemaBond(parent, child, line.number("weight", 0), line.text("path", default=""))


def _line(fields: dict[str, Any], key: str, text: bytes) -> bytes:
    if b"\n" in text or b"\r" in text or text != text.strip():
        return _dumps({**fields, f"{key}_text": text.decode()}) + b"\n"
    return b'%b,"%b":%b}\n' % (_dumps(fields)[:-1], key.encode(), text)


def read(line: bytes) -> Line:
    """Raises json.JSONDecodeError or Malformed."""
    text = line.decode()
    for key in ("content", "definition"):
        # A key, since quotes inside a string would be escaped. If it is nested, the head is no object.
        head, found, tail = text.partition(f',"{key}":')
        if found:
            fields = _exported_fields(head, tail)
            if fields is not None:
                return Line(fields, tail[:-1].encode())
    return _any_order(text)


def _exported_fields(head: str, tail: str) -> dict[str, Any] | None:
    """The keys before the content; None if the content is not the last value of the line."""
    try:
        fields = json.loads(head + "}")
        _, end = json.JSONDecoder().raw_decode(tail)
    except ValueError:
        return None
    return fields if tail[end:] == "}" else None


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
