"""The timers of one plugin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from reed.config import Timing
from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.supervision.lifecycle import Trigger

_FIRST_DELAY = 0.2
_MAX_DELAY = 10.0


class Deadlines:
    """Of a phase, and of reconnecting. `handle` gets the trigger and the reason."""

    __slots__ = ("_handle", "_loop", "_of_phase", "_of_reconnect")

    def __init__(self, loop: Loop, handle: Callable[[Trigger, str], None]) -> None:
        self._loop = loop
        self._handle = handle
        self._of_phase: Timer | None = None
        self._of_reconnect: Timer | None = None

    def time_out_after(self, seconds: float, reason: str = "") -> None:
        self._of_phase = self._loop.call_later(seconds, partial(self._handle, Trigger.TIMED_OUT, reason))

    def retry_after(self, seconds: float) -> None:
        self._of_phase = self._loop.call_later(seconds, partial(self._handle, Trigger.RETRY, ""))

    def reconnect_within(self, seconds: float, reason: str) -> None:
        if self._of_reconnect is None:
            self._of_reconnect = self._loop.call_later(seconds, partial(self._handle, Trigger.HUNG, reason))

    def reconnected(self) -> None:
        if self._of_reconnect is not None:
            self._of_reconnect.cancel()
            self._of_reconnect = None

    def clear(self) -> None:
        self.reconnected()
        if self._of_phase is not None:
            self._of_phase.cancel()
            self._of_phase = None


class HealthCheck:
    """An interval in which the plugin sends nothing after a check is a miss.

    A check that could not be sent is no miss: a call in flight or a missing connection has its own deadline.
    """

    __slots__ = ("_hung", "_loop", "_send", "_sent", "_timer", "_timing", "misses")

    def __init__(self, loop: Loop, timing: Timing, send: Callable[[], bool], hung: Callable[[str], None]) -> None:
        self.misses = 0
        self._loop = loop
        self._timing = timing
        self._send = send
        self._hung = hung
        self._sent = False
        self._timer: Timer | None = None

    def start(self) -> None:
        self.stop()
        self._timer = self._loop.call_later(self._timing.health_interval, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.answer()

    def answer(self) -> None:
        self.misses = 0
        self._sent = False

    def _tick(self) -> None:
        if self._sent:
            self.misses += 1
        if self.misses >= self._timing.health_misses:
            self._timer = None
            self._hung(f"killed: it did not answer {self.misses} health checks")
            return
        self._sent = self._send()
        self._timer = self._loop.call_later(self._timing.health_interval, self._tick)


class Backoff:
    """The delay before a crashed process is started again: 0.2 s, 0.4 s, … for each crash within the window.

    Jitter shortens it by up to half, so that plugins that crashed together do not restart together.
    """

    __slots__ = ("_crashes", "_limit", "_random", "_window", "total")

    def __init__(self, limit: int, window: float, random: Callable[[], float]) -> None:
        self.total = 0  # restarts since the core started
        self._limit = limit
        self._window = window
        self._random = random  # from 0 to 1
        self._crashes: deque[float] = deque()

    def crash(self, now: float) -> float | None:
        """Returns the delay in seconds, or None once the window allows no further restart."""
        while self._crashes and self._crashes[0] <= now - self._window:
            self._crashes.popleft()
        self._crashes.append(now)
        if len(self._crashes) > self._limit:
            return None
        self.total += 1
        delay = min(_FIRST_DELAY * 2.0 ** (len(self._crashes) - 1), _MAX_DELAY)
        return delay * (1 - self._random() / 2)

    def clear(self) -> None:
        self._crashes.clear()

    @property
    def recent(self) -> int:
        return len(self._crashes)
