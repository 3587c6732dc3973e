"""The connections of an AsyncClient, and which request goes to which.

    ask ── pick ─┬─ the connection with the least in flight
                 ├─ a new one, if all have much in flight, or if this request is slow and none is idle
                 └─ all are full: wait until one has room, or PoolExhausted

    idle or busy ── TimedOut ──▶ retired: takes no more, closed when nobody waits for an answer
         └── end ──▶ each request without an answer gets its error (reed.client.protocol)

Answers come in order, so a slow request delays those behind it on its connection; `pick` avoids such a connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

from reed.client.aio.connection import READ_SIZE, Connection, connect
from reed.client.link import forks
from reed.client.protocol import Answer, Exchange, NoAnswer, TimedOut, name_of
from reed.errors import Conflict, ReedError
from reed.wire.codes import Command

_DEEP = 128  # requests in flight on each connection before another is opened
_SLOW = frozenset(
    map(
        int,
        (
            Command.PLUGIN_SEND,
            Command.PLUGIN_START,
            Command.PLUGIN_STOP,
            Command.PLUGIN_RELOAD,
            Command.PLUGIN_RUN_SCHEDULE,
            Command.PLUGIN_SIGNAL,
            Command.REGISTRY_CHECK,
            Command.REGISTRY_DEFINE,
            Command.SCHEMA_TREE,
            Command.SEARCH_INDEX,
            Command.SEARCH_QUERY,
        ),
    )
)


class PoolExhausted(ReedError):
    """Every connection was full until the timeout. The request was not sent."""


class Pool:
    """Belongs to the event loop in which it is used first."""

    def __init__(self, path: str, size: int, depth: int) -> None:
        """At most `size` connections with `depth` requests in flight each."""
        self.path = path
        self._connections: list[Connection] = []  # those that take requests
        self._retired: set[Connection] = set()
        self._streams: set[Connection] = set()  # of pipelines and watches
        self._size = size
        self._depth = depth
        self._opening = 0
        self._assumed = b""  # the payload of CONNECTION_ASSUME
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = forks()
        self._scratch = memoryview(bytearray(READ_SIZE))

    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop. Raises ReedError if this is not the one of the connections."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._connections and self._forks != forks():
                raise ReedError(
                    "this client was opened before the process forked; its connections are those of the parent",
                    hint="make an AsyncClient after the fork",
                )
            if self._connections and self._loop is not None and not self._loop.is_closed():
                raise ReedError(
                    "this client belongs to another event loop",
                    hint="make an AsyncClient for each, or close() it first",
                )
            self._connections.clear()
            self._waiting.clear()
            self._loop, self._forks, self._opening = loop, forks(), 0
        return loop

    def pick(self, command: int) -> Connection | None:
        """The connection for this command; None if another has to be opened, or all are full."""
        best, least = None, self._depth
        is_full = len(self._connections) + self._opening >= self._size
        for connection in self._connections:
            if not connection.protocol.is_core_reading:
                continue
            load = connection.load
            if load < least or (is_full and best is None and len(connection.protocol.in_flight) < self._depth):
                best, least = connection, load
        if best is not None and not is_full and least >= (1 if command in _SLOW else _DEEP):
            return None
        return best

    def pick_at_once(self, command: int) -> Connection | None:
        """Like `pick`; None if others wait already."""
        return None if self._waiting else self.pick(command)

    async def connection(self, command: int, deadline: float | None) -> Connection:
        """Raises CoreNotRunning, PoolExhausted, and what a refused CONNECTION_ASSUME raises."""
        may_pass = not self._waiting
        while True:
            if may_pass:
                connection = self.pick(command)
                if connection is not None:
                    return connection
                if len(self._connections) + self._opening < self._size:
                    return await self._open(deadline)
            await self._wait(command, deadline)
            may_pass = True

    async def ask(
        self, connection: Connection, command: int, payload: bytes, flags: int, deadline: float | None
    ) -> Answer | None:
        """The answer; None after the deadline. Cancelled, its answer is dropped when it comes."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer | None] = loop.create_future()
        exchange = connection.start(command, payload, flags, future, is_slow=command in _SLOW)
        timer = None if deadline is None else loop.call_at(deadline, _expire, future)
        try:
            answer = await future
        except asyncio.CancelledError:
            self._abandon(connection, exchange)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if answer is None:
            self._abandon(connection, exchange)
            self._retire(connection)
        return answer

    async def assume(self, payload: bytes, deadline: float | None) -> bytes:
        """Send CONNECTION_ASSUME on a new connection, and first on every later one; the others are retired."""
        if self._assumed:
            raise Conflict("this client is that of a user already", hint="make an AsyncClient for each user")
        self.loop()
        self._assumed = payload  # also if it is refused: the caller wants less than this client has
        for connection in list(self._connections):
            self._retire(connection)
        connection, answer = await self._connected(deadline)
        self._connections.append(connection)
        return answer

    async def stream(self, deadline: float | None) -> Connection:
        """A connection of its own for a pipeline or a watch, which closes it; `close` of the client does too."""
        self.loop()
        connection, _ = await self._connected(deadline)
        self._streams.add(connection)
        connection.on_end = partial(self._streams.discard, connection)
        return connection

    def close(self) -> None:
        """Close all connections. Calls that wait get NoAnswer."""
        for future in self._waiting:
            _fail(future, NoAnswer("the client was closed before the request was sent"))
        self._waiting.clear()
        for connection in [*self._connections, *self._retired]:
            for exchange in connection.protocol.in_flight:
                _give(exchange, NoAnswer(f"the client was closed before {name_of(exchange.command)} was answered"))
            connection.close()
        for connection in list(self._streams):
            connection.close()

    def shrink(self, connection: Connection) -> bool:
        """If the core refused this connection: whether others are left, which then have to do."""
        if connection.protocol.refusal is None or not self._connections:
            return False
        self._size = len(self._connections)
        return True

    async def _open(self, deadline: float | None) -> Connection:
        self._opening += 1
        try:
            connection, _ = await self._connected(deadline)
            self._connections.append(connection)
        finally:
            self._opening -= 1
            self._wake()
        return connection

    async def _connected(self, deadline: float | None) -> tuple[Connection, bytes]:
        """A new connection with the permissions of this client, and the answer of CONNECTION_ASSUME."""
        sock = await connect(self.path, deadline)
        connection = Connection(sock, self._scratch)
        connection.on_answers = self._answered
        connection.on_end = partial(self._ended, connection)
        if not self._assumed:
            return connection, b""
        try:
            answer = await self.ask(connection, Command.CONNECTION_ASSUME, self._assumed, 0, deadline)
            if answer is None:
                raise TimedOut("no answer to CONNECTION_ASSUME in time")
            if isinstance(answer, ReedError):
                raise answer
        except BaseException:  # nothing else was sent
            connection.close()
            raise
        return connection, answer

    async def _wait(self, command: int, deadline: float | None) -> None:
        """Until a connection may have room, in turn."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append(future)
        full = PoolExhausted(
            f"{self._size} connections with {self._depth} requests in flight each left no room for"
            f" {name_of(command)} in time; it was not sent",
            hint="retry later, or give AsyncClient more connections",
        )
        timer = None if deadline is None else loop.call_at(deadline, _fail, future, full)
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._wake()  # its turn is another's
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if future in self._waiting:
                self._waiting.remove(future)

    def _wake(self) -> None:
        """There may be room for the request that has waited longest."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _answered(self, answers: list[tuple[Exchange, Answer]]) -> None:
        for exchange, answer in answers:
            _give(exchange, answer)
            if self._waiting:
                self._wake()

    def _ended(self, connection: Connection) -> None:
        self._retired.discard(connection)
        if connection in self._connections:
            self._connections.remove(connection)
        for exchange, error in connection.protocol.end():
            _give(exchange, error)
        self._wake()

    def _abandon(self, connection: Connection, exchange: Exchange) -> None:
        connection.protocol.abandon(exchange)
        connection.close_if_unused()
        self._wake()

    def _retire(self, connection: Connection) -> None:
        """No more requests go there: its answers are late, or it has other permissions."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._retired.add(connection)
        connection.retire()
        self._wake()


def _give(exchange: Exchange, answer: Answer) -> None:
    future: asyncio.Future[Answer | None] = exchange.owner
    if not future.done():
        future.set_result(answer)


def _expire(future: asyncio.Future[Answer | None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: ReedError) -> None:
    if not future.done():
        future.set_exception(error)
