"""Derived from reed/client/calls.py by tests/client/derive.py: change that, and run this with --write."""

from __future__ import annotations

import json
from typing import Any

from reed.wire.codes import Command
from reed.wire.commands import record_of

Json = Any


class Calls:
    async def call(self, command: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """Send a packed request; returns the payload of its response."""
        raise NotImplementedError

    async def _assume(self, payload: bytes) -> bytes:
        raise NotImplementedError

    async def _request(self, command: Command, *fields: Any, flags: int = 0) -> Any:
        """Send the command's request record; returns its response record.

        Modules of records are imported on first use, since importing all takes longer than a call.
        """
        payload = record_of(command.request)(*fields).pack() if command.request else b""
        answer = await self.call(command, payload, flags)
        return record_of(command.response).unpack(answer) if command.response else None

    async def _write(self, command: Command, *fields: Any) -> str:
        return str((await self._request(command, *fields)).snippet_id)

    async def _json(self, command: Command, *fields: Any) -> Json:
        return json.loads(bytes((await self._request(command, *fields)).json))

    async def _json_list(self, command: Command, *fields: Any) -> list[Any]:
        value: list[Any] = await self._json(command, *fields)
        return value

    async def _json_object(self, command: Command, *fields: Any) -> dict[str, Json]:
        value: dict[str, Json] = await self._json(command, *fields)
        return value
