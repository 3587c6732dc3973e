"""Changes of the pages, for the browsers that show them.

changes() ──▶ Changes.version ──▶ every open /changes ──▶ EventSource in the browser: reload
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

from anyio import to_thread

from reed.client import Client
from reed.errors import NotFound, ReedError

_PAUSE = 0.1  # seconds for changes that follow, such as those of one import
_RETRY = 1.0  # seconds
_PING = 15.0  # seconds; without it a proxy closes the connection


async def changes(socket: str, page_type: str) -> AsyncIterator[None]:
    """First when it is connected, then after each change. Raises ReedError."""
    seen = None
    while True:
        now = await to_thread.run_sync(_versions, socket, page_type)
        if now != seen:
            seen = now
            yield
        await asyncio.sleep(0.3)


def _versions(socket: str, page_type: str) -> dict[str, int]:
    with Client(socket) as core:
        try:
            return {record.id: record.version for record in core.snippets(page_type)}
        except NotFound:
            return {}


class Changes:
    def __init__(self, socket: str, page_type: str) -> None:
        self.version = secrets.token_hex(4)
        self.is_followed = False  # whether a change would be noticed
        self._socket = socket
        self._type = page_type
        self._changed = asyncio.Event()
        self._pending: asyncio.TimerHandle | None = None

    async def follow(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                async for _ in changes(self._socket, self._type):
                    self.is_followed = True
                    self.version = secrets.token_hex(4)
                    if self._pending is None:
                        self._pending = asyncio.get_running_loop().call_later(_PAUSE, self._notify)
            except ReedError:
                self.is_followed = False
                await asyncio.sleep(_RETRY)

    def _notify(self) -> None:
        self._pending = None
        self._changed.set()
        self._changed = asyncio.Event()

    async def events(self, shown: str) -> AsyncIterator[bytes]:
        """Server-sent events for a page that was made from the version `shown`."""
        yield b"retry: 1000\n\n"
        while True:
            changed = self._changed
            if self.version != shown and self._pending is None:
                shown = self.version
                yield f"event: change\ndata: {shown}\n\n".encode()
            try:
                await asyncio.wait_for(changed.wait(), _PING)
            except TimeoutError:
                yield b": ping\n\n"
