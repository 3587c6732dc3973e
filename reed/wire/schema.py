"""Records of the commands on bonds (protocol.md#bonds)."""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import Malformed
from reed.wire import structs
from reed.wire.structs import Bytes, clip, decode_text, encode_text, exact, fill, pack_text, split, unpack_text


class SchemaBond(NamedTuple):
    parent: str
    child: str
    weight: int = 0
    path: str = ""

    def pack(self) -> bytes:
        path = encode_text(self.path)
        refs = pack_text(self.parent, 36), pack_text(self.child, 36)
        if len(path) > 65535:
            raise Malformed(f"a path of {len(path)} bytes", hint="at most 65535")
        return fill(structs.SCHEMA_BOND, *refs, self.weight, len(path)) + path

    @classmethod
    def unpack(cls, payload: Bytes) -> SchemaBond:
        (parent, child, weight, _), path = split(structs.SCHEMA_BOND, payload, "SCHEMA_BOND")
        return cls(unpack_text(parent), unpack_text(child), weight, decode_text(path, "path"))


class SchemaBonded(NamedTuple):
    status: int
    bond_id: str
    error: str = ""

    def pack(self) -> bytes:
        text = clip(self.error)
        return fill(structs.BONDED, self.status, pack_text(self.bond_id, 36), len(text)) + text

    @classmethod
    def unpack(cls, payload: Bytes) -> SchemaBonded:
        (status, bond_id, _), text = split(structs.BONDED, payload, "SCHEMA_BOND")
        return cls(status, unpack_text(bond_id), decode_text(text, "error text"))


class SchemaUnbond(NamedTuple):
    parent: str
    child: str

    def pack(self) -> bytes:
        return fill(structs.SCHEMA_UNBOND, pack_text(self.parent, 36), pack_text(self.child, 36))

    @classmethod
    def unpack(cls, payload: Bytes) -> SchemaUnbond:
        parent, child = exact(structs.SCHEMA_UNBOND, payload, "SCHEMA_UNBOND")
        return cls(unpack_text(parent), unpack_text(child))


class SchemaTree(NamedTuple):
    root: str = ""  # empty: all roots
    depth: int = 0  # levels; 0: all

    def pack(self) -> bytes:
        return fill(structs.SCHEMA_TREE, pack_text(self.root, 36), self.depth)

    @classmethod
    def unpack(cls, payload: Bytes) -> SchemaTree:
        root, depth = exact(structs.SCHEMA_TREE, payload, "SCHEMA_TREE")
        return cls(unpack_text(root), depth)
