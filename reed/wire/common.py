"""Responses that several commands share: an error, a status, JSON.

JSON stays bytes. A tail (the variable part of a payload) is a view, valid as long as `frames` says.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from reed.errors import CallError, Malformed
from reed.wire import structs
from reed.wire.structs import Bytes, clip, decode_text, fill, split


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
    """The error text is always empty."""

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
        """Long JSON is not copied."""
        return fill(structs.JSON_RESPONSE, self.status, len(self.json)), self.json

    @classmethod
    def unpack(cls, payload: Bytes) -> JsonResponse:
        (status, _), text = split(structs.JSON_RESPONSE, payload, "response")
        return cls(status, text)


def parsed(text: Bytes, what: str) -> Any:
    """The value of JSON text. Raises Malformed, with the beginning of a text that is none."""
    try:
        return json.loads(bytes(text))
    except ValueError as error:
        raise Malformed(f"{what} is not JSON: {error}: {bytes(text[:40])!r}") from None


def unpack_status(payload: Bytes) -> int:
    if len(payload) < structs.STATUS.size:
        raise Malformed(f"response: {len(payload)} bytes, expected a status")
    return int(structs.STATUS.unpack_from(payload)[0])
