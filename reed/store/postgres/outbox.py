"""Events for plugins, from the log: a cursor for each plugin, and one core at a time that delivers to it.

    subscribers(name, told, k, leader, generation, lease)   the next event: the next line of its kinds behind `told, k`

Beyond `max_events` waiting ones (`backlog`) the cursor skips the oldest, and `subscribers.lost` counts them until the
next event that was delivered is acknowledged, which has told the plugin. `trimming` does the same with old lines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from reed.errors import CallError
from reed.store.base import NO_CAUSE, Cause, CauseOf, Done, Event, Failed, no_cause
from reed.store.context import StoreLoop
from reed.store.deleted import Deleted
from reed.store.postgres.backlog import Answer, Place, State
from reed.store.postgres.follower import LogLine
from reed.store.postgres.leases import LEASE_SECONDS, Leases
from reed.store.postgres.log_statements import ALL_LINES
from reed.store.postgres.operation import ALL, Pending
from reed.store.postgres.reader import Reader
from reed.store.postgres.subscriber import Lease, Subscriber
from reed.store.postgres.values import Rows, array_of, ignore, number, params, text
from reed.store.postgres.writer import MAX_LINES, Step, Write, Writer

_RENEW_SECONDS = LEASE_SECONDS / 3
_MARGIN_SECONDS = LEASE_SECONDS / 2  # a delivery begins only if the lease lasts longer than this
_MAX_DELIVERY = 600.0  # seconds; then another core may try: this one's plugin is stopped, or always fails
_GIVEN_UP_SECONDS = 6.0  # that the others have to take the lease
_COUNT_SECONDS = 2.0  # between two questions how many wait
_SLACK = 0.01  # of those that may wait; so many more may, since skipping takes a statement
_LOG_SECONDS = 60.0  # between two lines about lost events


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
        self._leases = Leases(loop, self._core, asker)
        self._asker = asker
        self._reader = reader
        self._writer = writer
        self._pending = pending
        self._max_events = max_events
        self._on_news = on_news
        self._warn = warn
        self._cause_of: CauseOf = no_cause
        self._subscribers: dict[str, Subscriber] = {}
        self._by_kind: dict[str, list[Subscriber]] = {}
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
            found = self._subscribers.setdefault(name, Subscriber(name))
            if found.kinds != wanted:
                found.kinds = frozenset(wanted)
                self._announce(found)
            if found.lease is Lease.NOT_HERE:
                found.lease = Lease.UNKNOWN
        for name, found in self._subscribers.items():
            if name not in kinds and found.lease is not Lease.NOT_HERE:
                found.kinds = frozenset()
                self._leases.give_up(found, Lease.NOT_HERE)
        self._by_kind = {
            kind: [found for found in self._subscribers.values() if kind in found.kinds] for kind in subscribers
        }

    def _announce(self, subscriber: Subscriber) -> None:
        """With the next batch, so that the writes which are begun from now on are events for it."""

        def announced(_: object = None) -> None:
            subscriber.backlog.forget(subscriber.told)
            self._count([subscriber])

        step = Step("subscribe", params(subscriber.name, array_of(sorted(subscriber.kinds))), is_marked=False)
        self._writer.put(Write((step,), announced, announced, ignore, has_line=False))

    def connected(self) -> None:
        """The follower has a connection (again): the database may not know of these subscribers."""
        for subscriber in self._subscribers.values():
            if subscriber.lease is Lease.ELSEWHERE:
                subscriber.until = 0.0
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
            self._leases.give_up(subscriber, Lease.ELSEWHERE)

    @property
    def counts(self) -> dict[str, int]:
        """Waiting events by subscriber, of those that this core delivers to, or would."""
        return {
            name: min(found.backlog.waiting, self._max_events)
            for name, found in self._subscribers.items()
            if found.backlog.waiting
        }

    # New events.

    def causes(self, kind: str, by: str, snippet_id: str) -> Cause:
        """To be asked when a write begins, and given to `added`."""
        if by and any(found.name != by for found in self._by_kind.get(kind, ())):
            return self._cause_of(by, snippet_id)
        return NO_CAUSE

    def added(self, kind: str, by: str, at: Place, cause: Cause) -> None:
        """This core has committed a change."""
        for subscriber in self._by_kind.get(kind, ()):
            if subscriber.name != by:
                subscriber.backlog.heard(at[0])
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
        for subscriber in self._subscribers.values():
            self._tick(subscriber, now)
        if self._subscribers and now - self._counted_at > _COUNT_SECONDS:
            self._counted_at = now
            self._count(list(self._subscribers.values()))
        if self._ready:
            self._on_news()

    def _tick(self, subscriber: Subscriber, now: float) -> None:
        """Renew the lease, give it up, or try to get it; write a cursor that could not be written."""
        if not subscriber.backlog.waiting:
            subscriber.owes_since = now
        if subscriber.lease is Lease.OURS:
            if now - subscriber.owes_since > _MAX_DELIVERY:
                self._warn(
                    f"{subscriber.name}: no event was acknowledged for {_MAX_DELIVERY:g} s; another core may try"
                )
                self._leases.give_up(subscriber, Lease.ELSEWHERE, now + _GIVEN_UP_SECONDS)
            elif subscriber.until - now < LEASE_SECONDS - _RENEW_SECONDS and not subscriber.is_renewing:
                self._leases.renew(subscriber)
        elif subscriber.lease is Lease.ELSEWHERE and subscriber.backlog.waiting and subscriber.until <= now:
            self._ready.add(subscriber.name)
        if subscriber.acked and not subscriber.is_writing:
            self._write_cursor(subscriber)

    # How many wait.

    def _count(self, subscribers: list[Subscriber]) -> None:
        asked = {each.name: (each, question) for each in subscribers if (question := each.backlog.ask()) is not None}

        def counted(rows: Rows) -> None:
            more = []
            for row in range(rows.ntuples):
                subscriber, question = asked.pop(text(rows, row, 0))
                told, k, head, lines, read_to = (number(rows, row, at) for at in range(1, 6))
                waited = subscriber.backlog.waiting
                if subscriber.backlog.answered(question, Answer((told, k), head, lines, read_to)):
                    more.append(subscriber)
                elif subscriber.backlog.state is State.COUNTED:
                    subscriber.run_when_counted()
                if not waited and subscriber.backlog.waiting:
                    self._ready.add(subscriber.name)
                subscriber.seen = max(subscriber.seen, (told, k))
            failed()  # those that the database does not know
            if more:
                self._count(more)
            if self._ready:
                self._on_news()

        def failed(_: object = None) -> None:
            for subscriber, question in asked.values():
                subscriber.backlog.failed(question)
                subscriber.run_when_counted()

        if asked:
            places = zip(*((*question.behind, question.until) for _, question in asked.values()), strict=True)
            self._asker.ask("waiting", params(array_of(asked), *map(array_of, places)), counted, failed)

    # Delivery.

    def next(self, name: str, done: Done[Event | None], failed: Failed) -> None:
        if name in self._dropped:
            done(None)
            return
        subscriber = self._subscribers.setdefault(name, Subscriber(name))
        now = self._loop.now()
        is_elsewhere = subscriber.lease is Lease.ELSEWHERE and subscriber.until > now
        if is_elsewhere or subscriber.lease is Lease.NOT_HERE or subscriber.backlog.is_empty:
            done(None)
        elif subscriber.lease is Lease.OURS and subscriber.told < subscriber.seen:
            self._lead_again(subscriber, done, failed)
        elif subscriber.lease is Lease.OURS and subscriber.until - now > _MARGIN_SECONDS:
            self._next(subscriber, done, failed)
        else:
            self._lead_next(subscriber, done, failed)

    def _lead_next(self, subscriber: Subscriber, done: Done[Event | None], failed: Failed) -> None:
        def asked(leads: bool) -> None:
            if leads:
                self._next(subscriber, done, failed)
            else:
                done(None)

        self._leases.lead(subscriber, asked, failed)

    def _lead_again(self, subscriber: Subscriber, done: Done[Event | None], failed: Failed) -> None:
        """Go on from the database's cursor, once the database has what this core acknowledged."""
        if subscriber.acked or subscriber.is_writing:
            subscriber.when_written = lambda: self.next(subscriber.name, done, failed)
        else:
            subscriber.give_up(Lease.UNKNOWN)
            self._lead_next(subscriber, done, failed)

    def _next(self, subscriber: Subscriber, done: Done[Event | None], failed: Failed) -> None:
        if subscriber.backlog.waiting > self._max_events and subscriber.backlog.state is not State.COUNTED:
            subscriber.when_counted = lambda: self._next_counted(subscriber, done, failed)
            self._count([subscriber])
        else:
            self._next_counted(subscriber, done, failed)

    def _next_counted(self, subscriber: Subscriber, done: Done[Event | None], failed: Failed) -> None:
        too_many = subscriber.backlog.surely - self._max_events
        if too_many > self._max_events * _SLACK:
            self._skip(subscriber, too_many, done, failed)
        else:
            self._read_next(subscriber, subscriber.told, subscriber.backlog.waiting, done, failed)

    def _skip(self, subscriber: Subscriber, count: int, done: Done[Event | None], failed: Failed) -> None:
        """More wait than may: begin with the oldest that is left, when the cursor is written."""
        if subscriber.acked or subscriber.is_writing:
            subscriber.when_written = lambda: self._next(subscriber, done, failed)
            return

        def skipped(rows: Rows) -> None:
            lines, seq, k, lost = (number(rows, 0, at) if rows.ntuples else 0 for at in range(4))
            if (seq, k) <= subscriber.told:  # the lease is over, the cursor was moved, or fewer wait
                subscriber.backlog.forget(subscriber.told)
                subscriber.give_up(Lease.UNKNOWN)
                self._leases.lead(subscriber, begin, failed)
                return
            subscriber.told, subscriber.lost, subscriber.out = (seq, k), lost, None
            subscriber.backlog.lost(subscriber.told, lines)
            self._next(subscriber, done, failed)

        def begin(leads: bool) -> None:
            if leads:
                self._read_next(subscriber, subscriber.told, subscriber.backlog.waiting, done, failed)
            else:
                done(None)

        lease = self._core, subscriber.generation
        self._asker.ask("skip", params(count, subscriber.name, *lease, *subscriber.told), skipped, failed)

    def _read_next(
        self, subscriber: Subscriber, behind: Place, waiting: int, done: Done[Event | None], failed: Failed
    ) -> None:
        """So many were `waiting` when the reading began."""

        def read(rows: Rows) -> None:
            read_to = number(rows, 0, 10)
            if subscriber.lease is not Lease.OURS or subscriber.until <= self._loop.now():
                self.next(subscriber.name, done, failed)  # the lease ended meanwhile
            elif rows.get_value(0, 0) is not None:
                done(self._event(subscriber, rows))
            elif read_to:
                self._read_next(subscriber, (read_to, ALL_LINES), waiting, done, failed)
            elif subscriber.backlog.read_none(waiting):
                done(None)
            else:
                self._read_next(subscriber, subscriber.told, subscriber.backlog.waiting, done, failed)

        wanted = params(*behind, array_of(sorted(subscriber.kinds)), subscriber.name)
        self._reader.ask("next_event", wanted, read, failed)

    def _event(self, subscriber: Subscriber, rows: Rows) -> Event:
        place = subscriber.out = number(rows, 0, 0), number(rows, 0, 1)
        kind, snippet_id, type_name, name = (text(rows, 0, at) for at in range(2, 6))
        version, at = number(rows, 0, 6), number(rows, 0, 7)
        cause = subscriber.causes.get(place, NO_CAUSE)
        event_id = place[0] * MAX_LINES + place[1]
        deleted = Deleted(*(rows.get_value(0, column) or b"" for column in (8, 9)))
        return Event(event_id, kind, snippet_id, type_name, name, version, at, subscriber.lost, cause, deleted)

    def ack(self, name: str, event_id: int) -> None:
        subscriber = self._subscribers.get(name)
        told = divmod(event_id, MAX_LINES)
        # A core that has lost the lease moves nothing: another one delivers this event again.
        if subscriber is None or told <= subscriber.told or subscriber.lease is not Lease.OURS:
            return
        subscriber.told, subscriber.out, subscriber.owes_since = told, None, self._loop.now()
        self._log_lost(subscriber)
        subscriber.acked += 1
        subscriber.acked_lost += subscriber.lost
        subscriber.lost = 0
        subscriber.causes.pop(told, None)
        subscriber.backlog.acknowledged(told)
        if not subscriber.is_writing:
            self._write_cursor(subscriber)

    def _write_cursor(self, subscriber: Subscriber) -> None:
        generation, told = subscriber.generation, subscriber.told
        acked, lost = subscriber.acked, subscriber.acked_lost
        subscriber.acked = subscriber.acked_lost = 0
        subscriber.is_writing = True
        write = self._pending.begin(ALL)

        def written(_: object = None) -> None:
            ended()
            if subscriber.acked:
                self._write_cursor(subscriber)

        def failed(_: CallError) -> None:
            if subscriber.generation == generation:  # `tick` writes it again
                subscriber.acked += acked
                subscriber.acked_lost += lost
            ended()

        def ended() -> None:
            self._pending.end(ALL, write)
            subscriber.is_writing = False
            if subscriber.when_written is not None and not subscriber.acked:
                then, subscriber.when_written = subscriber.when_written, None
                then()

        cursor = params(subscriber.name, self._core, generation, *told, lost, acked)
        step = Step("ack", cursor, is_marked=False)
        self._writer.put(Write((step,), written, written, failed, has_line=False))

    def _log_lost(self, subscriber: Subscriber) -> None:
        """Not for each event of a plugin that stays too slow."""
        subscriber.unlogged += subscriber.lost
        if subscriber.unlogged and self._loop.now() - subscriber.logged_at > _LOG_SECONDS:
            self._warn(
                f"{subscriber.name}: {subscriber.unlogged} events were dropped: more than limits.queued_events"
                f" ({self._max_events}) waited"
            )
            subscriber.unlogged, subscriber.logged_at = 0, self._loop.now()
