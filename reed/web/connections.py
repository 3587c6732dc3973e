"""Pooled connections to the core. A blocking Client is used in a thread, by one request at a time.

ask ── a thread ── idle connection of the user, or a new one ── method ── idle again
                                                                └─ failed: closed
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from reed.client import Client
from reed.errors import CallError, TooLarge
from reed.web.sessions import User

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS = 16
MAX_IDLE = 8  # connections


class Connections:
    def __init__(self, path: str) -> None:
        """`path` is that of core.sock."""
        self.path = path
        self._idle: list[tuple[User | None, Client]] = []  # the longest unused first
        self._lock = Lock()
        self._threads = CapacityLimiter(MAX_THREADS)

    async def ask(
        self, user: User | None, method: Callable[Concatenate[Client, P], T], *args: P.args, **named: P.kwargs
    ) -> T:
        """Call the method of a Client. Raises ReedError as the method does, and CoreNotRunning."""

        def call() -> T:
            client = self._take(user)
            try:
                result = method(client, *args, **named)
            except CallError as error:
                self._give_back(user, client, is_usable=not isinstance(error, TooLarge))
                raise
            except BaseException:
                client.close()
                raise
            self._give_back(user, client, is_usable=True)
            return result

        return await to_thread.run_sync(call, limiter=self._threads)

    async def may_administrate(self, user: User | None) -> bool:
        """Whether the user is in the group admin. What the operator may do is known to the core only."""
        if user is None:
            return True

        def assume() -> bool:
            with Client(self.path) as client:
                return bool(client.assume(user.name, user.group)["is_admin"])

        return await to_thread.run_sync(assume, limiter=self._threads)

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop()[1].close()

    def _take(self, user: User | None) -> Client:
        with self._lock:
            for index in reversed(range(len(self._idle))):
                if self._idle[index][0] == user:
                    return self._idle.pop(index)[1]
        client = Client(self.path)
        if user is not None:
            try:
                client.assume(user.name, user.group)
            except BaseException:
                client.close()
                raise
        return client

    def _give_back(self, user: User | None, client: Client, *, is_usable: bool) -> None:
        if not is_usable:
            client.close()
            return
        with self._lock:
            self._idle.append((user, client))
            if len(self._idle) > MAX_IDLE:
                self._idle.pop(0)[1].close()
