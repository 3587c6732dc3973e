"""Changes of the pages, for the browsers that show them.

AsyncClient.watch ──▶ Changes.version ──▶ every open /changes ──▶ EventSource in the browser: reload
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator

from reed.client.aio import AsyncClient
from reed.errors import ReedError

_PAUSE = 0.1  # seconds for changes that follow, such as those of one import
_RETRY = 1.0  # seconds
_PING = 15.0  # seconds; without it a proxy closes the connection
_LOG = logging.getLogger(__name__)


class Changes:
    def __init__(self, core: AsyncClient, page_type: str) -> None:
        self.version = secrets.token_hex(4)
        self.is_followed = False  # whether a change would be noticed
        self._core = core
        self._type = page_type
        self._changed = asyncio.Event()
        self._pending: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    async def follow(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                async with self._core.watch(types=[self._type]) as changes:
                    self.is_followed = True
                    self._note()  # what has changed before
                    async for _ in changes:
                        self._note()
            except ReedError as error:
                if self.is_followed:
                    _LOG.warning("the site does not hear of changes, and tries again: %s", error)
            self.is_followed = False
            await asyncio.sleep(_RETRY)

    def close(self) -> None:
        """End the events, for which the server would wait. For a handler of Unix signals."""
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._notify)

    def _note(self) -> None:
        self.version = secrets.token_hex(4)
        if self._pending is None:
            self._pending = self._loop.call_later(_PAUSE, self._notify)

    def _notify(self) -> None:
        self._pending = None
        self._changed.set()
        self._changed = asyncio.Event()

    async def events(self, shown: str) -> AsyncIterator[bytes]:
        """Server-sent events for a page that was made from the version `shown`."""
        yield b"retry: 1000\n\n"
        while not self._is_closed:
            changed = self._changed
            if self.version != shown and self._pending is None:
                shown = self.version
                yield f"event: change\ndata: {shown}\n\n".encode()
            try:
                await asyncio.wait_for(changed.wait(), _PING)
            except TimeoutError:
                yield b": ping\n\n"
