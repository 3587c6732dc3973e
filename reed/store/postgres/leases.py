"""Leases of the plugins that events are delivered to, in the database: which core delivers (the states: `subscriber`).

    lead       The lease is this core's already, or nobody's, or over: it is OURS, and delivery begins at the cursor
               that the database has. Another core has it: ELSEWHERE; this core asks again after two seconds at the
               earliest.
    renew      `lead`, while the lease is OURS: delivery goes on from the cursor in memory.
    give_up    Another core may have the lease at once. An answer that is still to come changes nothing.

A lease ends by the database's clock.
"""

from __future__ import annotations

from collections.abc import Callable

from reed.store.base import Failed
from reed.store.context import StoreLoop
from reed.store.postgres.reader import Reader
from reed.store.postgres.subscriber import Lease, Subscriber
from reed.store.postgres.values import Rows, ignore, number, params, text

LEASE_SECONDS = 15.0
_ASK_SECONDS = 2.0  # between two attempts to lead


class Leases:
    def __init__(self, loop: StoreLoop, core: bytes, asker: Reader) -> None:
        self._loop = loop
        self._core = core
        self._asker = asker

    def renew(self, subscriber: Subscriber) -> None:
        def ended(_: object) -> None:
            subscriber.is_renewing = False

        subscriber.is_renewing = True
        self.lead(subscriber, ended, ended)

    def lead(self, subscriber: Subscriber, then: Callable[[bool], None], failed: Failed) -> None:
        asked_at, given_up = self._loop.now(), subscriber.leases_given_up

        def leading(rows: Rows) -> None:
            if given_up != subscriber.leases_given_up:
                then(False)
                return
            if not rows.ntuples:
                subscriber.lease, subscriber.until = Lease.ELSEWHERE, self._loop.now() + _ASK_SECONDS
                then(False)
                return
            generation, seq, k, lost = (number(rows, 0, at) for at in range(4))
            if generation != subscriber.generation or subscriber.lease is not Lease.OURS:
                subscriber.generation = generation
                subscriber.begin_at((seq, k), lost, self._loop.now())
            else:
                subscriber.renewed((seq, k), lost)
            if not subscriber.kinds:  # not yet subscribed in this process
                subscriber.kinds = frozenset(text(rows, 0, 4).strip("{}").split(","))
            subscriber.lease, subscriber.until = Lease.OURS, asked_at + LEASE_SECONDS
            then(True)

        self._asker.ask("lead", params(subscriber.name, self._core, str(LEASE_SECONDS)), leading, failed)

    def give_up(self, subscriber: Subscriber, state: Lease, until: float = 0.0) -> None:
        if subscriber.lease is Lease.OURS or subscriber.is_renewing:
            self._asker.ask("yield", params(subscriber.name, self._core), ignore, ignore)
        subscriber.give_up(state, until)
