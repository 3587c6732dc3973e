"""Payloads that several commands share: signals, errors, a status, a name, a ref.

This module, `snippets`, `schema`, `registry`, `search` and `plugins` have one record for each payload:

    record.pack() ──► bytes ──► Record.unpack(payload), or Malformed

Text fields are `str`; JSON stays bytes. A tail (the variable part at the end) is a view of the payload, valid as long
as `frames` says.
"""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import CallError, Malformed
from reed.wire import structs
from reed.wire.structs import Bytes, clip, decode_text, exact, fill, pack_text, split, unpack_text


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


class ErrorResponse(NamedTuple):
    status: int
    error_code: int
    message: str

    def pack(self) -> bytes:
        text = clip(self.message)
        return fill(structs.ERROR_RESPONSE, self.status, self.error_code, len(text)) + text

    @classmethod
    def unpack(cls, payload: Bytes) -> ErrorResponse:
        (status, code, _), text = split(structs.ERROR_RESPONSE, payload, "error response")
        return cls(status, code, decode_text(text, "error text"))

    @classmethod
    def of(cls, error: CallError) -> ErrorResponse:
        return cls(error.status, error.error_code, str(error))


class Done(NamedTuple):
    """A status and an error text, which is always empty."""

    status: int
    error: str = ""

    def pack(self) -> bytes:
        text = clip(self.error)
        return fill(structs.UNBONDED, self.status, len(text)) + text

    @classmethod
    def unpack(cls, payload: Bytes) -> Done:
        (status, _), text = split(structs.UNBONDED, payload, "response")
        return cls(status, decode_text(text, "error text"))


class JsonResponse(NamedTuple):
    status: int
    json: Bytes

    def pack(self) -> bytes:
        return b"".join(self.parts())

    def parts(self) -> tuple[Bytes, Bytes]:
        """The payload in parts, because long JSON is not worth copying."""
        return fill(structs.JSON_RESPONSE, self.status, len(self.json)), self.json

    @classmethod
    def unpack(cls, payload: Bytes) -> JsonResponse:
        (status, _), text = split(structs.JSON_RESPONSE, payload, "response")
        return cls(status, text)


class Name(NamedTuple):
    """A request that is only the name of a type or a plugin; empty: all plugins."""

    name: str

    def pack(self) -> bytes:
        return pack_text(self.name, 32)

    @classmethod
    def unpack(cls, payload: Bytes) -> Name:
        return cls(unpack_text(exact(structs.NAME, payload, "name")[0]))


class Ref(NamedTuple):
    """A request that is only a ref; empty: all snippets."""

    ref: str

    def pack(self) -> bytes:
        return pack_text(self.ref, 36)

    @classmethod
    def unpack(cls, payload: Bytes) -> Ref:
        return cls(unpack_text(exact(structs.REF, payload, "ref")[0]))


def unpack_status(payload: Bytes) -> int:
    """The HTTP status that opens every response payload."""
    if len(payload) < structs.STATUS.size:
        raise Malformed(f"response: {len(payload)} bytes, expected a status")
    return int(structs.STATUS.unpack_from(payload)[0])
