"""A plugin that events are delivered to: what this core knows of its lease, its cursor, and the event that is out.

    state      entered                                  the next event
    UNKNOWN    at the start; the database's cursor is   asks for the lease, whose answer is the cursor
               not where this core has moved it
    OURS       the lease was granted                    is read from the log, unless the lease ends soon; then it is
                                                        asked for again, as it is every five seconds without events
    ELSEWHERE  it was refused, since another core has   none, until `until`; then, if events wait, it is asked for
               it; or this core gave it up, since no
               event was acknowledged for ten minutes
    NOT_HERE   the plugin no longer takes events here   none

The lease is by the database's clock. Its generation is a fence: a core that was frozen, and no longer leads, cannot
move the cursor. An event may be delivered again after a crash; events of a plugin come in the order of their commits.

The cursor in memory (`told`) runs ahead of the database's: one write of it is out at a time, with all that was
acknowledged before; if it fails, `tick` writes it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from reed.store.base import Cause
from reed.store.postgres.backlog import START, Backlog, Place


class Lease(Enum):
    UNKNOWN = auto()
    OURS = auto()
    ELSEWHERE = auto()
    NOT_HERE = auto()


@dataclass(slots=True)
class Subscriber:
    name: str
    kinds: frozenset[str] = frozenset()  # without any, in the state UNKNOWN: those that the database has
    backlog: Backlog = field(default_factory=Backlog)
    lease: Lease = Lease.UNKNOWN
    until: float = 0.0  # OURS: the lease ends; ELSEWHERE: ask again then
    generation: int = 0  # of the lease
    leases_given_up: int = 0  # an answer from before is ignored
    is_renewing: bool = False
    owes_since: float = 0.0  # the event that is next; now if none waits
    out: Place | None = None  # the event that was given out, and is not acknowledged
    told: Place = START  # the last event that was acknowledged
    seen: Place = START  # the database's cursor was there; if that is beyond `told`, the events between count as lost
    lost: int = 0  # skipped, and the plugin does not know
    acked: int = 0  # events since the cursor was written
    acked_lost: int = 0  # that these have reported
    is_writing: bool = False  # the cursor
    when_written: Callable[[], None] | None = None  # the next event waits for it
    when_counted: Callable[[], None] | None = None  # it waits until `backlog` is counted: too many may wait
    causes: dict[Place, Cause] = field(default_factory=dict)
    unlogged: int = 0  # lost ones
    logged_at: float = -math.inf

    def give_up(self, lease: Lease, until: float = 0.0) -> None:
        self.lease, self.until, self.is_renewing = lease, until, False
        self.leases_given_up += 1

    def begin_at(self, cursor: Place, lost: int, now: float) -> None:
        """The lease was granted: with the database's cursor."""
        self.told, self.seen, self.lost, self.out = cursor, cursor, lost, None
        self.acked = self.acked_lost = 0
        self.causes = {at: cause for at, cause in self.causes.items() if at > cursor}
        self.owes_since = now
        self.backlog.forget(cursor)  # lines that the cursor passed may have been deleted before they were counted

    def renewed(self, cursor: Place, lost: int) -> None:
        """The lease was granted once more, while it was ours: with the database's cursor."""
        self.seen = max(self.seen, cursor)
        if self.is_at_rest and self.told == cursor:
            self.lost = lost

    def run_when_counted(self) -> None:
        then, self.when_counted = self.when_counted, None
        if then is not None:
            then()

    @property
    def is_at_rest(self) -> bool:
        """No event is out, and the database has the cursor."""
        return self.out is None and not self.acked and not self.is_writing
