"""Events for plugins, from the log: a cursor for each plugin, and one core at a time that delivers to it.

    subscribers(name, told, leader, generation, lease)      the next event: the next line of its kinds after `told`

    another leads ── its lease ends ──▶ this core leads: it reads, delivers, acknowledges, and renews the lease
                                             └─ the lease is over: nothing is delivered until it has a new one

The lease is by the database's clock. Its generation is a fence: a core that was frozen, and no longer leads, cannot
move the cursor. An event may be delivered again after a crash; events of a plugin come in the order of their commits.

Beyond `max_events` waiting ones the cursor skips the oldest, and `subscribers.lost` counts them until the next event
that was delivered is acknowledged, which has told the plugin. Any core does that, before it trims the log too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from reed.errors import CallError
from reed.store.base import NO_CAUSE, Cause, CauseOf, Done, Event, Failed, no_cause
from reed.store.context import StoreLoop
from reed.store.deleted import Deleted
from reed.store.postgres.follower import LogLine
from reed.store.postgres.operation import ALL, Pending
from reed.store.postgres.reader import Reader
from reed.store.postgres.values import Rows, array_of, ignore, number, params, text
from reed.store.postgres.writer import MAX_LINES, Step, Write, Writer

LEASE_SECONDS = 15.0
_RENEW_SECONDS = LEASE_SECONDS / 3
_MARGIN_SECONDS = LEASE_SECONDS / 2  # a delivery begins only if the lease lasts longer than this
_MAX_DELIVERY = 600.0  # seconds; then another core may try: this one's plugin is stopped, or always fails
_ASK_SECONDS = 1.0  # between two attempts to lead
_COUNT_SECONDS = 2.0  # between two counts of the waiting events
_MAX_COUNTED = 100_000  # beyond those that may wait
_SLACK = 0.01  # of those that may wait; so many more may, since counting them takes long
_LOG_SECONDS = 60.0  # between two lines about lost events


@dataclass(slots=True)
class _Subscriber:
    name: str
    kinds: frozenset[str] = frozenset()
    waiting: int = 0
    is_counted: bool = False  # until then nobody knows how many wait
    generation: int = 0  # of the lease
    lease_ends: float = 0.0  # 0: another core leads, or nobody
    told: tuple[int, int] = (0, 0)  # the last event that was delivered: seq, k
    lost: int = 0  # skipped, and the plugin does not know
    acked: int = 0  # events since the cursor was written
    acked_lost: int = 0  # that these have reported
    delivers_since: float = math.inf  # an event was given out, and is not acknowledged
    lead_after: float = 0.0  # another core leads: ask again then
    acks: int = 0  # sent, not yet committed
    when_written: Callable[[], None] | None = None  # the next event waits for them
    counted_to: int = 0  # the seq up to which `waiting` was counted in the database
    stamp: int = 0  # grows with each change of `waiting`
    causes: dict[tuple[int, int], Cause] = field(default_factory=dict)
    unlogged: int = 0  # lost ones
    logged_at: float = -math.inf

    def is_delivering(self, now: float) -> bool:
        return self.delivers_since < math.inf and not self.is_stuck(now)

    def is_stuck(self, now: float) -> bool:
        return now - self.delivers_since >= _MAX_DELIVERY


class Outbox:
    def __init__(
        self,
        loop: StoreLoop,
        core: str,
        asker: Reader,
        reader: Reader,
        writer: Writer,
        pending: Pending,
        max_events: int,
        on_news: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._core = core.encode()
        self._asker = asker
        self._reader = reader
        self._writer = writer
        self._pending = pending
        self._max_events = max_events
        self._on_news = on_news
        self._warn = warn
        self._cause_of: CauseOf = no_cause
        self._subscribers: dict[str, _Subscriber] = {}
        self._by_kind: dict[str, list[_Subscriber]] = {}
        self._ready: set[str] = set()
        self._dropped: set[str] = set()
        self._counted_at = 0.0

    # Subscribers.

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf) -> None:
        self._cause_of = cause_of
        kinds: dict[str, set[str]] = {}
        for kind, names in subscribers.items():
            for name in names:
                kinds.setdefault(name, set()).add(kind)
        self._dropped -= kinds.keys()
        for name, wanted in kinds.items():
            found = self._subscribers.setdefault(name, _Subscriber(name))
            if found.kinds != wanted:
                found.kinds = frozenset(wanted)
                self._announce(found)
        for name, found in self._subscribers.items():
            if name not in kinds:
                found.kinds = frozenset()
        self._by_kind = {
            kind: [found for found in self._subscribers.values() if kind in found.kinds] for kind in subscribers
        }

    def _announce(self, subscriber: _Subscriber) -> None:
        """With the next batch, so that the writes which are begun from now on are events for it."""

        def announced(_: object = None) -> None:
            self._count([subscriber.name])

        step = Step("subscribe", params(subscriber.name, array_of(sorted(subscriber.kinds))), is_marked=False)
        self._writer.put(Write((step,), announced, announced, ignore, has_line=False))

    def connected(self) -> None:
        """The follower has a connection (again): the database may not know of these subscribers."""
        for subscriber in self._subscribers.values():
            subscriber.lead_after = 0.0
            if subscriber.kinds:
                self._announce(subscriber)

    def drop(self, name: str) -> None:
        """This core no longer delivers to it; its events are gone if no other core has the plugin."""
        self._dropped.add(name)
        self._subscribers.pop(name, None)
        for found in self._by_kind.values():
            found[:] = [each for each in found if each.name != name]
        for statement in ("forget", "yield"):
            self._asker.ask(statement, params(name, self._core), ignore, ignore)

    def yield_all(self) -> None:
        """Let other cores deliver at once."""
        for subscriber in self._subscribers.values():
            if subscriber.lease_ends:
                self._asker.ask("yield", params(subscriber.name, self._core), ignore, ignore)

    @property
    def counts(self) -> dict[str, int]:
        """Waiting events by subscriber, of those that this core delivers to, or would."""
        return {
            name: min(found.waiting, self._max_events) for name, found in self._subscribers.items() if found.waiting
        }

    # New events.

    def causes(self, kind: str, by: str, snippet_id: str) -> Cause:
        """To be asked when a write begins, and given to `added`."""
        if by and any(found.name != by for found in self._by_kind.get(kind, ())):
            return self._cause_of(by, snippet_id)
        return NO_CAUSE

    def added(self, kind: str, by: str, at: tuple[int, int], cause: Cause) -> None:
        """This core has committed a change."""
        for subscriber in self._by_kind.get(kind, ()):
            if subscriber.name != by:
                if at[0] > subscriber.counted_to:
                    subscriber.waiting += 1
                    subscriber.stamp += 1
                if cause.depth:
                    subscriber.causes[at] = cause
                self._ready.add(subscriber.name)

    def seen(self, line: LogLine) -> None:
        """Another core has."""
        self.added(line.kind, line.made_by, (line.seq, line.k), NO_CAUSE)

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def pop_ready(self) -> Collection[str]:
        ready, self._ready = self._ready, set()
        return ready

    def tick(self, now: float) -> None:
        """Renew leases, try to get those of others, count again what waits."""
        for subscriber in self._subscribers.values():
            if not subscriber.is_stuck(now) and 0 < subscriber.lease_ends - now < LEASE_SECONDS - _RENEW_SECONDS:
                self._lead(subscriber, ignore, ignore)
        if self._subscribers and now - self._counted_at > _COUNT_SECONDS:
            self._counted_at = now
            self._count(list(self._subscribers))

    def _count(self, names: list[str]) -> None:
        stamps = {name: self._subscribers[name].stamp for name in names if name in self._subscribers}
        self._asker.ask(
            "waiting",
            params(array_of(names), self._max_events + _MAX_COUNTED),
            lambda rows: self._counted(rows, stamps),
            ignore,
        )

    def _counted(self, rows: Rows, stamps: Mapping[str, int]) -> None:
        for row in range(rows.ntuples):
            name, count, lost = text(rows, row, 0), number(rows, row, 1), number(rows, row, 2)
            subscriber = self._subscribers.get(name)
            # What the acknowledgement of an event says is lost is what that event has told.
            if subscriber is None or subscriber.acks or subscriber.is_delivering(self._loop.now()):
                continue
            if subscriber.stamp == stamps[name]:
                was_refused = 0 < subscriber.lead_after < self._loop.now()
                is_news = count > subscriber.waiting or was_refused
                if lost > subscriber.lost:  # the cursor was moved past what is lost: read it again
                    subscriber.lease_ends = 0.0
                subscriber.waiting, subscriber.is_counted, subscriber.lost = count, True, lost
                subscriber.counted_to = number(rows, row, 3)
                if subscriber.waiting and is_news:
                    self._ready.add(name)
        if self._ready:
            self._on_news()

    # Delivery.

    def next(self, name: str, done: Done[Event | None], failed: Failed) -> None:
        if name in self._dropped:
            done(None)
            return
        subscriber = self._subscribers.setdefault(name, _Subscriber(name))
        now = self._loop.now()
        if subscriber.lead_after > now or (subscriber.is_counted and not subscriber.waiting):
            done(None)
        elif subscriber.waiting - self._max_events > self._max_events * _SLACK:
            self._skip(subscriber, done, failed)
        elif subscriber.lease_ends - now > _MARGIN_SECONDS:
            self._next(subscriber, done, failed)
        else:
            self._lead_next(subscriber, done, failed)

    def _skip(self, subscriber: _Subscriber, done: Done[Event | None], failed: Failed) -> None:
        """More wait than may: begin with the oldest that is left, when the cursor is written."""
        if subscriber.acks:
            subscriber.when_written = lambda: self._skip(subscriber, done, failed)
            return

        def skipped(rows: Rows) -> None:
            subscriber.waiting -= number(rows, 0, 0) if rows.ntuples else 0
            subscriber.lease_ends = 0.0  # so that the cursor is read again
            self._lead_next(subscriber, done, failed)

        self._asker.ask("skip", params(self._max_events, subscriber.name), skipped, failed)

    def _lead_next(self, subscriber: _Subscriber, done: Done[Event | None], failed: Failed) -> None:
        self._lead(subscriber, lambda leads: self._next(subscriber, done, failed) if leads else done(None), failed)

    def _lead(self, subscriber: _Subscriber, then: Callable[[bool], None], failed: Failed) -> None:
        asked_at = self._loop.now()

        def leading(rows: Rows) -> None:
            if not rows.ntuples:
                subscriber.lease_ends = 0.0
                subscriber.lead_after = self._loop.now() + _ASK_SECONDS
                then(False)
                return
            generation, seq, k, lost = (number(rows, 0, at) for at in range(4))
            if generation != subscriber.generation or not subscriber.lease_ends:
                subscriber.generation = generation
                subscriber.told, subscriber.lost = (seq, k), lost
                subscriber.acked = subscriber.acked_lost = 0
                subscriber.causes = {at: cause for at, cause in subscriber.causes.items() if at > subscriber.told}
            if not subscriber.kinds:  # not yet subscribed in this process
                subscriber.kinds = frozenset(text(rows, 0, 4).strip("{}").split(","))
            subscriber.lease_ends, subscriber.lead_after = asked_at + LEASE_SECONDS, 0.0
            then(True)

        self._asker.ask("lead", params(subscriber.name, self._core, str(LEASE_SECONDS)), leading, failed)

    def _next(self, subscriber: _Subscriber, done: Done[Event | None], failed: Failed) -> None:
        wanted = params(*subscriber.told, array_of(sorted(subscriber.kinds)), subscriber.name)
        self._reader.ask("next_event", wanted, lambda rows: done(self._event(subscriber, rows)), failed)

    def _event(self, subscriber: _Subscriber, rows: Rows) -> Event | None:
        if not rows.ntuples:
            subscriber.waiting, subscriber.is_counted = 0, True
            return None
        place = number(rows, 0, 0), number(rows, 0, 1)
        subscriber.delivers_since = self._loop.now()
        kind, snippet_id, type_name, name = (text(rows, 0, at) for at in range(2, 6))
        version, at = number(rows, 0, 6), number(rows, 0, 7)
        cause = subscriber.causes.get(place, NO_CAUSE)
        event_id = place[0] * MAX_LINES + place[1]
        deleted = Deleted(*(rows.get_value(0, column) or b"" for column in (8, 9)))
        return Event(event_id, kind, snippet_id, type_name, name, version, at, subscriber.lost, cause, deleted)

    def ack(self, name: str, event_id: int) -> None:
        subscriber = self._subscribers.get(name)
        if subscriber is None:
            return
        told = divmod(event_id, MAX_LINES)
        if told <= subscriber.told:
            return
        subscriber.told = told
        subscriber.delivers_since = math.inf
        self._log_lost(subscriber)
        subscriber.acked += 1
        subscriber.acked_lost += subscriber.lost
        subscriber.lost = 0
        subscriber.causes.pop(told, None)
        subscriber.waiting = max(subscriber.waiting - 1, 0)
        subscriber.stamp += 1
        if subscriber.acks:
            return  # the one that waits takes the cursor with it
        subscriber.acks += 1
        self._write_cursor(subscriber)

    def _write_cursor(self, subscriber: _Subscriber) -> None:
        generation, told = subscriber.generation, subscriber.told
        acked, lost = subscriber.acked, subscriber.acked_lost
        subscriber.acked = subscriber.acked_lost = 0
        write = self._pending.begin(ALL)

        def written(_: object = None) -> None:
            self._pending.end(ALL, write)
            subscriber.acks -= 1
            if subscriber.told > told and subscriber.generation == generation:
                subscriber.acks += 1
                self._write_cursor(subscriber)
            elif subscriber.when_written is not None:
                then, subscriber.when_written = subscriber.when_written, None
                then()

        def failed(_: CallError) -> None:
            subscriber.acked += acked
            subscriber.acked_lost += lost
            written()

        cursor = params(subscriber.name, self._core, generation, *told, lost, acked)
        step = Step("ack", cursor, is_marked=False)
        self._writer.put(Write((step,), written, written, failed, has_line=False))

    def _log_lost(self, subscriber: _Subscriber) -> None:
        """Not for each event of a plugin that stays too slow."""
        subscriber.unlogged += subscriber.lost
        if subscriber.unlogged and self._loop.now() - subscriber.logged_at > _LOG_SECONDS:
            self._warn(
                f"{subscriber.name}: {subscriber.unlogged} events were dropped: more than limits.queued_events"
                f" ({self._max_events}) waited"
            )
            subscriber.unlogged, subscriber.logged_at = 0, self._loop.now()
