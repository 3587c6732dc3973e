"""What manifests hook into: filters before a write, events after its commit, schedules by the clock."""

from __future__ import annotations

from reed.core.events import Events
from reed.core.filters import Filters
from reed.core.json_checks import JsonChecks
from reed.core.plugin_endpoint import CoreContext
from reed.core.schedules import Schedules
from reed.store.base import Store


class PluginHooks:
    def __init__(self, context: CoreContext, store: Store, checks: JsonChecks) -> None:
        limit = context.config.limits.queued_bytes
        self.filters = Filters(
            store, context.endpoints, self._has_row, limit, checks, context.log, context.loop.hold_commit
        )
        self.events = Events(store, context.endpoints, context.loop, context.log)
        self.schedules = Schedules(store, context.endpoints, self._has_row, context.loop, context.log)
        self._context = context
        self._scheduled = False

    def refresh(self) -> None:
        """Rows or manifests changed."""
        self._scheduled = False
        self.filters.refresh()
        self.events.refresh()
        self.schedules.refresh()

    def refresh_later(self) -> None:
        """Refresh once, in the next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._context.loop.call_soon(self.refresh)

    def _has_row(self, name: str) -> bool:
        return self._context.supervisor.has_row(name)
