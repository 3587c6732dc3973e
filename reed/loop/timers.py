"""Timers: a heap of deadlines, and an alarm that wakes poll at the earliest of them.

A cancelled timer is dropped when it is due, or once most of the heap is cancelled.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import os
import time
from collections.abc import Callable
from typing import Any

Callback = Callable[[], None]

_MIN_SWEEP = 64
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_EARLIEST, _LATEST = 1e-9, 1e9  # seconds that a timerfd can be set to; 0 would switch it off


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


class Alarm:
    """A timerfd that is readable from `when` on, in seconds of time.monotonic.

        not set ── set ──▶ set, not yet readable ── time passes ──▶ set, readable ── on_readable ──▶ not set

    poll without a timeout is faster: with one, the kernel starts and cancels a timer in every wait.
    """

    __slots__ = ("_set_time", "fd", "when")

    def __init__(self, fd: int, set_time: Callable[..., object]) -> None:
        self.fd = fd
        self.when = math.inf  # not set
        self._set_time = set_time

    def set(self, when: float) -> None:
        """Also when it is set; a time that has passed makes it readable at once."""
        seconds = min(max(when, _EARLIEST), _LATEST)
        self._set_time(self.fd, flags=_ABSOLUTE, initial=math.ceil(seconds * 1e9))
        self.when = when

    def on_readable(self) -> None:
        self.when = math.inf
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)


def make_alarm() -> Alarm | None:
    """None where Python or the kernel has no timerfd: Python has it from 3.13 on."""
    library: Any = os
    if not hasattr(os, "timerfd_create"):
        return None
    try:
        fd = library.timerfd_create(time.CLOCK_MONOTONIC, flags=library.TFD_NONBLOCK | library.TFD_CLOEXEC)
    except OSError:  # refused by a seccomp profile
        return None
    return Alarm(fd, library.timerfd_settime_ns)
