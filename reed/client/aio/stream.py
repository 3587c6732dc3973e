"""A connection of its own for a pipeline or a watch: answers are queued until they are asked for.

Connection ── on_answers ──▶ queue ──▶ await answers()
     ▲                         │ is long
     └──────── pause ◀─────────┘        so that the core waits, and memory is bounded
"""

from __future__ import annotations

import asyncio
from collections import deque

from reed.client.aio.connection import Connection
from reed.client.protocol import Answer, Exchange, Protocol, TimedOut

_MAX_QUEUED = 64  # reads from the socket


class Stream:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._queued: deque[list[tuple[Exchange, Answer]]] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._on_end = connection.on_end
        connection.on_answers = self._answered
        connection.on_end = self._ended

    @property
    def protocol(self) -> Protocol:
        return self.connection.protocol

    async def answers(self, timeout: float | None) -> list[tuple[Exchange, Answer]]:
        """The next answers; none if the connection has ended. Raises TimedOut after so many seconds without any."""
        while not self._queued and not self.connection.is_closed:
            loop = asyncio.get_running_loop()
            future = self._waiting = loop.create_future()
            timer = None if timeout is None else loop.call_later(timeout, _expire, future, timeout)
            try:
                await future
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        if not self._queued:
            return []
        if len(self._queued) <= _MAX_QUEUED // 2:
            self.connection.resume()
        return self._queued.popleft()

    def close(self) -> None:
        self.connection.close()

    def _answered(self, answers: list[tuple[Exchange, Answer]]) -> None:
        self._queued.append(answers)
        if len(self._queued) >= _MAX_QUEUED:
            self.connection.pause()
        self._wake()

    def _ended(self) -> None:
        self._on_end()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _expire(future: asyncio.Future[None], timeout: float) -> None:
    if not future.done():
        future.set_exception(TimedOut(f"no answer within {timeout:g} s", hint="the core may still carry it out"))
