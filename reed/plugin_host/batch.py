"""The writes of one batch of a plugin (lua-api.md#many-writes).

    begin ── add, for each write: its request is kept ── send: all in one go, then the answers, in their order

A batch that is not sent is dropped by the next `begin`. The requests lie outside of the plugin's heap, so
they have a limit of their own, which is that of the heap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reed.errors import CallError, Malformed, TooLarge
from reed.plugin_host.runtime import failure_fields
from reed.plugin_host.services import WRITES, CoreServices
from reed.wire import strict_json

RequestAll = Callable[[Sequence[tuple[int, bytes]]], list[bytes | CallError]]  # command and payload of each request


class Batch:
    max_bytes = 0

    def __init__(self, services: CoreServices, request_all: RequestAll) -> None:
        self._services = services
        self._request_all = request_all
        self.begin()

    def table(self) -> dict[bytes, Callable[..., bytes | None]]:
        return {b"batch.begin": self.begin, b"batch.add": self.add, b"batch.send": self.send}

    def begin(self) -> None:
        self._names: list[bytes] = []  # of the writes, in the SDK
        self._requests: list[tuple[int, bytes]] = []
        self._bytes = 0

    def add(self, name: bytes, *arguments: bytes) -> None:
        """Raises Malformed, TooLarge."""
        if name not in WRITES:
            raise Malformed(f"{name.decode(errors='replace')} is no write")
        command, payload = self._services.pack_write(name, *arguments)
        self._bytes += len(payload)
        if self._bytes > self.max_bytes:
            raise TooLarge(
                f"{len(self._names) + 1} writes of one batch take more than {self.max_bytes} bytes",
                hint="use several batches, or raise limits.memory in plugin.yaml",
            )
        self._names.append(name)
        self._requests.append((command, payload))

    def send(self) -> bytes:
        """A JSON array: for each write [its result] or {command, status, code, message}."""
        names, requests = self._names, self._requests
        self.begin()
        answers = self._request_all(requests)
        return b"[%b]" % b",".join(map(self._result, names, answers))

    def _result(self, name: bytes, answer: bytes | CallError) -> bytes:
        try:
            if isinstance(answer, CallError):
                raise answer
            return b"[%b]" % self._services.unpack_write(name, answer)
        except CallError as error:
            return strict_json.dumps({"command": name.decode(), **failure_fields(error)})
