"""Caches encoded responses of SNIPPET_GET by request bytes.

An entry is valid while the store's change counter stands still, and again once the store returns the same record.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from reed.core.calls import FastOrigin
from reed.counters import CommandCounters
from reed.loop.loop import Loop
from reed.store.base import Store
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.snippets import Record, SnippetGot
from reed.wire.structs import HEADER, Bytes

_MAX_CONTENT = 16 * 1024  # bytes; larger records are not cached
_MAX_SIZE = 4 * 1024 * 1024  # bytes of all entries; beyond it the cache is cleared
_REQUEST_BYTES = 8 * 1024  # looked up at a time
_RESPONSE_BYTES = 256 * 1024  # sent at a time

_HEADER_SIZE = HEADER.size
_COMMAND_AT = 5  # in a header
_GET = int(Command.SNIPPET_GET)
_PAYLOAD_LEN_AT = _HEADER_SIZE - 4
_payload_len = Struct("<I").unpack_from


class _Entry(NamedTuple):
    frame: bytes
    record: Record
    changes: int  # the store's change counter at that time


class ResponseCache:
    __slots__ = ("_counters", "_entries", "_loop", "_size", "_store")

    def __init__(self, store: Store, loop: Loop, counters: CommandCounters) -> None:
        self._store = store
        self._loop = loop
        self._counters = counters
        self._entries: dict[bytes, _Entry] = {}  # by request frame
        self._size = 0

    def take(self, origin: FastOrigin, data: memoryview) -> int:
        """Answer the leading requests in `data` whose responses are cached (Dispatcher.take)."""
        taken, loop = 0, self._loop
        while taken < len(data) and not origin.stream.queued:
            responses, size = self.lookup(origin.caller.commands, data[taken:], _RESPONSE_BYTES)
            if not responses:
                break
            sent = responses[0] if len(responses) == 1 else b"".join(responses)
            origin.stream.send_now(sent)
            taken += size
            now = loop.now()
            self._counters.from_cache(len(responses), now - loop.began, size, len(sent))
            if now >= loop.read_deadline:
                break
        return taken

    def lookup(self, commands: frozenset[int], data: memoryview, room: int) -> tuple[list[bytes], int]:
        """The cached responses to the leading requests in `data`, about `room` bytes, and the size of these requests.
        `commands`: those that the caller may use."""
        if len(data) < _HEADER_SIZE or data[_COMMAND_AT] != _GET or _GET not in commands:
            return [], 0
        responses: list[bytes] = []
        entries, changes = self._entries, self._store.changes
        requests = data[:_REQUEST_BYTES].tobytes()
        start, end = 0, len(requests)
        while room > 0 and start + _HEADER_SIZE <= end:
            stop = start + _HEADER_SIZE + _payload_len(requests, start + _PAYLOAD_LEN_AT)[0]
            entry = entries.get(requests[start:stop])
            if entry is None or entry.changes != changes:
                break
            responses.append(entry.frame)
            room -= len(entry.frame)
            start = stop
        return responses, start

    def snippet_got(self, payload: bytes, record: Record, changes: int) -> tuple[Bytes, ...]:
        """The response frame, cached if it is short. `changes`: the store's change counter before it was asked."""
        if len(record.content) > _MAX_CONTENT:
            return frames.in_parts(Command.SNIPPET_GET, *SnippetGot(200, record).parts(), flags=Flag.RESPONSE)
        request = frames.encode(Command.SNIPPET_GET, payload)
        entry = self._entries.get(request)
        if entry is not None and entry.record is record:
            self._entries[request] = entry._replace(changes=changes)
            return (entry.frame,)
        frame = frames.encode(Command.SNIPPET_GET, SnippetGot(200, record).pack(), Flag.RESPONSE)
        self._size += len(frame)
        if self._size > _MAX_SIZE:
            self._entries.clear()
            self._size = len(frame)
        self._entries[request] = _Entry(frame, record, changes)
        return (frame,)
