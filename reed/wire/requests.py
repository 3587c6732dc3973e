"""Requests that several commands share, and signals. `common` must stay small for the command line."""

from __future__ import annotations

from typing import NamedTuple

from reed.wire import structs
from reed.wire.structs import Bytes, exact, fill, pack_text, split, unpack_text


class Name(NamedTuple):
    """A type or a plugin; empty: all plugins."""

    name: str

    def pack(self) -> bytes:
        return pack_text(self.name, 32)

    @classmethod
    def unpack(cls, payload: Bytes) -> Name:
        return cls(unpack_text(exact(structs.NAME, payload, "name")[0]))


class Ref(NamedTuple):
    """Empty: all snippets."""

    ref: str

    def pack(self) -> bytes:
        return pack_text(self.ref, 36)

    @classmethod
    def unpack(cls, payload: Bytes) -> Ref:
        return cls(unpack_text(exact(structs.REF, payload, "ref")[0]))


class SignalMessage(NamedTuple):
    signal_type: int
    timestamp: int  # Unix microseconds
    plugin_name: str  # source, or target
    data: Bytes = b""

    def pack(self) -> bytes:
        name = pack_text(self.plugin_name, 32)
        fixed = fill(structs.SIGNAL_MESSAGE, self.signal_type, self.timestamp, name, len(self.data))
        return fixed + self.data

    @classmethod
    def unpack(cls, payload: Bytes) -> SignalMessage:
        (signal_type, timestamp, name, _), data = split(structs.SIGNAL_MESSAGE, payload, "signal")
        return cls(signal_type, timestamp, unpack_text(name), data)
