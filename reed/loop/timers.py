"""Timers: a heap of deadlines. A cancelled one is dropped when it is due, or once most of the heap is cancelled."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

Callback = Callable[[], None]

_MIN_SWEEP = 64


class Timer:
    """May be cancelled at any time and more than once."""

    __slots__ = ("_timers", "callback", "when")

    def __init__(self, when: float, callback: Callback, timers: Timers) -> None:
        self.when = when
        self.callback: Callback | None = callback
        self._timers = timers

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._timers.cancelled += 1


class Timers:
    """Times are seconds of the loop's clock."""

    __slots__ = ("_heap", "cancelled", "earliest")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self.cancelled = 0
        self.earliest = math.inf  # no timer is due earlier

    def __len__(self) -> int:
        return len(self._heap) - self.cancelled

    def add(self, when: float, callback: Callback) -> Timer:
        timer = Timer(when, callback, self)
        heapq.heappush(self._heap, timer)
        self.earliest = min(self.earliest, when)
        # Most timeouts are cancelled long before they are due.
        if self.cancelled > _MIN_SWEEP and self.cancelled * 2 > len(self._heap):
            self._sweep()
        return timer

    def next_deadline(self) -> float | None:
        heap = self._heap
        while heap and heap[0].callback is None:
            heapq.heappop(heap)
            self.cancelled -= 1
        if not heap:
            self.earliest = math.inf
            return None
        self.earliest = heap[0].when
        return self.earliest

    def pop_due(self, now: float) -> Callback | None:
        when = self.next_deadline()
        if when is None or when > now:
            return None
        timer = heapq.heappop(self._heap)
        callback, timer.callback = timer.callback, None
        return callback

    def _sweep(self) -> None:
        self._heap = [timer for timer in self._heap if timer.callback is not None]
        heapq.heapify(self._heap)
        self.cancelled = 0
