"""`reed.client.watch` for asyncio: changes as they are committed, on a connection of their own.

    async with core.watch(types=["page"]) as changes:      begins here; without `async with`, at the first step
        async for change in changes: …

A watch whose changes are not taken stops reading from the socket; the core then closes it, and it can go on from its
cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from reed.client.aio.connection import Connection
from reed.client.aio.stream import Stream
from reed.client.watch import FIRST_WAIT, LAST_WAIT, RECONNECT_SECONDS, RECONNECTS_AFTER, Position
from reed.errors import ReedError
from reed.wire.codes import Command
from reed.wire.watch import Change

if TYPE_CHECKING:
    from types import TracebackType

Begin = Callable[[], Awaitable[Connection]]


class AsyncWatch(AsyncIterator[Change]):
    """Iterate over it: each step waits for the next change. `cursor` is where to go on."""

    def __init__(
        self, begin: Begin, timeout: float | None, types: Iterable[str], after: str, *, reconnect: bool
    ) -> None:
        """`begin` makes a connection of its own; the first response to the request may take `timeout` seconds."""
        self._begin = begin
        self._timeout = timeout
        self._position = Position(types, after)
        self._reconnect = reconnect
        self._stream: Stream | None = None
        self._is_closed = False

    @property
    def cursor(self) -> str:
        """Of the last change that was returned, or later, if what followed was not asked for."""
        return self._position.cursor

    async def close(self) -> None:
        """The iteration ends, also that of another task."""
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()

    async def __aenter__(self) -> AsyncWatch:
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncWatch:
        return self

    async def __anext__(self) -> Change:
        """A step that is cancelled loses no change."""
        while not self._is_closed:
            change = self._position.next_change()
            if change is not None:
                return change
            try:
                if self._stream is None:
                    await self._connect()
                else:
                    await self._receive(self._stream, None)
            except ReedError as error:
                if self._is_closed:
                    break
                if not (self._reconnect and isinstance(error, RECONNECTS_AFTER)):
                    await self.close()
                    raise
                await self._connect_again()
        raise StopAsyncIteration

    async def _receive(self, stream: Stream, timeout: float | None) -> None:
        for _, answer in await stream.answers(timeout) or stream.protocol.end():
            if isinstance(answer, ReedError):
                raise answer
            self._position.take(answer)

    async def _connect_again(self) -> None:
        """Raises the last error if no core answers for RECONNECT_SECONDS, or if it refuses the cursor."""
        loop = asyncio.get_running_loop()
        until, wait = loop.time() + RECONNECT_SECONDS, FIRST_WAIT
        while not self._is_closed:
            try:
                await self._connect()
                return
            except RECONNECTS_AFTER:
                if loop.time() >= until:
                    await self.close()
                    raise
                await asyncio.sleep(wait)
                wait = min(2 * wait, LAST_WAIT)

    async def _connect(self) -> None:
        if self._stream is not None:
            self._stream.close()
        stream = Stream(await self._begin())
        try:
            stream.protocol.start(Command.SNIPPET_WATCH, self._position.request(), is_stream=True)
            stream.connection.flush()
            await self._receive(stream, self._timeout)
        except BaseException:
            stream.close()
            raise
        self._stream = stream
