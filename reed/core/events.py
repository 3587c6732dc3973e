"""Events: what was changed, told to the plugins that asked for it, after the commit (events.md#events).

    the store's outbox ── a Delivery for each plugin: in order, one at a time ── its action ─┬─ 2xx      the next
                                                                                             └─ else     again, later

    idle ── an event waits, the plugin is ready ──▶ asked ── 2xx ──▶ idle
      ▲                                               ├── its process ended, its queue is full ──▶ resting ──▶ idle
      └──── a new process of the plugin ──── parked ◀─┴── a refusal, no answer in time: a growing rest; MOST_TRIES ──▶

Plugins that answer each other's events by writing are slowed down (event_chains).

Nothing is skipped, since the order would be gone: a plugin that refuses an event again and again gets no more of them
until it is started anew. They wait meanwhile, as they do for a stopped plugin; PLUGIN_HEALTH shows how many, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from reed.core.event_chains import EventChains
from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import CallError, PluginBusy, PluginCrashed, PluginOffline
from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.peer_log import PeerLog
from reed.store.base import Event, Store
from reed.supervision.lifecycle import State
from reed.supervision.manifest import EVENTS
from reed.wire import strict_json
from reed.wire.common import unpack_status
from reed.wire.structs import Bytes

MOST_TRIES = 10  # of one event by one process; with the rests between them about 80 seconds
FIRST_REST = 0.2  # seconds, doubled each time
LONGEST_REST = 30.0

_TAKES_EVENTS = frozenset({State.READY, State.SLEEPING})
_NOT_ITS_FAULT = (PluginCrashed, PluginOffline, PluginBusy)  # says nothing about the event: no try is counted


class Events:
    """The deliveries to all plugins."""

    def __init__(self, store: Store, links: Mapping[str, PluginEndpoint], loop: Loop, log: PeerLog) -> None:
        self._store = store
        self._links = links
        self._loop = loop
        self._log = log
        self.chains = EventChains(links, loop.now, log)
        self._deliveries: dict[str, Delivery] = {}

    def refresh(self) -> None:
        """Rows or manifests changed: tell the store who is told of what."""
        subscribers: dict[str, list[str]] = {kind: [] for kind in EVENTS}
        for name, link in self._links.items():
            for kind in _kinds(link):
                if _can_deliver(link):
                    subscribers[kind].append(name)
        self._store.subscribe(subscribers, self.chains.cause_of)
        for name, count in list(self._store.events_waiting().items()):
            if name not in self._links:
                self._log.warning(
                    "%s: is no longer in the registry: the %d events for it are dropped", name, count, peer=name
                )
                self._store.drop_events(name)
        for name in [name for name in self._deliveries if name not in self._links]:
            self._deliveries.pop(name).close()
            self.chains.forget(name)

    def deliver(self) -> None:
        """After a commit: go on with the plugins that have new events."""
        for name in self._store.pop_ready():
            self._delivery(name).go_on()

    def state_changed(self, name: str) -> None:
        if self._links[name].plugin.state in _TAKES_EVENTS:
            self._delivery(name).go_on()

    def figures(self, name: str) -> dict[str, Any]:
        """For PLUGIN_HEALTH: how many events wait, and why none is delivered (empty if that is as it should be)."""
        link = self._links[name]
        why = self._deliveries[name].parked if name in self._deliveries else ""
        if _kinds(link) and not _can_deliver(link):
            why = "its row lacks snippet_read: it is told of no events"
        return {
            "events_waiting": self._store.events_waiting().get(name, 0),
            "events_parked": why,
            "events_slowed": self.chains.slowed(name),
        }

    def _delivery(self, name: str) -> Delivery:
        delivery = self._deliveries.get(name)
        if delivery is None:
            delivery = Delivery(name, self._store, self._links, self.chains, self._loop, self._log)
            self._deliveries[name] = delivery
        return delivery


class Delivery:
    """The events of one plugin, one at a time. `parked` says why none is delivered any more."""

    def __init__(
        self,
        name: str,
        store: Store,
        links: Mapping[str, PluginEndpoint],
        chains: EventChains,
        loop: Loop,
        log: PeerLog,
    ) -> None:
        self.parked = ""
        self._name = name
        self._store = store
        self._links = links  # by name: a changed row makes another link
        self._chains = chains
        self._loop = loop
        self._log = log
        self._asked = False
        self._waited = 0  # the event that has waited as it must
        self._rest: Timer | None = None
        self._tries = 0
        self._generation = 0  # of the process that the tries were made with
        self._closed = False

    def go_on(self) -> None:
        """Tell the next event, if nothing stands against it."""
        link = self._links.get(self._name)
        if self._asked or self._closed or link is None or link.plugin.state not in _TAKES_EVENTS:
            return
        if link.plugin.generation != self._generation:
            self._generation = link.plugin.generation
            self._tries = 0
            self.parked = ""
            self._end_rest()
        if not self.parked and self._rest is None:
            self._asked = True
            try:
                self._store.next_event(self._name, partial(self._tell, link), self._cannot_read)
            except CallError as error:
                self._cannot_read(error)

    def close(self) -> None:
        self._closed = True
        self._end_rest()

    def _tell(self, link: PluginEndpoint, event: Event | None) -> None:
        if event is None:
            self._asked = False
            return
        action = link.plugin.manifest.events.get(event.kind) if link.plugin.manifest else None
        if action is None:
            self._log.info(
                "%s: event %d is dropped: it takes no %s any more", self._name, event.id, event.kind, peer=self._name
            )
            self._told(event)
            self._loop.call_soon(self.go_on)
            return
        if event.id != self._waited and (seconds := self._chains.pause(self._name, event)):
            self._waited = event.id
            self._asked = False
            self._rest = self._loop.call_later(seconds, self._rested)
            return
        self._chains.begin(self._name, event)
        try:
            link.ask(
                link.action(action), payload_of(event), partial(self._answered, event), partial(self._failed, event)
            )
        except CallError as error:
            self._failed(event, error)

    def _answered(self, event: Event, payload: Bytes) -> None:
        status = unpack_status(payload)
        if 200 <= status < 300:
            self._told(event)
            self.go_on()
        else:
            self._failed(event, CallError(f"it answered {status}", status=status))

    def _told(self, event: Event) -> None:
        self._store.ack(self._name, event.id)
        self._chains.end(self._name)
        self._tries = 0
        self._asked = False

    def _failed(self, event: Event, error: CallError) -> None:
        self._asked = False
        self._chains.end(self._name)
        if self._closed:
            return
        if not isinstance(error, _NOT_ITS_FAULT):
            self._tries += 1
            what = f"event {event.id} ({event.kind} {event.semantic_name or event.snippet_id})"
            if self._tries >= MOST_TRIES:
                self._park(f"{what} failed {self._tries} times: {error}")
                return
            self._log.warning(
                "%s: %s failed, try %d of %d: %s", self._name, what, self._tries, MOST_TRIES, error, peer=self._name
            )
        self._take_rest()

    def _park(self, why: str) -> None:
        self.parked = f"{why}; `reed plugin restart {self._name}` tries it again"
        self._log.error("%s: no more events are delivered: %s", self._name, self.parked, peer=self._name)

    def _cannot_read(self, error: CallError) -> None:
        self._asked = False
        self._log.error("%s: its events cannot be read: %s", self._name, error, peer=self._name)
        self._take_rest()

    def _take_rest(self) -> None:
        seconds = min(FIRST_REST * 2 ** max(self._tries - 1, 0), LONGEST_REST)
        self._rest = self._loop.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._rest = None
        self.go_on()

    def _end_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None


def payload_of(event: Event) -> bytes:
    """What the plugin's action gets."""
    told: dict[str, Any] = {
        "id": event.id,
        "event": event.kind,
        "type": event.snippet_type,
        "name": event.semantic_name,
        "snippet_id": event.snippet_id,
        "version": event.version,
        "time": event.at,
    }
    if event.lost:
        told["lost"] = event.lost
    return strict_json.dumps(told)


def _kinds(link: PluginEndpoint) -> list[str]:
    manifest = link.plugin.manifest
    return [kind for kind in EVENTS if manifest and kind in manifest.events]


def _can_deliver(link: PluginEndpoint) -> bool:
    """Events tell of ids, types and names: what SNIPPET_LIST shows."""
    return "snippet_read" in link.caller.permissions
