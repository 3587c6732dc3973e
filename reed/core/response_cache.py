"""Replies that were made before, found by the bytes of their request.

    request frame ──► found? the store has not changed since? may the caller? ──► response frame

Requests are the same bytes again and again: who asks for a hot snippet gets the frame that the one before got. One is
good while the store has not changed; after that, when the store gives the very same record.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from reed.store.base import Store
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.snippets import Record, SnippetGot
from reed.wire.structs import HEADER, Bytes

_LARGEST = 16 * 1024  # bytes of content; what is larger is made when it is asked for
_MOST = 4 * 1024 * 1024  # bytes of all

_LOOKED_AT = 8 * 1024  # bytes of requests, at a time: they are copied

_HEADER_SIZE = HEADER.size
_COMMAND_AT = 5  # in a header
_GET = int(Command.SNIPPET_GET)
_PAYLOAD_LEN_AT = _HEADER_SIZE - 4  # the last field of a header
_payload_len = Struct("<I").unpack_from


class _Reply(NamedTuple):
    frame: bytes
    command_id: int
    record: Record
    changes: int  # the store's number when this was the one to give


class ResponseCache:
    __slots__ = ("_found", "_size", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[bytes, _Reply] = {}  # by the whole request: what equals a sound frame is one
        self._size = 0

    def answers(self, commands: frozenset[int], data: memoryview, room: int) -> tuple[list[bytes], int]:
        """The response frames to the requests that `data` begins with, as long as they were made before and are among
        `commands`, until they have `room` bytes; and the size of these requests in bytes."""
        if len(data) < _HEADER_SIZE or data[_COMMAND_AT] != _GET:
            return [], 0  # no other request is prepared
        answers: list[bytes] = []
        found, changes = self._found, self._store.changes
        requests = data[:_LOOKED_AT].tobytes()
        start, end = 0, len(requests)
        while room > 0 and start + _HEADER_SIZE <= end:
            stop = start + _HEADER_SIZE + _payload_len(requests, start + _PAYLOAD_LEN_AT)[0]
            reply = found.get(requests[start:stop])
            if reply is None or reply.changes != changes or reply.command_id not in commands:
                break
            answers.append(reply.frame)
            room -= len(reply.frame)
            start = stop
        return answers, start

    def snippet_got(self, payload: bytes, record: Record) -> tuple[Bytes, ...]:
        """The frame that answers SNIPPET_GET of `payload` with what the store gave just now. A short one is kept for
        the next time, a long one comes in parts: it is not copied."""
        if len(record.content) > _LARGEST:
            return frames.in_parts(Command.SNIPPET_GET, *SnippetGot(200, record).parts(), flags=Flag.RESPONSE)
        request = frames.encode(Command.SNIPPET_GET, payload)
        reply = self._found.get(request)
        if reply is not None and reply.record is record:
            self._found[request] = reply._replace(changes=self._store.changes)
            return (reply.frame,)
        frame = frames.encode(Command.SNIPPET_GET, SnippetGot(200, record).pack(), Flag.RESPONSE)
        self._size += len(frame)
        if self._size > _MOST:
            self._found.clear()
            self._size = len(frame)
        self._found[request] = _Reply(frame, int(Command.SNIPPET_GET), record, self._store.changes)
        return (frame,)
