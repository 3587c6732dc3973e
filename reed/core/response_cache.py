"""Caches encoded responses of SNIPPET_GET by request bytes.

    _entries  request ──▶ response and its record     until there are too many
    _current  request ──▶ response                    until the store's change counter moves

An entry is current again once the store returns the same record.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from reed.core.calls import FastOrigin
from reed.counters import CommandCounters
from reed.loop.loop import Loop
from reed.store.base import Store
from reed.wire import frames, structs
from reed.wire.codes import Command, Flag
from reed.wire.snippets import Record, SnippetGot
from reed.wire.structs import HEADER, Bytes

_MAX_CONTENT = 16 * 1024  # bytes; larger records are not cached
_MAX_SIZE = 4 * 1024 * 1024  # bytes of all entries; beyond it the cache is cleared
_GET = int(Command.SNIPPET_GET)
_REQUEST_SIZE = HEADER.size + structs.REF.size  # bytes; of each, the header included
_MOST_BYTES = 170 * _REQUEST_SIZE  # of requests, looked up at a time
_RESPONSE_BYTES = 256 * 1024  # sent at a time
_each_request = Struct(f"{_REQUEST_SIZE}s").iter_unpack


class _Entry(NamedTuple):
    frame: bytes
    record: Record


class ResponseCache:
    __slots__ = ("_changes", "_counters", "_current", "_entries", "_loop", "_size", "_store")

    def __init__(self, store: Store, loop: Loop, counters: CommandCounters) -> None:
        self._store = store
        self._loop = loop
        self._counters = counters
        self._entries: dict[bytes, _Entry] = {}  # by request frame
        self._size = 0
        self._current: dict[bytes, bytes] = {}  # request frame -> response frame
        self._changes = 0  # the store's change counter that `_current` belongs to

    def take(self, origin: FastOrigin, data: memoryview) -> int:
        """Answer the leading requests in `data` whose responses are cached (FastPath)."""
        if _GET not in origin.caller.commands:
            return 0
        if self._changes != self._store.changes:
            self._forget_current()
        if len(data) != _REQUEST_SIZE:
            return self._take_many(origin, data)
        frame = self._current.get(data.tobytes())
        if frame is None:
            return 0
        origin.stream.send_now(frame)
        now, began = self._loop.now, self._loop.began
        self._counters.from_cache(1, now() - began, _REQUEST_SIZE, len(frame))
        return _REQUEST_SIZE

    def _take_many(self, origin: FastOrigin, data: memoryview) -> int:
        taken, loop = 0, self._loop
        while found := self._lookup(data[taken : taken + _MOST_BYTES]):
            responses = b"".join(found)
            origin.stream.send_now(responses)
            size = len(found) * _REQUEST_SIZE
            self._counters.from_cache(len(found), loop.now() - loop.began, size, len(responses))
            taken += size
            if taken == len(data) or origin.stream.queued or loop.over_budget():
                break
        return taken

    def _lookup(self, data: memoryview) -> list[bytes]:
        """The responses to its leading requests, about _RESPONSE_BYTES."""
        found: list[bytes] = []
        current, room = self._current, _RESPONSE_BYTES
        for (request,) in _each_request(data[: len(data) - len(data) % _REQUEST_SIZE]):
            frame = current.get(request)
            if frame is None or room <= 0:
                break
            found.append(frame)
            room -= len(frame)
        return found

    def snippet_got(self, payload: bytes, record: Record, changes: int) -> tuple[Bytes, ...]:
        """The response frame, cached if it is short. `changes`: the store's change counter before it was asked."""
        if len(record.content) > _MAX_CONTENT:
            return frames.in_parts(_GET, *SnippetGot(200, record).parts(), flags=Flag.RESPONSE)
        request = frames.encode(_GET, payload)
        entry = self._entries.get(request)
        if entry is None or entry.record is not record:
            frame = frames.encode(_GET, SnippetGot(200, record).pack(), Flag.RESPONSE)
            self._size += len(frame)
            if self._size > _MAX_SIZE:
                self._entries.clear()
                self._current.clear()
                self._size = len(frame)
            entry = self._entries[request] = _Entry(frame, record)
        if self._changes != self._store.changes:
            self._forget_current()
        if changes == self._changes:
            self._current[request] = entry.frame
        return (entry.frame,)

    def _forget_current(self) -> None:
        self._current.clear()
        self._changes = self._store.changes
