"""Slows down plugins that write in reaction to each other's events (events.md#events).

a person's change ── event, depth 0 ── A handles it and writes ── event, depth 1 ── B handles it and writes ── …
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from reed.core.plugin_endpoint import PluginEndpoint
from reed.peer_log import PeerLog
from reed.store.base import NO_CAUSE, Cause, Event

MAX_FREE_DEPTH = 4
FIRST_DELAY = 0.05  # seconds; doubled with each level
MAX_DELAY = 30.0
REACTION_SECONDS = 5.0
_LOG_INTERVAL = 60.0
_MAX_NAMES = 8  # of plugins in a chain
_MAX_RECENT = 64  # handled events of each plugin


class _Handled(NamedTuple):
    snippet_id: str
    cause: Cause
    until: float


class EventChains:
    def __init__(self, endpoints: Mapping[str, PluginEndpoint], now: Callable[[], float], log: PeerLog) -> None:
        self._endpoints = endpoints
        self._now = now
        self._log = log
        # All by plugin.
        self._handling: dict[str, Event] = {}
        self._recent: dict[str, deque[_Handled]] = {}
        self._slowed: dict[str, tuple[float, str]] = {}  # shown until, and the text
        self._logged: dict[str, float] = {}  # not logged again until

    def begin(self, plugin: str, event: Event) -> None:
        self._handling[plugin] = event

    def end(self, plugin: str) -> None:
        event = self._handling.pop(plugin, None)
        if event is not None:
            recent = self._recent.setdefault(plugin, deque(maxlen=_MAX_RECENT))
            recent.append(_Handled(event.snippet_id, event.cause, self._now() + REACTION_SECONDS))

    def drop(self, plugin: str) -> None:
        for known in (self._handling, self._recent, self._slowed, self._logged):
            known.pop(plugin, None)

    def delay(self, plugin: str, event: Event) -> float:
        """Seconds by which the event is delayed for this plugin."""
        depth, plugins = event.cause
        if depth <= MAX_FREE_DEPTH or plugin not in plugins:
            return 0.0
        seconds = min(FIRST_DELAY * 2.0 ** min(depth - MAX_FREE_DEPTH - 1, 20), MAX_DELAY)
        self._report(plugin, event, seconds)
        return seconds

    def cause_of(self, plugin: str, snippet_id: str) -> Cause:
        found = self._handled_by(plugin, {plugin})
        if found is None:
            now = self._now()
            late = [
                each.cause
                for each in self._recent.get(plugin, ())
                if each.snippet_id == snippet_id and each.until > now
            ]
            if not late:
                return NO_CAUSE
            found = max(late)
        names = (*(name for name in found.plugins if name != plugin), plugin)
        return Cause(found.depth + 1, names[-_MAX_NAMES:])

    def slowed(self, plugin: str) -> str:
        """Why the plugin's events are delayed, or ""."""
        until, what = self._slowed.get(plugin, (0.0, ""))
        return what if until > self._now() else ""

    def _handled_by(self, plugin: str, seen: set[str]) -> Cause | None:
        """The deepest event that the plugin handles, itself or for a calling plugin."""
        event = self._handling.get(plugin)
        deepest = event.cause if event is not None else None
        endpoint = self._endpoints.get(plugin)
        for origin in endpoint.queue.origins() - seen if endpoint is not None and self._handling else ():
            seen.add(origin)
            found = self._handled_by(origin, seen)
            if found is not None and (deepest is None or found.depth >= deepest.depth):
                names = (*(name for name in found.plugins if name != origin), origin)
                deepest = Cause(found.depth, names)
        return deepest

    def _report(self, plugin: str, event: Event, seconds: float) -> None:
        now = self._now()
        plugins = sorted({*event.cause.plugins})
        what = (
            f"{', '.join(plugins)}: write in reaction to each other's events, {event.cause.depth} times in a row "
            f"(now {event.kind} {event.semantic_name or event.snippet_id}); the next event waits {seconds:g} s"
        )
        self._slowed[plugin] = now + seconds + MAX_DELAY, what
        if any(now >= self._logged.get(each, now) for each in plugins):
            self._logged.update(dict.fromkeys(plugins, now + _LOG_INTERVAL))
            self._log.warning("%s", what, peer=f"plugin {plugin}")
