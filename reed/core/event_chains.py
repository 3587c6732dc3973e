"""Chains of events: plugins that answer each other's events by writing.

    a change by a person ── event, depth 0 ── A handles it and writes ── event, depth 1 ── B handles it and writes ── …

A change belongs to a chain when its plugin makes it while it handles an event, or while it handles a call of a plugin
that does; or when it changes, within ANSWER_WITHIN seconds, a snippet that it was told of. Each is one deeper. Beyond
FREE_DEPTH an event for a plugin that has written in this chain before waits 0.05 s, doubled each time, at most
MAX_PAUSE. Nothing is dropped; others are told at once. Chains end with the core: they are not on disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from reed.core.plugin_endpoint import PluginEndpoint
from reed.peer_log import PeerLog
from reed.store.base import NO_CAUSE, Cause, Event

FREE_DEPTH = 4
FIRST_PAUSE = 0.05  # seconds
MAX_PAUSE = 30.0
ANSWER_WITHIN = 5.0
_LOG_INTERVAL = 60.0  # seconds between two lines about the same plugins
_MAX_NAMES = 8  # of the plugins of a chain
_MAX_RECENT = 64  # events of a plugin that are remembered


class _Handled(NamedTuple):
    """An event that a plugin has answered."""

    snippet_id: str
    cause: Cause
    until: float


class EventChains:
    def __init__(self, links: Mapping[str, PluginEndpoint], now: Callable[[], float], log: PeerLog) -> None:
        self._links = links
        self._now = now
        self._log = log
        self._handling: dict[str, Event] = {}  # by plugin
        self._recent: dict[str, deque[_Handled]] = {}  # by plugin
        self._slowed: dict[str, tuple[float, str]] = {}  # by plugin: until when that is worth telling, and what
        self._logged: dict[str, float] = {}  # by plugin: until when it need not be named again

    # What the deliveries say.

    def begin(self, plugin: str, event: Event) -> None:
        self._handling[plugin] = event

    def end(self, plugin: str) -> None:
        """It has answered, or will not."""
        event = self._handling.pop(plugin, None)
        if event is not None:
            recent = self._recent.setdefault(plugin, deque(maxlen=_MAX_RECENT))
            recent.append(_Handled(event.snippet_id, event.cause, self._now() + ANSWER_WITHIN))

    def forget(self, plugin: str) -> None:
        for known in (self._handling, self._recent, self._slowed, self._logged):
            known.pop(plugin, None)

    def pause(self, plugin: str, event: Event) -> float:
        """Seconds that this event must wait before the plugin is told."""
        depth, plugins = event.cause
        if depth <= FREE_DEPTH or plugin not in plugins:
            return 0.0
        seconds = min(FIRST_PAUSE * 2.0 ** min(depth - FREE_DEPTH - 1, 20), MAX_PAUSE)
        self._note(plugin, event, seconds)
        return seconds

    # What is asked.

    def cause_of(self, plugin: str, snippet_id: str) -> Cause:
        """Of a change that the plugin makes now."""
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
        """For PLUGIN_HEALTH: why its events wait; empty when they do not, or no more."""
        until, what = self._slowed.get(plugin, (0.0, ""))
        return what if until > self._now() else ""

    def _handled_by(self, plugin: str, seen: set[str]) -> Cause | None:
        """The deepest event that it handles, itself or for another plugin that has called it."""
        event = self._handling.get(plugin)
        deepest = event.cause if event is not None else None
        link = self._links.get(plugin)
        for origin in link.queue.origins() - seen if link is not None and self._handling else ():
            seen.add(origin)
            found = self._handled_by(origin, seen)
            if found is not None and (deepest is None or found.depth >= deepest.depth):
                names = (*(name for name in found.plugins if name != origin), origin)
                deepest = Cause(found.depth, names)
        return deepest

    def _note(self, plugin: str, event: Event, seconds: float) -> None:
        now = self._now()
        plugins = sorted({*event.cause.plugins})
        what = (
            f"{', '.join(plugins)}: answer each other's events by writing, {event.cause.depth} times in a row "
            f"(now {event.kind} {event.semantic_name or event.snippet_id}); the next event waits {seconds:g} s"
        )
        self._slowed[plugin] = now + seconds + MAX_PAUSE, what
        if any(now >= self._logged.get(each, now) for each in plugins):
            self._logged.update(dict.fromkeys(plugins, now + _LOG_INTERVAL))
            self._log.warning("%s", what, peer=f"plugin {plugin}")
