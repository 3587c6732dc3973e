"""Events: delivers changes to subscribed plugins after the commit (events.md#events).

    idle ── an event waits, the plugin is ready ──▶ in flight ── 2xx ──▶ idle
      ▲                                               ├── process ended, queue full ──▶ backoff ──▶ idle
      └──── a new process of the plugin ──── parked ◀─┴── error or timeout: growing backoff; after MAX_TRIES ──▶

Each plugin has a Delivery, which takes one event at a time from the store's outbox. Delivery is strictly ordered: a
parked event blocks its subscriber.
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

MAX_TRIES = 10  # of one event by one process, in about 80 seconds
FIRST_BACKOFF = 0.2  # seconds, doubled each time
MAX_BACKOFF = 30.0

_TAKES_EVENTS = frozenset({State.READY, State.SLEEPING})
_NOT_COUNTED = (PluginCrashed, PluginOffline, PluginBusy)  # say nothing about the event


class Events:
    def __init__(self, store: Store, endpoints: Mapping[str, PluginEndpoint], loop: Loop, log: PeerLog) -> None:
        self.store = store
        self.endpoints = endpoints
        self.loop = loop
        self.log = log
        self.chains = EventChains(endpoints, loop.now, log)
        self._deliveries: dict[str, Delivery] = {}

    def refresh(self) -> None:
        """Subscribe plugins as their manifests say; drop those whose rows are gone."""
        subscribers: dict[str, list[str]] = {kind: [] for kind in EVENTS}
        for name, endpoint in self.endpoints.items():
            for kind in _kinds(endpoint):
                if _can_deliver(endpoint):
                    subscribers[kind].append(name)
        self.store.subscribe(subscribers, self.chains.cause_of)
        for name, count in list(self.store.events_waiting().items()):
            if name not in self.endpoints:
                self.log.warning("%s: removed from the registry; its %d events are dropped", name, count, peer=name)
                self.store.drop_events(name)
        for name in [name for name in self._deliveries if name not in self.endpoints]:
            self._deliveries.pop(name).close()
            self.chains.drop(name)

    def deliver(self) -> None:
        for name in self.store.pop_ready():
            self._delivery(name).pump()

    def state_changed(self, name: str) -> None:
        if self.endpoints[name].plugin.state in _TAKES_EVENTS:
            self._delivery(name).pump()

    def stats(self, name: str) -> dict[str, Any]:
        """For PLUGIN_HEALTH."""
        endpoint = self.endpoints[name]
        why = self._deliveries[name].parked if name in self._deliveries else ""
        if _kinds(endpoint) and not _can_deliver(endpoint):
            why = "its row lacks snippet_read: no events are delivered"
        return {
            "events_waiting": self.store.events_waiting().get(name, 0),
            "events_parked": why,
            "events_slowed": self.chains.slowed(name),
        }

    def _delivery(self, name: str) -> Delivery:
        delivery = self._deliveries.get(name)
        if delivery is None:
            delivery = self._deliveries[name] = Delivery(name, self)
        return delivery


class Delivery:
    def __init__(self, name: str, events: Events) -> None:
        self.parked = ""  # why no more events are delivered
        self._name = name
        self._store = events.store
        self._endpoints = events.endpoints  # looked up by name, since a changed row replaces the endpoint
        self._chains = events.chains
        self._loop = events.loop
        self._log = events.log
        self._in_flight = False
        self._delayed_id = 0  # of the event whose delay is over
        self._backoff: Timer | None = None
        self._tries = 0
        self._generation = 0  # of the process that the tries were made with
        self._closed = False

    def pump(self) -> None:
        """Deliver the next event, if the plugin is ready."""
        endpoint = self._endpoints.get(self._name)
        if self._in_flight or self._closed or endpoint is None or endpoint.plugin.state not in _TAKES_EVENTS:
            return
        if endpoint.plugin.generation != self._generation:
            self._generation = endpoint.plugin.generation
            self._tries = 0
            self.parked = ""
            self._cancel_backoff()
        if not self.parked and self._backoff is None:
            self._in_flight = True
            try:
                self._store.next_event(self._name, self._send, self._read_failed)
            except CallError as error:
                self._read_failed(error)

    def close(self) -> None:
        self._closed = True
        self._cancel_backoff()

    def _send(self, event: Event | None) -> None:
        # Looked up again, since the store may answer later.
        endpoint = self._endpoints.get(self._name)
        if event is None or self._closed or endpoint is None or endpoint.plugin.state not in _TAKES_EVENTS:
            self._in_flight = False
            return
        action = endpoint.plugin.manifest.events.get(event.kind) if endpoint.plugin.manifest else None
        if action is None:
            self._log.info(
                "%s: event %d dropped: the manifest no longer lists %s",
                self._name,
                event.id,
                event.kind,
                peer=self._name,
            )
            self._ack(event)
            self._loop.call_soon(self.pump)
            return
        if event.id != self._delayed_id and (seconds := self._chains.delay(self._name, event)):
            self._delayed_id = event.id
            self._in_flight = False
            self._start_backoff(seconds)
            return
        self._chains.begin(self._name, event)
        try:
            payload = _payload_for(endpoint, event)
            answered, failed = partial(self._answered, event), partial(self._failed, event)
            endpoint.call(endpoint.action(action), payload, answered, failed)
        except CallError as error:
            self._failed(event, error)

    def _answered(self, event: Event, payload: Bytes) -> None:
        status = unpack_status(payload)
        if 200 <= status < 300:
            self._ack(event)
            self.pump()
        else:
            self._failed(event, CallError(f"it answered {status}", status=status))

    def _ack(self, event: Event) -> None:
        self._store.ack(self._name, event.id)
        self._chains.end(self._name)
        self._tries = 0
        self._in_flight = False

    def _failed(self, event: Event, error: CallError) -> None:
        self._in_flight = False
        self._chains.end(self._name)
        if self._closed:
            return
        if not isinstance(error, _NOT_COUNTED):
            self._tries += 1
            what = f"event {event.id} ({event.kind} {event.semantic_name or event.snippet_id})"
            if self._tries >= MAX_TRIES:
                self._park(f"{what} failed {self._tries} times: {error}")
                return
            self._log.warning(
                "%s: %s failed, try %d of %d: %s", self._name, what, self._tries, MAX_TRIES, error, peer=self._name
            )
        self._back_off()

    def _park(self, why: str) -> None:
        self.parked = f"{why}; `reed plugin restart {self._name}` tries it again"
        self._log.error("%s: no more events are delivered: %s", self._name, self.parked, peer=self._name)

    def _read_failed(self, error: CallError) -> None:
        self._in_flight = False
        self._log.error("%s: its events cannot be read: %s", self._name, error, peer=self._name)
        self._back_off()

    def _back_off(self) -> None:
        self._start_backoff(min(FIRST_BACKOFF * 2 ** max(self._tries - 1, 0), MAX_BACKOFF))

    def _start_backoff(self, seconds: float) -> None:
        self._backoff = self._loop.call_later(seconds, self._end_backoff)

    def _end_backoff(self) -> None:
        self._backoff = None
        self.pump()

    def _cancel_backoff(self) -> None:
        if self._backoff is not None:
            self._backoff.cancel()
            self._backoff = None


def _payload_for(endpoint: PluginEndpoint, event: Event) -> bytes:
    """Bonds are for plugins that may read them."""
    return payload_of(event, with_bonds="schema_read" in endpoint.caller.permissions)


def payload_of(event: Event, *, with_bonds: bool = True) -> bytes:
    payload: dict[str, Any] = {
        "id": event.id,
        "event": event.kind,
        "type": event.snippet_type,
        "name": event.semantic_name,
        "snippet_id": event.snippet_id,
        "version": event.version,
        "time": event.at,
    }
    if event.lost:
        payload["lost"] = event.lost
    members = [event.deleted.content, event.deleted.bonds if with_bonds else b""]
    return b",".join((strict_json.dumps(payload)[:-1], *filter(None, members))) + b"}"


def _kinds(endpoint: PluginEndpoint) -> list[str]:
    manifest = endpoint.plugin.manifest
    return [kind for kind in EVENTS if manifest and kind in manifest.events]


def _can_deliver(endpoint: PluginEndpoint) -> bool:
    """Events contain ids, types and names, as SNIPPET_LIST does."""
    return "snippet_read" in endpoint.caller.permissions
