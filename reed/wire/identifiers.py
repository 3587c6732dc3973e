"""What names may look like (protocol.md#fields)."""

from __future__ import annotations

import re

from reed.errors import Malformed

SLUG = r"[a-z][a-z0-9-]{0,30}"  # plugins and types
_PATTERNS = {
    "plugin name": re.compile(SLUG),
    "type name": re.compile(SLUG),
    "semantic name": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,30}"),
}
_SHAPES = {
    "plugin name": "a-z, then a-z 0-9 -, at most 31 characters",
    "type name": "a-z, then a-z 0-9 -, at most 31 characters",
    "semantic name": "A-Z a-z 0-9 _, then also . / -, at most 31 characters",
}


def is_type_name(text: str) -> bool:
    return _PATTERNS["type name"].fullmatch(text) is not None


def is_semantic_name(text: str) -> bool:
    return _PATTERNS["semantic name"].fullmatch(text) is not None


def check(kind: str, text: str) -> str:
    """Return `text`, or raise Malformed. `kind` is a key of _PATTERNS."""
    if _PATTERNS[kind].fullmatch(text) is None:
        raise Malformed(f"{text!r} is not a {kind}", hint=f"expected {_SHAPES[kind]}")
    return text
