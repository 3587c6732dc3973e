"""What the plugins' manifests ask of the core: filters before a write, events after it.

rows and manifests ── refresh ──┬── Filters   who is asked before a write
                                └── Events    who is told after the commit
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reed.core.events import Events
from reed.core.filters import Filters
from reed.core.plugin_endpoint import PluginEndpoint
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.store.base import Store


class PluginHooks:
    """Both, kept up to date with the registry."""

    def __init__(
        self,
        store: Store,
        links: Mapping[str, PluginEndpoint],
        has_row: Callable[[str], bool],
        loop: Loop,
        most_bytes: int,
        log: PeerLog,
    ) -> None:
        """`has_row`: is that plugin in the registry? `most_bytes` of one connection's writes may wait for filters."""
        self.filters = Filters(store, links, has_row, most_bytes, log)
        self.events = Events(store, links, loop, log)
        self._loop = loop
        self._is_due = False

    def refresh(self) -> None:
        """Rows or manifests changed."""
        self._is_due = False
        self.filters.refresh()
        self.events.refresh()

    def refresh_later(self) -> None:
        """A row comes or goes, or a manifest is about to be read again: look when that is done."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.refresh)
