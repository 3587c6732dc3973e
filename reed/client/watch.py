"""Changes as they are committed, on a connection of their own (protocol.md#watching).

    watching ── the core closes or restarts ──▶ reconnect=True: connects again, and goes on from the cursor
       │                                        reconnect=False: ConnectionEnded, Restarting
       ├── CursorTooOld, PermissionDenied ──▶ raised; the watch has ended
       └── close()

`Position` has no I/O; reed.client.aio.watch is the same for asyncio.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from reed.client.connection import ClientConnection
from reed.client.protocol import NoAnswer
from reed.errors import CoreNotRunning, ReedError, Restarting, SlowReader
from reed.wire.watch import Change, SnippetChanges, SnippetWatch

if TYPE_CHECKING:
    from types import TracebackType

RECONNECT_SECONDS = 30.0  # without a core
FIRST_WAIT, LAST_WAIT = 0.02, 0.5

RECONNECTS_AFTER = (NoAnswer, Restarting, SlowReader, CoreNotRunning)
Begin = Callable[[bytes], tuple[ClientConnection, Iterator[bytes]]]  # the payload of the request; the responses


class Position:
    """Where a watch is: the changes that it has received, and the cursor."""

    def __init__(self, types: Iterable[str], after: str) -> None:
        self.cursor = after  # of the last change that was returned, or later, if what followed was not asked for
        self._types = (types,) if isinstance(types, str) else tuple(types)
        self._received = ""  # the cursor of the last response
        self._changes: deque[Change] = deque()

    def request(self) -> bytes:
        """The payload that goes on from here."""
        self._changes.clear()
        return SnippetWatch(self.cursor, self._types).pack()

    def take(self, payload: bytes) -> None:
        _, self._received, changes = SnippetChanges.unpack(payload)
        self._changes.extend(changes)
        if not changes:
            self.cursor = self._received

    def next_change(self) -> Change | None:
        if not self._changes:
            return None
        change = self._changes.popleft()
        self.cursor = change.cursor if self._changes else self._received
        return change


class Watch(Iterator[Change]):
    """Iterate over it: each step waits for the next change. `cursor` is where to go on."""

    def __init__(self, begin: Begin, types: Iterable[str] = (), after: str = "", *, reconnect: bool = False) -> None:
        """Raises what `Client.watch` names. `begin` makes a connection without a timeout, and the request on it."""
        self._begin = begin
        self._position = Position(types, after)
        self._reconnect = reconnect
        self._connection: ClientConnection | None = None
        self._responses: Iterator[bytes] = iter(())
        self._is_closed = False
        self._connect()

    @property
    def cursor(self) -> str:
        """Of the last change that was returned, or later, if what followed was not asked for."""
        return self._position.cursor

    def close(self) -> None:
        """The iteration ends, also that of another thread."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        while not self._is_closed:
            change = self._position.next_change()
            if change is not None:
                return change
            self._receive()
        raise StopIteration

    def _receive(self) -> None:
        try:
            self._position.take(next(self._responses))
        except ReedError as error:
            if self._is_closed:
                return
            if not (self._reconnect and isinstance(error, RECONNECTS_AFTER)):
                self.close()
                raise
            self._connect_again()

    def _connect_again(self) -> None:
        """Raises the last error if no core answers for RECONNECT_SECONDS, or if it refuses the cursor."""
        until, wait = time.monotonic() + RECONNECT_SECONDS, FIRST_WAIT
        while not self._is_closed:
            try:
                self._connect()
                return
            except RECONNECTS_AFTER:
                if time.monotonic() >= until:
                    self.close()
                    raise
                time.sleep(wait)
                wait = min(2 * wait, LAST_WAIT)

    def _connect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._responses = self._begin(self._position.request())
        self._position.take(next(self._responses))
