"""The asyncio client of the core: the methods of `reed.client.Client`, awaited.

    async with AsyncClient() as core:
        page = await core.snippet_get("blog/intro")
        async for record in core.snippets("page"):
            ...

Any number of tasks share an AsyncClient; their requests are pipelined over a few connections.

    timeout      seconds for a call, from its start to its answer: TimedOut. `core.with_timeout(2)` sets another
    cancelling   is safe at any time. A request that was not sent yet is not sent. The answer to one that was sent is
                 dropped when it comes: a write is carried out, or not, as if its caller had waited
    the end of   reads are repeated, and what the core had not begun; a write that may have been carried out raises
    a connection NoAnswer (ConnectionEnded)

    pool        which request goes to which connection      connection   a socket in the event loop
    stream      a connection of its own, for a pipeline     watch        changes, on such a connection
    calls, content, plugins                                 derived methods
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from reed.client.aio.content import ContentMethods, StructureMethods
from reed.client.aio.plugins import PluginMethods
from reed.client.aio.pool import Pool, PoolExhausted
from reed.client.aio.stream import Stream
from reed.client.connection import DEFAULT_TIMEOUT, core_socket
from reed.client.pipeline import Pipeline, Request
from reed.client.protocol import MAX_RESTARTS, ConnectionEnded, NoAnswer, TimedOut, may_repeat, name_of
from reed.errors import CallError, ReedError, Restarting

if TYPE_CHECKING:
    from typing import Self

    from reed.client.aio.watch import AsyncWatch

__all__ = ["AsyncClient", "NoAnswer", "PoolExhausted", "Request", "TimedOut"]


class AsyncClient(ContentMethods, StructureMethods, PluginMethods):
    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        connections: int = 4,
        in_flight: int = 256,
    ) -> None:
        """`path` is that of core.sock, `timeout` the seconds of a call.

        At most `connections` are open, each with at most `in_flight` requests; further calls wait in turn. A pipeline
        or a watch opens one of its own. The first call connects.
        """
        self.path = os.fspath(path) if path is not None else core_socket()
        self.timeout = timeout
        self._pool = Pool(self.path, connections, in_flight)

    async def __aenter__(self) -> Self:
        """Connects, so that CoreNotRunning is raised here."""
        self._pool.loop()
        await self._pool.connection(0, self._deadline())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Calls that wait get NoAnswer; a later call connects again.

        >>> await core.close()
        >>> await core.snippet_names()
        ['blog', 'blog/intro']
        """
        self._pool.close()

    def with_timeout(self, timeout: float | None) -> Self:
        """The same client, with another timeout for what is called on it: seconds, None for no limit.

        Both share the connections, so `close` is for both. TimedOut tells that there was no answer in time; a write may
        still be carried out.

        >>> (await core.with_timeout(2.5).snippet_get("blog")).name
        'blog'
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.timeout = timeout
        return view

    async def call(self, command: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """Send a request that is packed already; returns the payload of its response.

        That is b"" with the flag ASYNC or SIGNAL. Raises CallError if the core refuses it, NoAnswer if the core may
        have carried out a write, PoolExhausted if no connection had room until the timeout.

        >>> from reed.wire.codes import Command
        >>> (await core.call(Command.SYSTEM_STATS))[:2]
        b'\\xc8\\x00'
        """
        pool = self._pool
        loop = pool.loop()
        deadline = None if self.timeout is None else loop.time() + self.timeout
        failed: ReedError | None = None
        restarts = 0
        while True:
            try:
                connection = pool.pick_at_once(command) or await pool.connection(command, deadline)
            except (ConnectionEnded, Restarting) as error:  # from CONNECTION_ASSUME
                answer: bytes | ReedError | None = error
            except ReedError:
                if failed is not None:
                    raise failed from None
                raise
            else:
                answer = await pool.ask(connection, command, payload, flags, deadline)
                if type(answer) is bytes:
                    return answer
                if pool.shrink(connection):
                    continue
            if answer is None:
                hint = "the core may still carry it out"
                raise TimedOut(f"no answer to {name_of(command)} within {self.timeout:g} s", hint=hint)
            assert isinstance(answer, ReedError)
            if restarts >= MAX_RESTARTS or not may_repeat(command, answer):
                raise answer
            restarts += 1
            failed = answer if isinstance(answer, ConnectionEnded) else None

    async def pipelined(
        self, requests: Iterable[Request], window: int = 512
    ) -> AsyncIterator[tuple[Request, bytes | CallError]]:
        """Send many requests on a connection of their own; yields each with its response or its error, in order.

        At most `window` requests are in flight. The timeout is for each wait. Raises NoAnswer if the core may have
        carried out a write. Close the iterator (contextlib.aclosing) if you leave it early.

        >>> from reed.client import Request
        >>> from reed.wire.codes import Command
        >>> from reed.wire.requests import Ref
        >>> reads = [Request(Command.SNIPPET_GET, Ref(name).pack(), name) for name in ("blog", "nowhere")]
        >>> async for request, answer in core.pipelined(reads):
        ...     print(request.tag, type(answer).__name__)
        blog bytes
        nowhere NotFound
        """
        pipeline = Pipeline(requests, window)
        is_done = False
        while not is_done:
            stream = Stream(await self._pool.stream(self._deadline()))
            try:
                while not stream.connection.is_closed:
                    if not pipeline.fill(stream.protocol):
                        is_done = not stream.protocol.unsent  # else the core has refused the rest of a request
                        break
                    stream.connection.flush()
                    answers = await stream.answers(self.timeout)
                    for response in pipeline.responses(answers):
                        yield response
                    if stream.protocol.is_over:
                        break
            finally:
                stream.close()
            pipeline.ended(stream.protocol)

    def watch(self, types: Iterable[str] = (), after: str = "", *, reconnect: bool = False) -> AsyncWatch:
        """Changes as they are committed, on a connection of its own, as an iterator that never ends by itself.

        Each change has `kind`, `name`, `type`, `id`, `version` and `cursor`. Without `after`, a cursor, it begins at
        the present: at the beginning of `async with`, or else at its first step. With `reconnect` it goes on from its
        cursor when the core restarts. Raises PermissionDenied, and CursorTooOld if the core no longer has the changes
        after the cursor: list again, watch without one.

        >>> async with core.watch(types=["page"]) as changes:
        ...     snippet_id = await core.snippet_update("blog", {"title": "News"})
        ...     change = await anext(changes)
        >>> change.kind, change.name, change.version
        ('snippet.updated', 'blog', 2)
        """
        from reed.client.aio.watch import AsyncWatch

        return AsyncWatch(lambda: self._pool.stream(self._deadline()), self.timeout, types, after, reconnect=reconnect)

    async def _assume(self, payload: bytes) -> bytes:
        return await self._pool.assume(payload, self._deadline())

    def _deadline(self) -> float | None:
        return None if self.timeout is None else asyncio.get_running_loop().time() + self.timeout
