"""Jobs that a store submits to worker processes (workers.md).

store ── submit(kind, arguments) ──▶ a worker runs the function that HANDLERS of the store name for the kind
      ◀── done(value) | failed(error) ── in a later turn
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from reed.errors import CallError, Internal

Release = Callable[[], None]


class Origin(NamedTuple):
    """Whose operation it is. Writes of one origin keep their order; origins take turns with jobs."""

    caller: str  # as in the log: "alice (uid 1000)", "plugin simple-seo"
    connection: int = 0
    plugin: str = ""


THE_STORE = Origin("the store")


class Deadline(NamedTuple):
    """Processor time of a job; by the clock it has `patience` times as long, since workers have low priority."""

    seconds: float
    setting: str  # of reed.yaml, that changes it
    patience: int = 4


class Deadlines(NamedTuple):
    search: Deadline = Deadline(2.0, "timing.search_timeout")
    job: Deadline = Deadline(10.0, "timing.job_timeout")


DEADLINES = Deadlines()


class Workers(Protocol):
    def submit(
        self,
        kind: str,
        arguments: tuple[Any, ...],
        done: Callable[[Any], None],
        failed: Callable[[CallError], None],
        *,
        origin: Origin,
        deadline: Deadline,
    ) -> None:
        """Run a handler; call `done` or `failed`."""

    def hold(self, callback: Callable[[Release], None]) -> None:
        """Begin no job, and call `callback` when none runs; jobs begin again when it calls its argument."""

    def over_budget(self) -> bool:
        """Whether this turn of the loop has used up its time. The caller then leaves the rest to `call_soon`."""

    def call_soon(self, callback: Callable[[], None]) -> None: ...


class OrderedJobs:
    """While a job of an origin is away, later operations of that origin wait."""

    def __init__(self, workers: Workers, deadline: Deadline) -> None:
        self._workers = workers
        self._deadline = deadline
        self.away: dict[Origin, deque[Callable[[], None]]] = {}  # what waits for the job of an origin

    @property
    def is_idle(self) -> bool:
        return not self.away

    def when_back(self, done: Callable[[], None]) -> None:
        """Call it when the jobs that are away now, and the operations that wait for them, have been carried on with."""
        left = len(self.away)

        def back() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for waiting in self.away.values():
            waiting.append(back)
        if not left:
            done()

    def has_away(self, origin: Origin) -> bool:
        return bool(self.away) and origin in self.away

    def in_order(self, origin: Origin, begin: Callable[[], None], failed: Callable[[CallError], None]) -> None:
        """Begin an operation: now, or when the jobs of this origin before it are back."""
        if self.away and origin in self.away:
            self.away[origin].append(partial(run, begin, failed))
        else:
            begin()

    def submit(
        self,
        kind: str,
        arguments: tuple[Any, ...],
        done: Callable[[Any], None],
        failed: Callable[[CallError], None],
        origin: Origin,
    ) -> None:
        """Only from an operation that was begun `in_order`."""
        back = self.leave(origin, failed)
        self._workers.submit(
            kind,
            arguments,
            lambda answer: back(lambda: done(answer)),
            lambda error: back(lambda: failed(error)),
            origin=origin,
            deadline=self._deadline,
        )

    def leave(self, origin: Origin, failed: Callable[[CallError], None]) -> Callable[[Callable[[], None]], None]:
        """An operation that was begun `in_order` is away until the returned function is called: that runs its argument,
        then what has waited, until another one is away."""
        self.away.setdefault(origin, deque())

        def back(callback: Callable[[], None]) -> None:
            waiting = self.away.pop(origin)
            try:
                run(callback, failed)
            finally:
                self._carry_on(origin, waiting)

        return back

    def _carry_on(self, origin: Origin, waiting: deque[Callable[[], None]]) -> None:
        """Run what has waited, thousands of operations perhaps: the next turn goes on when this one has no time."""
        while waiting and origin not in self.away:
            if self._workers.over_budget():
                self._workers.call_soon(lambda: self._carry_on(origin, self.away.pop(origin)))
                self.away[origin] = waiting
                return
            waiting.popleft()()
        if waiting:
            self.away[origin].extend(waiting)


def run(begin: Callable[[], None], failed: Callable[[CallError], None]) -> None:
    """Run a continuation: an error goes to `failed`; so does a bug, which is raised too."""
    try:
        begin()
    except CallError as error:
        failed(error)
    except Exception as bug:
        failed(Internal.of(bug))
        raise
