"""Records of the commands on types (protocol.md#types)."""

from __future__ import annotations

from typing import Any, NamedTuple

from reed.wire import structs
from reed.wire.common import parsed, unpack_status
from reed.wire.structs import (
    Bytes,
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


class RegistryDefine(NamedTuple):
    type_name: str
    definition: Bytes  # JSON

    def pack(self) -> bytes:
        name = pack_text(self.type_name, 32)
        return fill(structs.REGISTRY_DEFINE, name, len(self.definition)) + self.definition

    @classmethod
    def unpack(cls, payload: Bytes) -> RegistryDefine:
        (name, _), definition = split(structs.REGISTRY_DEFINE, payload, "REGISTRY_DEFINE")
        return cls(unpack_text(name), definition)


class RegistryCheck(NamedTuple):
    type_name: str
    after: str = ""  # the cursor of the previous response
    limit: int = 0  # snippets to check; 0: 1000, the maximum

    def pack(self) -> bytes:
        return fill(structs.REGISTRY_CHECK, pack_text(self.type_name, 32), pack_text(self.after, 36), self.limit)

    @classmethod
    def unpack(cls, payload: Bytes) -> RegistryCheck:
        name, after, limit = exact(structs.REGISTRY_CHECK, payload, "REGISTRY_CHECK")
        return cls(unpack_text(name), unpack_text(after), limit)


class Definition(NamedTuple):
    type_name: str
    definition: Bytes

    @property
    def name(self) -> str:
        return self.type_name

    def json(self) -> Any:
        """The definition as a value."""
        return parsed(self.definition, "definition")

    def pack(self) -> bytes:
        name = pack_text(self.type_name, 32)
        return fill(structs.DEFINITION, name, len(self.definition)) + self.definition

    @classmethod
    def unpack_from(cls, payload: memoryview) -> tuple[Definition, memoryview]:
        (name, _), definition, rest = split_item(structs.DEFINITION, payload, "definition")
        return cls(unpack_text(name), definition), rest


class RegistryGot(NamedTuple):
    status: int
    definition: Definition

    def pack(self) -> bytes:
        return fill(structs.STATUS, self.status) + self.definition.pack()

    @classmethod
    def unpack(cls, payload: Bytes) -> RegistryGot:
        status = unpack_status(payload)
        definition, rest = Definition.unpack_from(memoryview(payload)[structs.STATUS.size :])
        nothing_left(rest, "REGISTRY_GET")
        return cls(status, definition)


class RegistryPage(NamedTuple):
    status: int
    definitions: list[Definition]

    def pack(self) -> bytes:
        fixed = fill(structs.COUNT, self.status, len(self.definitions))
        return fixed + b"".join(definition.pack() for definition in self.definitions)

    @classmethod
    def unpack(cls, payload: Bytes) -> RegistryPage:
        status, count = head(structs.COUNT, payload, "REGISTRY_LIST")
        rest = memoryview(payload)[structs.COUNT.size :]
        return cls(status, unpack_items(Definition.unpack_from, count, rest, "REGISTRY_LIST"))
