"""Functions that turn a Node of a document into a value, or raise the document's error.

A dataclass declares the reader of each field in its annotations; a field with a default is optional:

    @dataclass
    class Limits:
        payload: Annotated[int, size(KB, GB)] = 16 * MB
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

from reed.document import Node
from reed.errors import nearest

T = TypeVar("T")
Reader = Callable[[Node], T]

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,15}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?")
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s?(ms|s|m|h|d|)")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s?([KMG]?)(?:i?B)?", re.IGNORECASE)
_SECONDS_OF = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BOOLEANS = {"true": True, "on": True, "false": False, "off": False}
_BYTES_OF = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def text(node: Node) -> str:
    if not isinstance(node.value, str) or node.empty:
        raise node.expected("a text")
    return node.value


def text_node(node: Node) -> Node:
    """For texts that are checked later and need their place for errors."""
    text(node)
    return node


def whole(low: int, high: int) -> Reader[int]:
    """Decimal or hexadecimal (0x30)."""

    def read(node: Node) -> int:
        number = _whole_number(node.value) if isinstance(node.value, str) else None
        if number is None:
            raise node.expected(f"a whole number from {low} to {high}")
        return _within(node, number, low, high)

    return read


def _whole_number(text: str) -> int | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    return int(text, 16) if _HEXADECIMAL.fullmatch(text) else None


def seconds(low: float = 0.001, high: float = 86400.0) -> Reader[float]:
    def read(node: Node) -> float:
        match = _SECONDS.fullmatch(node.value) if isinstance(node.value, str) else None
        if match is None:
            raise node.expected("a time in seconds, or such as 250ms, 180s, 5m")
        return _within(node, float(match[1]) * _SECONDS_OF[match[2]], low, high)

    return read


def interval(node: Node) -> float:
    """Seconds between the runs of a schedule."""
    found = seconds(0.0, 1e12)(node)
    if not 1.0 <= found <= 366 * _SECONDS_OF["d"]:
        raise node.wrong(f"expected 1s to 366d, found {node.kind}")
    return found


def size(low: int, high: int) -> Reader[int]:
    def read(node: Node) -> int:
        match = _SIZE.fullmatch(node.value) if isinstance(node.value, str) else None
        if match is None:
            raise node.expected("a size in bytes, or such as 64KB, 8MB")
        return _within(node, int(float(match[1]) * _BYTES_OF[match[2].upper()]), low, high)

    return read


def one_of(*choices: str) -> Reader[str]:
    def read(node: Node) -> str:
        if node.value not in choices:
            hint = nearest(node.value, choices) if isinstance(node.value, str) else ""
            raise node.wrong(f"expected {' or '.join(choices)}, found {node.kind}", hint)
        return str(node.value)

    return read


def boolean(node: Node) -> bool:
    if node.quoted or node.value not in _BOOLEANS:
        raise node.expected("true or false")
    return _BOOLEANS[str(node.value)]


def like(pattern: str, shape: str) -> Reader[str]:
    """`shape` describes the pattern in errors."""

    def read(node: Node) -> str:
        if not isinstance(node.value, str) or not re.fullmatch(pattern, node.value):
            raise node.expected(shape)
        return node.value

    return read


def path(node: Node) -> Path:
    """Relative to the file's folder, or to the working directory in a variable or flag."""
    base = os.path.dirname(node.path) if node.line else ""
    return Path(os.path.abspath(os.path.join(base, os.path.expanduser(text(node)))))


def plain(node: Node) -> Any:
    """As JSON: unquoted null, true, false and numbers are not texts."""
    if isinstance(node.value, dict):
        return {key: plain(each) for key, each in node.value.items()}
    if isinstance(node.value, list):
        return [plain(each) for each in node.value]
    if node.empty:
        return None
    if node.quoted:
        return node.value
    if node.value in {"true", "false"}:
        return node.value == "true"
    if (number := _whole_number(node.value)) is not None:
        return number
    return float(node.value) if _NUMBER.fullmatch(node.value) else node.value


def items(reader: Reader[T]) -> Reader[tuple[T, ...]]:
    def read(node: Node) -> tuple[T, ...]:
        if not isinstance(node.value, list):
            raise node.expected("a list")
        return tuple(reader(each) for each in node.value)

    return read


def entries(reader: Reader[T], key_pattern: str = "", key_shape: str = "") -> Reader[dict[str, T]]:
    def read(node: Node) -> dict[str, T]:
        for key, each in node.mapping.items():
            if key_pattern and not re.fullmatch(key_pattern, key):
                raise each.wrong_key(f"expected {key_shape}, found {key!r}")
        return {key: reader(each) for key, each in node.mapping.items()}

    return read


def record(cls: type[T]) -> Reader[T]:
    """A mapping as a dataclass, whose annotated fields are the known keys."""

    def read(node: Node) -> T:
        readers = _readers(cls)  # type: ignore[arg-type]
        given = node.mapping
        for key, each in given.items():
            if key not in readers:
                raise each.wrong_key("unknown key", nearest(key, readers) or f"known here: {', '.join(readers)}")
        for field in fields(cls):  # type: ignore[arg-type]
            needed = field.default is MISSING and field.default_factory is MISSING
            if needed and field.name in readers and field.name not in given:
                raise node.wrong(f"the key {field.name!r} is missing")
        return cls(**{key: readers[key](each) for key, each in given.items()})

    return read


@cache
def _readers(cls: type[Any]) -> dict[str, Reader[Any]]:
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated}


def _within(node: Node, number: T, low: Any, high: Any) -> T:
    if not low <= number <= high:
        raise node.wrong(f"expected {low} to {high}, found {node.kind}")
    return number
