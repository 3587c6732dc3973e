"""Changes as they are committed, on a connection of their own (protocol.md#watching).

watching ── the core closes or restarts ──▶ reconnect=True: connects again, and goes on from the cursor
   │                                        reconnect=False: ConnectionEnded, Restarting
   ├── CursorTooOld, PermissionDenied ──▶ raised; the watch has ended
   └── close()
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from reed.client.connection import ClientConnection, NoAnswer
from reed.errors import CoreNotRunning, ReedError, Restarting, SlowReader
from reed.wire.codes import Command
from reed.wire.watch import Change, SnippetChanges, SnippetWatch

if TYPE_CHECKING:
    from types import TracebackType

RECONNECT_SECONDS = 30.0  # without a core

Begin = Callable[[bytes], tuple[ClientConnection, bytes]]  # the payload of the request; that of the response
_FIRST_WAIT, _LAST_WAIT = 0.02, 0.5
_RECONNECTS_AFTER = (NoAnswer, Restarting, SlowReader, CoreNotRunning)


class Watch(Iterator[Change]):
    """Iterate over it: each step waits for the next change. `cursor` is where to go on."""

    def __init__(
        self,
        begin: Begin,
        types: Iterable[str] = (),
        after: str = "",
        *,
        reconnect: bool = False,
    ) -> None:
        """Raises what `Client.watch` names. `begin` makes a connection without a timeout, and the request on it."""
        self._begin = begin
        self._types = (types,) if isinstance(types, str) else tuple(types)
        self._reconnect = reconnect
        self._cursor = after
        self._received = ""  # the cursor of the last response
        self._changes: deque[Change] = deque()
        self._connection: ClientConnection | None = None
        self._is_closed = False
        self._take(self._connect())

    @property
    def cursor(self) -> str:
        """Of the last change that was returned, or later, if what followed was not asked for."""
        return self._cursor

    def close(self) -> None:
        """The iteration ends. From another thread it takes effect with the next change."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        while not self._changes:
            if self._is_closed:
                raise StopIteration
            self._take(self._next_response())
        change = self._changes.popleft()
        self._cursor = change.cursor if self._changes else self._received
        return change

    def _take(self, payload: bytes) -> None:
        _, self._received, changes = SnippetChanges.unpack(payload)
        self._changes.extend(changes)
        if not changes:
            self._cursor = self._received

    def _next_response(self) -> bytes:
        try:
            if self._connection is None:
                raise NoAnswer("the watch has no connection")
            return self._connection.next_response(Command.SNIPPET_WATCH)
        except ReedError as error:
            if not (self._reconnect and isinstance(error, _RECONNECTS_AFTER)):
                self.close()
                raise
        return self._connect_again()

    def _connect_again(self) -> bytes:
        """Raises the last error if no core answers for RECONNECT_SECONDS, or if it refuses the cursor."""
        until, wait = time.monotonic() + RECONNECT_SECONDS, _FIRST_WAIT
        while True:
            try:
                return self._connect()
            except _RECONNECTS_AFTER:
                if time.monotonic() >= until:
                    self.close()
                    raise
                time.sleep(wait)
                wait = min(2 * wait, _LAST_WAIT)

    def _connect(self) -> bytes:
        if self._connection is not None:
            self._connection.close()
        self._connection, payload = self._begin(SnippetWatch(self._cursor, self._types).pack())
        return payload
