"""Records of SNIPPET_WATCH (protocol.md#watching).

client ── SnippetWatch ──▶ core ── SnippetChanges, SnippetChanges, … ──▶ client     until one of them closes
"""

from __future__ import annotations

from typing import Any, NamedTuple

from reed.errors import Malformed
from reed.wire import structs
from reed.wire.structs import Bytes, fill, head, pack_text, unpack_items, unpack_text

MAX_TYPES = 64  # of a request

CREATED, UPDATED, DELETED = "snippet.created", "snippet.updated", "snippet.deleted"
DEFINED, UNDEFINED = "type.defined", "type.deleted"
BONDED, UNBONDED = "bonded", "unbonded"
KINDS = (CREATED, UPDATED, DELETED, DEFINED, UNDEFINED, BONDED, UNBONDED)


class SnippetWatch(NamedTuple):
    cursor: str = ""  # of the last change that the watcher knows; "": only changes from now on
    types: tuple[str, ...] = ()  # of snippets; empty: all

    def pack(self) -> bytes:
        names = b"".join(pack_text(name, structs.NAME.size) for name in self.types)
        return fill(structs.SNIPPET_WATCH, pack_text(self.cursor, 32), len(self.types)) + names

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetWatch:
        cursor, count = head(structs.SNIPPET_WATCH, payload, "SNIPPET_WATCH")
        if count > MAX_TYPES:
            raise Malformed(f"SNIPPET_WATCH: {count} types", hint=f"at most {MAX_TYPES}, or none for all")
        rest = memoryview(payload)[structs.SNIPPET_WATCH.size :]
        return cls(unpack_text(cursor), tuple(unpack_items(_unpack_name, count, rest, "SNIPPET_WATCH")))


def _unpack_name(payload: memoryview) -> tuple[str, memoryview]:
    (name,) = head(structs.NAME, payload, "SNIPPET_WATCH")
    return unpack_text(name), payload[structs.NAME.size :]


class Change(NamedTuple):
    """What a committed write has changed, without the content."""

    kind: str  # of KINDS; a later version may add more
    id: str  # of the snippet; of a bond: its parent's; "" for a type
    snippet_type: str  # of a type: its name
    semantic_name: str
    version: int  # of the snippet after the change, a deleted one's last; else 0
    at: int  # Unix microseconds
    made_by: str  # the plugin that wrote it; "" for a person's program
    child: str  # of a bond: the child's id
    cursor: str  # the changes after this one follow it

    @property
    def type(self) -> str:
        return self.snippet_type

    @property
    def name(self) -> str:
        return self.semantic_name

    def json_fields(self) -> dict[str, Any]:
        """{"cursor","kind","id","type","name","version","at","made_by"}, and "child" of a bond."""
        found = {
            "cursor": self.cursor,
            "kind": self.kind,
            "id": self.id,
            "type": self.snippet_type,
            "name": self.semantic_name,
            "version": self.version,
            "at": self.at,
            "made_by": self.made_by,
        }
        return {**found, "child": self.child} if self.child else found

    def pack(self) -> bytes:
        kind, snippet_id, type_name, name, version, at, made_by, child, cursor = self
        texts = pack_text(kind, 16), pack_text(snippet_id, 36), pack_text(type_name, 32), pack_text(name, 32)
        last = pack_text(made_by, 32), pack_text(child, 36), pack_text(cursor, 32)
        return fill(structs.CHANGE, *texts, version, at, *last)

    @classmethod
    def unpack_from(cls, payload: memoryview) -> tuple[Change, memoryview]:
        kind, snippet_id, type_name, name, version, at, made_by, child, cursor = head(structs.CHANGE, payload, "change")
        texts = unpack_text(kind), unpack_text(snippet_id), unpack_text(type_name), unpack_text(name)
        last = unpack_text(made_by), unpack_text(child), unpack_text(cursor)
        return cls(*texts, version, at, *last), payload[structs.CHANGE.size :]


class SnippetChanges(NamedTuple):
    status: int
    cursor: str  # everything up to here was sent, but for what the watcher did not ask for or may not see
    changes: list[Change]  # in the order of their commits

    def pack(self) -> bytes:
        parts = [fill(structs.SNIPPET_CHANGES, self.status, len(self.changes), pack_text(self.cursor, 32))]
        return b"".join([*parts, *(change.pack() for change in self.changes)])

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetChanges:
        status, count, cursor = head(structs.SNIPPET_CHANGES, payload, "SNIPPET_WATCH")
        rest = memoryview(payload)[structs.SNIPPET_CHANGES.size :]
        return cls(status, unpack_text(cursor), unpack_items(Change.unpack_from, count, rest, "SNIPPET_WATCH"))
