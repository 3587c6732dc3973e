"""Records of the commands on snippets (protocol.md#snippets)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import Any, NamedTuple

from reed.errors import Malformed
from reed.wire import strict_json, structs
from reed.wire.codes import MAGIC, VERSION, Flag
from reed.wire.common import parsed, unpack_status
from reed.wire.structs import (
    Bytes,
    clip,
    decode_text,
    exact,
    fill,
    head,
    nothing_left,
    pack_text,
    split,
    split_item,
    unpack_items,
    unpack_text,
)

_RESPONSE = int(Flag.RESPONSE)


class SnippetCreate(NamedTuple):
    snippet_type: str
    semantic_name: str  # may be empty
    content: Bytes  # a JSON object

    def pack(self) -> bytes:
        names = pack_text(self.snippet_type, 32), pack_text(self.semantic_name, 32)
        return fill(structs.SNIPPET_CREATE, *names, len(self.content)) + self.content

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetCreate:
        return cls(*cls.fields(payload))

    @staticmethod
    def fields(payload: Bytes) -> tuple[str, str, memoryview]:
        """Type, name and content; a tuple is made in a third of the time."""
        (kind, name, _), content = split(structs.SNIPPET_CREATE, payload, "SNIPPET_CREATE")
        return unpack_text(kind), unpack_text(name), content


class SnippetUpdate(NamedTuple):
    ref: str
    if_version: int  # 0: any
    patch: Bytes  # a JSON Merge Patch (RFC 7396)

    def pack(self) -> bytes:
        ref = pack_text(self.ref, 36)
        return fill(structs.SNIPPET_UPDATE, ref, self.if_version, len(self.patch)) + self.patch

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetUpdate:
        (ref, if_version, _), patch = split(structs.SNIPPET_UPDATE, payload, "SNIPPET_UPDATE")
        return cls(unpack_text(ref), if_version, patch)


class SnippetDelete(NamedTuple):
    ref: str
    cascade: bool

    def pack(self) -> bytes:
        return fill(structs.SNIPPET_DELETE, pack_text(self.ref, 36), self.cascade)

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetDelete:
        ref, cascade = exact(structs.SNIPPET_DELETE, payload, "SNIPPET_DELETE")
        if cascade > 1:
            raise Malformed(f"SNIPPET_DELETE: cascade is {cascade}, expected 0 or 1")
        return cls(unpack_text(ref), bool(cascade))


class SnippetRename(NamedTuple):
    ref: str
    semantic_name: str  # empty: removes the name

    def pack(self) -> bytes:
        return fill(structs.SNIPPET_RENAME, pack_text(self.ref, 36), pack_text(self.semantic_name, 32))

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetRename:
        ref, name = exact(structs.SNIPPET_RENAME, payload, "SNIPPET_RENAME")
        return cls(unpack_text(ref), unpack_text(name))


class SnippetWritten(NamedTuple):
    status: int
    snippet_id: str
    error: str = ""  # or a warning of SNIPPET_RESTORE

    @staticmethod
    def frame(command_id: int, status: int, snippet_id: str) -> bytes:
        """The whole response to a write that succeeded."""
        size = structs.SNIPPET_WRITTEN.size
        return structs.WRITTEN.pack(MAGIC, VERSION, command_id, _RESPONSE, 0, size, status, snippet_id.encode(), 0)

    def pack(self) -> bytes:
        text = clip(self.error) if self.error else b""
        snippet_id = pack_text(self.snippet_id, 36)
        return fill(structs.SNIPPET_WRITTEN, self.status, snippet_id, len(text)) + text

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetWritten:
        (status, snippet_id, _), text = split(structs.SNIPPET_WRITTEN, payload, "snippet written")
        return cls(status, unpack_text(snippet_id), decode_text(text, "error text"))


_KEYS = ("id", "type", "name", "version", "created_at", "updated_at")


class Record(NamedTuple):
    id: str
    snippet_type: str
    semantic_name: str
    version: int
    created_at: int  # Unix microseconds
    updated_at: int
    content: Bytes  # exactly the bytes that were stored

    @property
    def type(self) -> str:
        return self.snippet_type

    @property
    def name(self) -> str:
        return self.semantic_name

    def json(self) -> Any:
        """The content as a value."""
        return parsed(self.content, "content")

    def pack(self) -> bytes:
        return self.head() + self.content

    def head(self) -> bytes:
        """All but the content."""
        snippet_id, kind, name, version, created_at, updated_at, content = self
        texts = pack_text(snippet_id, 36), pack_text(kind, 32), pack_text(name, 32)
        return fill(structs.RECORD, *texts, version, created_at, updated_at, len(content))

    def json_fields(self, *, with_times: bool = True) -> dict[str, Any]:
        return dict(zip(_KEYS if with_times else _KEYS[:4], self, strict=False))

    def as_json(self, *, with_times: bool = True) -> bytes:
        """The content is copied byte for byte."""
        return strict_json.dumps(self.json_fields(with_times=with_times))[:-1] + b',"content":' + self.content + b"}"

    @classmethod
    def unpack_from(cls, payload: memoryview) -> tuple[Record, memoryview]:
        fields, content, rest = split_item(structs.RECORD, payload, "record")
        snippet_id, kind, name, version, created_at, updated_at, _ = fields
        texts = unpack_text(snippet_id), unpack_text(kind), unpack_text(name)
        return cls(*texts, version, created_at, updated_at, content), rest


class RestoreFlag(IntFlag):
    ACCEPT_UNFIT = 0x01  # content that does not fit its type is a warning
    OVERWRITE = 0x02  # replace a newer version, or a different snippet of the same version
    DRY_RUN = 0x04


_RESTORE_FLAGS = int(RestoreFlag.ACCEPT_UNFIT | RestoreFlag.OVERWRITE | RestoreFlag.DRY_RUN)


class SnippetRestore(NamedTuple):
    flags: int
    record: Record

    def pack(self) -> bytes:
        return fill(structs.FLAGS, self.flags) + self.record.pack()

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetRestore:
        (flags,) = head(structs.FLAGS, payload, "SNIPPET_RESTORE")
        if flags & ~_RESTORE_FLAGS:
            raise Malformed(f"SNIPPET_RESTORE: unknown flags 0x{flags & ~_RESTORE_FLAGS:02X}")
        record, rest = Record.unpack_from(memoryview(payload)[structs.FLAGS.size :])
        nothing_left(rest, "SNIPPET_RESTORE")
        return cls(flags, record)


class SnippetGot(NamedTuple):
    status: int
    record: Record

    def pack(self) -> bytes:
        return b"".join(self.parts())

    def parts(self) -> tuple[bytes, Bytes]:
        """Long content is not copied."""
        return fill(structs.STATUS, self.status) + self.record.head(), self.record.content

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetGot:
        status = unpack_status(payload)
        record, rest = Record.unpack_from(memoryview(payload)[structs.STATUS.size :])
        nothing_left(rest, "SNIPPET_GET")
        return cls(status, record)


class SnippetList(NamedTuple):
    snippet_type: str = ""  # empty: all
    after: str = ""  # the cursor of the previous page
    limit: int = 0  # 0: 100

    def pack(self) -> bytes:
        names = pack_text(self.snippet_type, 32), pack_text(self.after, 36)
        return fill(structs.SNIPPET_LIST, *names, self.limit)

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetList:
        kind, after, limit = exact(structs.SNIPPET_LIST, payload, "SNIPPET_LIST")
        return cls(unpack_text(kind), unpack_text(after), limit)


class SnippetFind(NamedTuple):
    snippet_type: str
    conditions: Bytes  # JSON: {field: value}
    after: str = ""
    limit: int = 0

    def pack(self) -> bytes:
        names = pack_text(self.snippet_type, 32), pack_text(self.after, 36)
        return fill(structs.SNIPPET_FIND, *names, self.limit, len(self.conditions)) + self.conditions

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetFind:
        (kind, after, limit, _), conditions = split(structs.SNIPPET_FIND, payload, "SNIPPET_FIND")
        return cls(unpack_text(kind), conditions, unpack_text(after), limit)


def conditions_of(given: Iterable[str]) -> bytes | None:
    """Conditions as people write them: FIELD=VALUE, where VALUE is JSON, else a string. None if there are none.

    ["draft=false", "path=about"]  ->  {"draft":false,"path":"about"}

    Raises Malformed.
    """
    found: dict[str, bytes] = {}
    for condition in given:
        field, equals, value = condition.partition("=")
        if not field or not equals:
            raise Malformed(f"expected FIELD=VALUE, found {condition!r}", hint="write FIELD=VALUE, such as draft=false")
        if field in found:
            raise Malformed(f"field {field} given twice", hint="all conditions must hold")
        found[field] = value.encode("utf-8", "surrogateescape")
        try:
            strict_json.loads(found[field])
        except Malformed:
            found[field] = strict_json.dumps(value)
    pairs = [strict_json.dumps(field) + b":" + value for field, value in found.items()]
    return b"{%b}" % b",".join(pairs) if pairs else None


class SnippetNames(NamedTuple):
    prefix: str
    limit: int

    def pack(self) -> bytes:
        return fill(structs.SNIPPET_NAMES, pack_text(self.prefix, 32), self.limit)

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetNames:
        prefix, limit = exact(structs.SNIPPET_NAMES, payload, "SNIPPET_NAMES")
        return cls(unpack_text(prefix), limit)


class SnippetPage(NamedTuple):
    status: int
    cursor: str  # `after` for the next page; empty at the end
    records: list[Record]

    def pack(self) -> bytes:
        return b"".join(self.parts())

    def parts(self) -> list[Bytes]:
        cursor = pack_text(self.cursor, 36)
        parts: list[Bytes] = [fill(structs.SNIPPET_PAGE, self.status, len(self.records), cursor)]
        for record in self.records:
            parts += record.head(), record.content
        return parts

    @classmethod
    def unpack(cls, payload: Bytes) -> SnippetPage:
        status, count, cursor = head(structs.SNIPPET_PAGE, payload, "SNIPPET_LIST")
        rest = memoryview(payload)[structs.SNIPPET_PAGE.size :]
        return cls(status, unpack_text(cursor), unpack_items(Record.unpack_from, count, rest, "SNIPPET_LIST"))
