"""Lines that are plain contents: what names them (`--name-field`), and how they are found again (`--key`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

from reed.client import Client
from reed.errors import FileError, Malformed, NotFound, nearest
from reed.wire.identifiers import is_semantic_name
from reed.wire.json_spans import exact

Numbered = Iterator[tuple[int, bytes]]

_LONGEST_NAME = 31  # bytes
_HELD = 64 * 1024 * 1024  # bytes of lines that are looked through for a field before the import begins


def require_field(numbered: Numbered, path: str, field: str) -> Numbered:
    """All lines again; FileError when none of them has the field (of the first 64 MB, where there are more)."""
    held: list[tuple[int, bytes]] = []
    known: dict[str, None] = {}
    size = 0
    for number, line in numbered:
        held.append((number, line))
        size += len(line)
        content = _object(line)
        known.update(dict.fromkeys(content))
        if field in content:
            return chain(held, numbered)
        if size > _HELD:
            break
    if known:
        hint = nearest(field, known) or f"the lines have: {', '.join(list(known)[:20])}"
        raise FileError(path, f"no line has the field {field!r}; nothing was imported", hint=hint)
    return iter(held)


def _object(line: bytes) -> dict[str, Any]:
    """What a line holds; nothing where it is no object, which is told later."""
    try:
        content = exact(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class Naming:
    """The semantic names that a field gives, and why lines got none."""

    def __init__(self, field: str) -> None:
        self.field = field
        self._lines = 0
        self._reasons: Counter[str] = Counter()
        self._first: tuple[int, str] = (0, "")

    def name(self, number: int, content: Any) -> str:
        """The name of a line; empty where its field is no sound one."""
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

    def told(self) -> str:
        """In words; empty when every line got its name."""
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
        return "with a value that is no text"
    if len(value.encode("utf-8", "replace")) > _LONGEST_NAME:
        return f"longer than {_LONGEST_NAME} bytes"
    return "with characters that a name has not (A-Z a-z 0-9 _ . / -)"


class Keys:
    """Which snippet has which value in a field: the snippets of the type are read once, before the import."""

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
        """The id of the snippet that a line means; empty when there is none yet. Malformed: the key says nothing."""
        value = content.get(self.field) if isinstance(content, dict) else None
        token = _token(value)
        if not token:
            raise Malformed(f"no key: {self.field!r} is not a text, a number or a boolean")
        before = self._lines.setdefault(token, number)
        if before != number:
            raise Malformed(f"line {before} has the same {self.field!r}")
        found = self._ids.get(token, [])
        if len(found) > 1:
            raise Malformed(f"{len(found)} snippets have this {self.field!r}: {', '.join(found[:3])}")
        return found[0] if found else ""


def _token(value: Any) -> str:
    """What values are compared by: 1, "1" and true differ."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    return repr(value)
