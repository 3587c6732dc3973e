"""The writes of one batch of a plugin (sdk/bulk.lua; lua-api.md#many-writes).

    begin ── add, for each write: its frame is appended ── send: all frames in one go, then the answers, in their order

A batch that is not sent is dropped by the next `begin`. Its frames lie outside of Lua's heap, so they have a limit of
their own, which is that of the heap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reed.errors import CallError, Malformed, TooLarge
from reed.lua.sandbox import failure_fields
from reed.lua.services import WRITES, CoreServices
from reed.wire import frames, strict_json
from reed.wire.structs import Bytes

RequestAll = Callable[[Bytes, Sequence[int]], list[bytes | CallError]]


class Batch:
    max_bytes = 0

    def __init__(self, services: CoreServices, request_all: RequestAll) -> None:
        self._services = services
        self._request_all = request_all
        self._frames = bytearray()
        self._writes: list[bytes] = []  # their names in the SDK

    def table(self) -> dict[bytes, Callable[..., bytes | None]]:
        return {b"batch.begin": self.begin, b"batch.add": self.add, b"batch.send": self.send}

    def begin(self) -> None:
        self._frames, self._writes = bytearray(), []

    def add(self, name: bytes, *arguments: bytes) -> None:
        """Raises Malformed, TooLarge."""
        if name not in WRITES:
            raise Malformed(f"{name.decode(errors='replace')} is no write")
        command, payload = self._services.pack_write(name, *arguments)
        if len(self._frames) + len(payload) > self.max_bytes:
            raise TooLarge(
                f"{len(self._writes) + 1} writes of one batch take more than {self.max_bytes} bytes",
                hint="use several batches, or raise limits.memory in plugin.yaml",
            )
        self._frames += frames.encode(command, payload)
        self._writes.append(name)

    def send(self) -> bytes:
        """A JSON array: for each write [its result] or {command, status, code, message}."""
        names, encoded = self._writes, self._frames
        self.begin()
        answers = self._request_all(encoded, [int(WRITES[name].command) for name in names])
        return b"[%b]" % b",".join(map(self._result, names, answers))

    def _result(self, name: bytes, answer: bytes | CallError) -> bytes:
        try:
            if isinstance(answer, CallError):
                raise answer
            return b"[%b]" % self._services.unpack_write(name, answer)
        except CallError as error:
            return strict_json.dumps({"command": name.decode(), **failure_fields(error)})
