"""YAML files with the line and column of every value (yaml-subset.md).

    read(path) ── Node ──┬── a mapping  {key: Node}
                         ├── a list     [Node]
                         └── a scalar   its text, and whether it was quoted

The field that takes a scalar decides its type (`reed.readers`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from reed.errors import FileError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 1000  # keys not counted; the core's loop reads them in 10 ms

_NOTHING = ("", "~", "null")


class Node(NamedTuple):
    """`line` and `column` count from 1; 0: it has none."""

    value: str | list[Node] | dict[str, Node]
    field: str  # "limits.payload"; "" for the whole document
    path: str  # the file, variable or flag
    error: type[FileError]
    line: int = 0
    column: int = 0
    quoted: bool = False
    key_line: int = 0  # of its key, if it has one
    key_column: int = 0

    def wrong(self, message: str, hint: str = "") -> FileError:
        message = f"{self.field}: {message}" if self.field else message
        return self.error(self.path, message, line=self.line, column=self.column, hint=hint)

    def wrong_key(self, message: str, hint: str = "") -> FileError:
        return self._replace(line=self.key_line, column=self.key_column).wrong(message, hint)

    def expected(self, what: str) -> FileError:
        return self.wrong(f"expected {what}, found {self.kind}")

    @property
    def empty(self) -> bool:
        return isinstance(self.value, str) and not self.quoted and self.value in _NOTHING

    @property
    def kind(self) -> str:
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        if self.empty:
            return "nothing"
        return repr(self.value if len(self.value) <= 40 else self.value[:39] + "…")

    @property
    def mapping(self) -> Mapping[str, Node]:
        if self.empty:
            return {}
        if not isinstance(self.value, dict):
            raise self.expected("a mapping")
        return self.value


def read(path: str | os.PathLike[str], error: type[FileError]) -> Node:
    """Raises `error` for every defect."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise error(name, f"cannot be read: {problem.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise error(name, f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        return parse(raw.decode("utf-8-sig"), name, error)
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise error(
            name, "is not UTF-8", line=line, column=problem.start - raw.rfind(b"\n", 0, problem.start)
        ) from None


def parse(source: str, path: str, error: type[FileError]) -> Node:
    """`path` names the text in errors."""
    import yaml  # only when there is a file to read

    reader = _Reader(yaml.parse(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), path, error)
    try:
        return reader.document() or Node({}, "", path, error)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        reason = getattr(problem, "problem", None) or str(problem).partition("\n")[0]
        raise error(path, f"is not YAML: {reason}", **place) from None


class _Reader:
    """Recursive descent over the parser's events."""

    def __init__(self, events: Iterator[Any], path: str, error: type[FileError]) -> None:
        self._events = events
        self._path = path
        self._error = error
        self._left = MAX_VALUES

    def document(self) -> Node | None:
        root = None
        for event in self._events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and root is not None:
                raise self._node(event, "").wrong("a second document starts here; expected one")
            if not kind.startswith(("Stream", "Document")):
                root = self._value(event, "", 0)
        return root

    def _value(self, event: Any, field: str, depth: int, key: Node | None = None) -> Node:
        kind = type(event).__name__
        if kind == "AliasEvent" or event.anchor:
            raise self._node(event, field).wrong("anchors and aliases are not supported")
        if event.tag:
            raise self._node(event, field).wrong(f"tags are not supported, found {event.tag!r}")
        if kind == "ScalarEvent":
            return self._node(event, field, event.value, quoted=not event.implicit[0], key=key)
        if depth == MAX_DEPTH:
            raise self._node(event, field).wrong(f"nested deeper than {MAX_DEPTH}")
        inside = self._list if kind == "SequenceStartEvent" else self._mapping
        return self._node(event, field, inside(field, depth + 1), key=key)

    def _counted(self, event: Any, field: str, depth: int, key: Node | None = None) -> Node:
        self._left -= 1
        if self._left < 0:
            raise self._node(event, "").wrong(f"has more than {MAX_VALUES} values")
        return self._value(event, field, depth, key)

    def _list(self, field: str, depth: int) -> list[Node]:
        found: list[Node] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            found.append(self._counted(event, f"{field}[{len(found)}]", depth))
        return found

    def _mapping(self, field: str, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key = self._value(event, field, depth)
            if not isinstance(key.value, str):
                raise key.wrong("a key must be a plain word")
            if key.value in found:
                raise key.wrong(f"duplicate key {key.value!r}", f"first on line {found[key.value].key_line}")
            name = f"{field}.{key.value}" if field else key.value
            found[key.value] = self._counted(next(self._events), name, depth, key)
        return found

    def _node(
        self,
        event: Any,
        field: str,
        value: str | list[Node] | dict[str, Node] = "",
        *,
        quoted: bool = False,
        key: Node | None = None,
    ) -> Node:
        mark = event.start_mark
        key_line, key_column = (key.line, key.column) if key is not None else (0, 0)
        return Node(value, field, self._path, self._error, mark.line + 1, mark.column + 1, quoted, key_line, key_column)
