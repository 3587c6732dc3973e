"""The fast path of SNIPPET_CREATE: a short request goes to the store without a Frame, a dispatch and a decoded record.

    | header 12 | type 32 | name 32 | content_len 4 | content … |  ── take ──▶  Store.create ── COMMIT ──▶ response

Every condition below that does not hold sends the frame the usual way (Connection, Router, commands.content), where
filters, permissions, full connections and frames that are wrong are dealt with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from struct import Struct

from reed.core.calls import Call, FastOrigin
from reed.core.filters import Filters
from reed.core.plugin_endpoint import CoreContext
from reed.errors import CallError, Internal, Malformed
from reed.store import base
from reed.store.base import Store
from reed.wire.codes import MAGIC, VERSION, Command
from reed.wire.commands import WRITE_ERRORS
from reed.wire.snippets import SnippetWritten
from reed.wire.structs import HEADER, unpack_text

_CREATE = int(Command.SNIPPET_CREATE)
_REQUEST = Struct("<QI32s32sI")  # header, payload_len, type, name, content_len
_HEAD = int.from_bytes(HEADER.pack(MAGIC, VERSION, _CREATE, 0, 0, 0)[:8], "little")  # the header before payload_len
_CONTENT_AT = _REQUEST.size
_MAX_FRAME = 16 * 1024  # bytes; a long content takes so much time that the way to the store does not matter
_NO_NAME = bytes(32)


class CreateCall(Call):
    __slots__ = ()

    def created(self, snippet_id: str) -> None:
        self.reply_with(SnippetWritten.frame(_CREATE, 201, snippet_id))


class Creates:
    def __init__(
        self, context: CoreContext, store: Store, filters: Filters, on_exception: Callable[[BaseException], None]
    ) -> None:
        self._loop = context.loop
        self._store = store
        self._filters = filters
        self._on_exception = on_exception
        self._type_name = lru_cache(maxsize=64)(unpack_text)
        self._max_frame = min(_MAX_FRAME, HEADER.size + context.config.limits.payload)

    def take(self, origin: FastOrigin, data: memoryview) -> int:
        """Begin the CREATE that `data` is, if it is exactly one (FastPath)."""
        size = len(data)
        if not _CONTENT_AT <= size <= self._max_frame:
            return 0
        head, payload_len, raw_type, raw_name, content_len = _REQUEST.unpack_from(data)
        if head != _HEAD or payload_len != size - HEADER.size or content_len != size - _CONTENT_AT:
            return 0  # flags; more than a frame or less
        if origin.in_flight.jobs or not self._filters.idle or _CREATE not in origin.caller.commands:
            return 0
        try:
            type_name = self._type_name(raw_type)
            name = "" if raw_name == _NO_NAME else unpack_text(raw_name)
        except Malformed:
            return 0
        call = CreateCall(origin, _CREATE, 0, payload_len, self._loop.began)
        origin.in_flight.begin(call)
        failed = partial(refuse, call)
        try:
            self._store.create(type_name, name, data[_CONTENT_AT:].tobytes(), call.created, failed, origin.origin)
        except CallError as error:
            refuse(call, error)
        except Exception as bug:  # noqa: BLE001
            self._on_exception(bug)
            if not call.response:
                call.fail(Internal.of(bug))
        return size


def written(call: Call, status: int) -> base.Done[str]:
    return lambda snippet_id: call.reply_with(SnippetWritten.frame(call.command_id, status, snippet_id))


def refuse(call: Call, error: CallError) -> None:
    if error.status in WRITE_ERRORS and call.expects_reply:
        call.reply(SnippetWritten(error.status, "", str(error)).pack())
    else:
        call.fail(error)
