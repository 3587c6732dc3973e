"""Requests that several commands share, signals, and who asks. `common` must stay small for the command line."""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import Malformed
from reed.wire import structs
from reed.wire.structs import Bytes, decode_text, encode_text, exact, fill, pack_text, split, unpack_text

MAX_USER = 64  # bytes


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


class ConnectionAssume(NamedTuple):
    user: str  # 1 to MAX_USER bytes of printable text, not beginning or ending with a space: it stands in the log
    group: str

    def pack(self) -> bytes:
        raw = encode_text(_checked_user(self.user))
        return fill(structs.CONNECTION_ASSUME, pack_text(self.group, 32), len(raw)) + raw

    @classmethod
    def unpack(cls, payload: Bytes) -> ConnectionAssume:
        (group, _), user = split(structs.CONNECTION_ASSUME, payload, "CONNECTION_ASSUME")
        return cls(_checked_user(decode_text(user, "user")), unpack_text(group))


def _checked_user(user: str) -> str:
    if not user or user != user.strip() or not user.isprintable() or len(encode_text(user)) > MAX_USER:
        hint = f"1 to {MAX_USER} bytes of printable text without spaces around it"
        raise Malformed(f"{user[:MAX_USER]!r} is no name of a user", hint=hint)
    return user
