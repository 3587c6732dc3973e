"""What the plugins' manifests hook into: filters before a write, events after its commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reed.core.events import Events
from reed.core.filters import Filters
from reed.core.plugin_endpoint import PluginEndpoint
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.store.base import Store


class PluginHooks:
    """Filters and events, kept up to date with rows and manifests."""

    def __init__(
        self,
        store: Store,
        endpoints: Mapping[str, PluginEndpoint],
        has_row: Callable[[str], bool],
        loop: Loop,
        max_bytes: int,
        log: PeerLog,
    ) -> None:
        """`has_row(name)`: whether the registry lists that plugin. `max_bytes`: see Filters."""
        self.filters = Filters(store, endpoints, has_row, max_bytes, log)
        self.events = Events(store, endpoints, loop, log)
        self._loop = loop
        self._scheduled = False

    def refresh(self) -> None:
        """Rows or manifests changed."""
        self._scheduled = False
        self.filters.refresh()
        self.events.refresh()

    def refresh_later(self) -> None:
        """Refresh in the next turn, once, however many rows or manifests change in this one."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.refresh)
