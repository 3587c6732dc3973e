"""Lines of plain content: names (--name-field), existing snippets (--key), and the definition of a new type.

A new type accepts any object, since later lines may have other fields. All its text is searchable; titles weigh most.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from reed.cli.output import Output
from reed.client import Client
from reed.errors import FileError, Malformed, NotFound, nearest
from reed.wire.identifiers import is_semantic_name
from reed.wire.json_spans import exact

NumberedLines = Iterator[tuple[int, bytes]]

_MAX_NAME = 31  # bytes
_MAX_PEEKED = 64 * 1024 * 1024  # bytes
_SAMPLE = 100  # lines
_WEIGHTS = {
    5: ("title", "name", "heading", "headline", "subject"),
    4: ("keywords", "tags", "categories"),
    3: ("description", "summary", "abstract", "excerpt", "subtitle", "teaser", "intro"),
}
_REFERENCES = ("id", "path", "url", "slug", "href", "link", "uuid", "date", "created", "updated", "image")


def require_field(lines: NumberedLines, path: str, field: str) -> NumberedLines:
    """Return all lines; FileError if none within the first 64 MB has the field."""
    peeked: list[tuple[int, bytes]] = []
    known: dict[str, None] = {}
    size = 0
    for number, line in lines:
        peeked.append((number, line))
        size += len(line)
        content = _object(line)
        known.update(dict.fromkeys(content))
        if field in content:
            return chain(peeked, lines)
        if size > _MAX_PEEKED:
            break
    if known:
        hint = nearest(field, known) or f"fields of the lines: {', '.join(list(known)[:20])}"
        raise FileError(path, f"no line has the field {field!r}; nothing was imported", hint=hint)
    return iter(peeked)


def _object(line: bytes) -> dict[str, Any]:
    """{} for an invalid line, which the import reports later."""
    try:
        content = exact(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class Naming:
    """Semantic names from a field; counts lines without one by reason."""

    def __init__(self, field: str) -> None:
        self.field = field
        self._lines = 0
        self._reasons: Counter[str] = Counter()
        self._first: tuple[int, str] = (0, "")

    def name(self, number: int, content: Any) -> str:
        if not self.field or not isinstance(content, dict):
            return ""
        self._lines += 1
        found = content.get(self.field)
        if isinstance(found, str) and is_semantic_name(found):
            return found
        self._reasons[_why_no_name(self.field, content)] += 1
        if not self._first[0]:
            self._first = number, found if isinstance(found, str) else ""
        return ""

    def as_json(self) -> dict[str, Any]:
        if not self._reasons:
            return {}
        line, value = self._first
        first = {"line": line, "value": value}
        return {"unnamed": {"count": self._reasons.total(), "reasons": dict(self._reasons), "first": first}}

    def summary(self) -> str:
        if not self._reasons:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self._reasons.most_common())
        line, value = self._first
        first = f"line {line}" + (f", {value[:60]!r}" if value else "")
        return (
            f"{self._reasons.total()} of {self._lines} lines got no name from {self.field!r}: {reasons}; first {first}"
        )


def _why_no_name(field: str, content: dict[str, Any]) -> str:
    value = content.get(field)
    if value is None or value == "":
        return "without a value"
    if not isinstance(value, str):
        return "with a value that is not a string"
    if len(value.encode("utf-8", "replace")) > _MAX_NAME:
        return f"longer than {_MAX_NAME} bytes"
    return "with characters outside A-Z a-z 0-9 _ . / -"


class Keys:
    """The snippets of a type by the value of a field."""

    def __init__(self, core: Client, snippet_type: str, field: str) -> None:
        self.field = field
        self._ids: dict[str, list[str]] = {}
        self._lines: dict[str, int] = {}
        try:
            for record in core.snippets(snippet_type):
                token = _token(exact(bytes(record.content)).get(field))
                if token:
                    self._ids.setdefault(token, []).append(record.id)
        except NotFound:  # the type is not defined yet
            return

    def find(self, number: int, content: Any) -> str:
        """The id of a line's snippet, or ""; Malformed if the key is unusable or ambiguous."""
        value = content.get(self.field) if isinstance(content, dict) else None
        token = _token(value)
        if not token:
            raise Malformed(f"no key: {self.field!r} is not a string, number or boolean")
        before = self._lines.setdefault(token, number)
        if before != number:
            raise Malformed(f"duplicate {self.field!r}: line {before} has the same value")
        found = self._ids.get(token, [])
        if len(found) > 1:
            raise Malformed(f"ambiguous {self.field!r}: {len(found)} snippets have it: {', '.join(found[:3])}")
        return found[0] if found else ""


def _token(value: Any) -> str:
    """Tells 1, "1" and true apart; "" if the value cannot be a key."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    return repr(value)


def define_if_missing(
    core: Client, snippet_type: str, lines: NumberedLines, path: str, output: Output, *, dry_run: bool
) -> tuple[NumberedLines, bool]:
    """Returns all lines, and whether the type is new."""
    try:
        core.registry_get(snippet_type)
    except NotFound:
        sample = list(islice(lines, _SAMPLE))
        definition = infer([line for _, line in sample], path)
        if not dry_run:
            core.registry_define(snippet_type, definition)
        show_type(output, snippet_type, definition)
        return chain(sample, lines), True
    return lines, False


def show_type(output: Output, name: str, definition: dict[str, Any]) -> None:
    weights = ", ".join(f"{field} {weight}" for field, weight in definition["searchable"].items())
    output.info(f"type {name} defined: any object, searchable: {weights or 'nothing'}")


def infer(sample: list[bytes], path: str) -> dict[str, Any]:
    fields: dict[str, None] = {}
    for line in sample:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            fields.update(dict.fromkeys(field for field, value in content.items() if _is_text(field, value)))
    return {
        "description": f"Imported from {path.rpartition('/')[2]}" if path != "-" else "Imported",
        "schema": {"type": "object"},
        "searchable": {field: _weight(field) for field in fields if field.lower() not in _REFERENCES},
    }


def _is_text(field: str, value: Any) -> bool:
    """A string or an array of strings; an empty array by the name of its field."""
    if isinstance(value, list):
        return all(isinstance(each, str) for each in value) if value else _weight(field) > 1
    return isinstance(value, str)


def _weight(field: str) -> int:
    return next((weight for weight, names in _WEIGHTS.items() if field.lower() in names), 1)
