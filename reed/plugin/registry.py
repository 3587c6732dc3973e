"""Types of snippets: `reed.registry`."""

from __future__ import annotations

from typing import Any

from reed.plugin import writes
from reed.plugin.services import ask, ask_json, encode
from reed.plugin.writes import Json, written


class Registry:
    """Every method raises Error."""

    def define(self, name: str, definition: Json) -> bool:
        """True for a new type, False for a redefined one."""
        return bool(written(writes.define(name, definition))[0])

    def delete(self, name: str) -> bool:
        """True. Error 409 while the type has snippets."""
        return bool(written(writes.delete_type(name))[0])

    def get(self, name: str) -> dict[str, Any]:
        """The definition."""
        return dict(ask_json("registry.get", encode([name])))

    def list(self) -> dict[str, dict[str, Any]]:
        """All definitions by type name."""
        return dict(ask_json("registry.list"))

    def lines(self) -> tuple[bytes, int]:
        """All types in the format of `reed export`, and their number."""
        text = ask("registry.lines") or b""
        return text, text.count(b"\n")
