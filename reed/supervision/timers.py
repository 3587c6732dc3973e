"""What a plugin has time for.

Deadlines     of its phase: TIMED_OUT or RETRY, over with the phase; of coming back to its socket: HUNG
HealthCheck   HEALTH_CHECK every 10 s; a plugin that misses three is HUNG
Backoff       the delay before a process that ended by itself is started again
"""

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
    """The timers of one plugin; `handle` gets their triggers, with the reason in words."""

    __slots__ = ("_handle", "_loop", "_of_phase", "_of_return")

    def __init__(self, loop: Loop, handle: Callable[[Trigger, str], None]) -> None:
        self._loop = loop
        self._handle = handle
        self._of_phase: Timer | None = None
        self._of_return: Timer | None = None

    def time_out_after(self, seconds: float, reason: str = "") -> None:
        self._of_phase = self._loop.call_later(seconds, partial(self._handle, Trigger.TIMED_OUT, reason))

    def retry_after(self, seconds: float) -> None:
        self._of_phase = self._loop.call_later(seconds, partial(self._handle, Trigger.RETRY, ""))

    def return_within(self, seconds: float, reason: str) -> None:
        """It has no connection: it must end, or come back. Unless `returned`, it is HUNG."""
        if self._of_return is None:
            self._of_return = self._loop.call_later(seconds, partial(self._handle, Trigger.HUNG, reason))

    def returned(self) -> None:
        if self._of_return is not None:
            self._of_return.cancel()
            self._of_return = None

    def clear(self) -> None:
        self.returned()
        if self._of_phase is not None:
            self._of_phase.cancel()
            self._of_phase = None


class HealthCheck:
    """Asks at each interval. An interval without any sign of life after a check is a miss.

    A check that could not be sent is no miss: the plugin is at a call, whose own deadline holds, or has no connection,
    which has a deadline too.
    """

    __slots__ = ("_asked", "_hung", "_loop", "_send", "_timer", "_timing", "misses")

    def __init__(self, loop: Loop, timing: Timing, send: Callable[[], bool], hung: Callable[[str], None]) -> None:
        self.misses = 0
        self._loop = loop
        self._timing = timing
        self._send = send  # False: it was not sent
        self._hung = hung
        self._asked = False
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
        """The plugin gave a sign of life."""
        self.misses = 0
        self._asked = False

    def _tick(self) -> None:
        if self._asked:
            self.misses += 1
        if self.misses >= self._timing.health_misses:
            self._timer = None
            self._hung(f"killed: it did not answer {self.misses} health checks")
            return
        self._asked = self._send()
        self._timer = self._loop.call_later(self._timing.health_interval, self._tick)


class Backoff:
    """The crashes of one plugin within the window.

        crash   1       2       3       4       5       6 within the window
        delay   0.2 s   0.4 s   0.8 s   1.6 s   3.2 s   none left: failed

    Each delay is shortened by up to half, at random, so that plugins that fell together do not get up together.
    """

    __slots__ = ("_crashes", "_limit", "_random", "_window", "total")

    def __init__(self, limit: int, window: float, random: Callable[[], float]) -> None:
        self.total = 0  # restarts since the core began
        self._limit = limit
        self._window = window
        self._random = random  # from 0 to 1
        self._crashes: deque[float] = deque()

    def crash(self, now: float) -> float | None:
        """Note a crash. The seconds to wait before the next launch, or None when the window allows no other."""
        while self._crashes and self._crashes[0] <= now - self._window:
            self._crashes.popleft()
        self._crashes.append(now)
        if len(self._crashes) > self._limit:
            return None
        self.total += 1
        delay = min(_FIRST_DELAY * 2.0 ** (len(self._crashes) - 1), _MAX_DELAY)
        return delay * (1 - self._random() / 2)

    def clear(self) -> None:
        """A person asked for a start: earlier crashes do not count."""
        self._crashes.clear()

    @property
    def recent(self) -> int:
        return len(self._crashes)
