"""A YAML file that a person wrote, with the place of everything in it (reed.yaml, plugin.yaml).

    read(path) ── Node ──┬── a mapping  {key: Node}    no key twice
                         ├── a list     [Node]
                         └── a scalar   its text, and whether it was quoted

What a scalar means is decided by the field that takes it (`reed.readers`), never by its looks: `version: 1.10` is the
text "1.10" where text is expected, and `no` is a word like any other.

Anchors, aliases, tags, a second document, more than 256 KiB and nesting beyond 32 are refused. No other
module of the core imports yaml, and this one does so when there is a file to read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from reed.errors import FileError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

_NOTHING = ("", "~", "null")


@dataclass(frozen=True, slots=True)
class Node:
    """A value as it stands in a file, a variable or a flag. `line` and `column` count from 1; 0: it has none."""

    value: str | list[Node] | dict[str, Node]
    field: str  # "limits.payload"; empty for the whole document
    path: str  # the file; or the variable or flag that gave the value
    error: type[FileError]
    line: int = 0
    column: int = 0
    quoted: bool = False
    key_line: int = 0  # where its key stands, if it has one
    key_column: int = 0

    def wrong(self, message: str, hint: str = "") -> FileError:
        """The error to raise about this value."""
        message = f"{self.field}: {message}" if self.field else message
        return self.error(self.path, message, line=self.line, column=self.column, hint=hint)

    def wrong_key(self, message: str, hint: str = "") -> FileError:
        """The error to raise about its key."""
        return replace(self, line=self.key_line, column=self.key_column).wrong(message, hint)

    def expected(self, what: str) -> FileError:
        return self.wrong(f"expected {what}, found {self.kind}")

    @property
    def empty(self) -> bool:
        return isinstance(self.value, str) and not self.quoted and self.value in _NOTHING

    @property
    def kind(self) -> str:
        """What it is, for messages."""
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
    """The document in a file. Raises `error` for everything that can be wrong with it."""
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
    """The document in a text; an empty one is an empty mapping. `path` names it in errors."""
    import yaml

    builder = _Builder(partial(Node, path=path, error=error))
    try:
        for event in yaml.parse(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.take(event)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        said = getattr(problem, "problem", None) or str(problem).partition("\n")[0]
        raise error(path, f"is not YAML: {said}", **place) from None
    return builder.root or Node({}, "", path, error)


class _Open:
    """A list or mapping whose end has not come yet."""

    __slots__ = ("key", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: Any = None  # the event of the key whose value comes next


class _Builder:
    """Parser events in, nodes out: without recursion, so that no nesting is too deep to be refused."""

    def __init__(self, make: Callable[..., Node]) -> None:
        self.root: Node | None = None
        self._make = make
        self._open: list[_Open] = []

    def take(self, event: Any) -> None:
        """One event, told apart by its name: yaml is not imported here."""
        name = type(event).__name__
        if name == "DocumentStartEvent" and self.root is not None:
            raise self._at(event).wrong("a second document starts here; expected one")
        if name == "AliasEvent" or getattr(event, "anchor", None):
            raise self._at(event).wrong("anchors and aliases are not used here")
        if getattr(event, "tag", None):
            raise self._at(event).wrong(f"tags are not used here, found {event.tag!r}")
        if name == "ScalarEvent":
            self._scalar(event)
        elif name in {"MappingStartEvent", "SequenceStartEvent"}:
            if len(self._open) >= MAX_DEPTH:
                raise self._at(event).wrong(f"nested deeper than {MAX_DEPTH}")
            self._open.append(_Open(self._put(event, {} if name == "MappingStartEvent" else [])))
        elif name in {"MappingEndEvent", "SequenceEndEvent"}:
            self._open.pop()

    def _scalar(self, event: Any) -> None:
        above = self._open[-1] if self._open else None
        if above is None or above.key is not None or isinstance(above.node.value, list):
            self._put(event, event.value)
            return
        assert isinstance(above.node.value, dict)
        if event.value in above.node.value:
            first = above.node.value[event.value].key_line
            raise self._at(event).wrong(f"the key {event.value!r} stands here twice", f"first on line {first}")
        above.key = event

    def _put(self, event: Any, value: Any) -> Node:
        """Make the node of a value, and hang it into what is open."""
        above = self._open[-1] if self._open else None
        node = self._at(event, value)
        if above is None:
            self.root = node
        elif isinstance(above.node.value, list):
            above.node.value.append(node)
        elif above.key is None:
            raise node.wrong("a key must be a plain word")
        else:
            mark = above.key.start_mark
            node = replace(node, key_line=mark.line + 1, key_column=mark.column + 1)
            above.node.value[above.key.value] = node  # type: ignore[index]
            above.key = None
        return node

    def _at(self, event: Any, value: Any = "") -> Node:
        above = self._open[-1] if self._open else None
        name = above.node.field if above else ""
        if above and isinstance(above.node.value, list):
            name += f"[{len(above.node.value)}]"
        elif above and above.key is not None:
            name += f".{above.key.value}" if name else above.key.value
        mark = event.start_mark
        quoted = type(event).__name__ == "ScalarEvent" and not event.implicit[0]
        return self._make(value, name, line=mark.line + 1, column=mark.column + 1, quoted=quoted)
