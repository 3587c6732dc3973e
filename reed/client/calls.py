"""What every method of a client does: pack a request record, call, unpack the response record."""

from __future__ import annotations

import json
from typing import Any

from reed.wire.codes import Command
from reed.wire.commands import record_of

Json = Any


class Calls:
    def call(self, command: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """Send a packed request; returns the payload of its response."""
        raise NotImplementedError

    def _assume(self, payload: bytes) -> bytes:
        raise NotImplementedError

    def _request(self, command: Command, *fields: Any, flags: int = 0) -> Any:
        """Send the command's request record; returns its response record.

        Modules of records are imported on first use, since importing all takes longer than a call.
        """
        payload = record_of(command.request)(*fields).pack() if command.request else b""
        answer = self.call(command, payload, flags)
        return record_of(command.response).unpack(answer) if command.response else None

    def _write(self, command: Command, *fields: Any) -> str:
        return str(self._request(command, *fields).snippet_id)

    def _json(self, command: Command, *fields: Any) -> Json:
        return json.loads(bytes(self._request(command, *fields).json))

    def _json_list(self, command: Command, *fields: Any) -> list[Any]:
        value: list[Any] = self._json(command, *fields)
        return value

    def _json_object(self, command: Command, *fields: Any) -> dict[str, Json]:
        value: dict[str, Json] = self._json(command, *fields)
        return value
