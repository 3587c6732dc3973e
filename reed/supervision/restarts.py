"""When a plugin whose process ended by itself is started again (DESIGN.md, Plugins).

    crash   1       2       3       4       5       6 within the window
    delay   0.2 s   0.4 s   0.8 s   1.6 s   3.2 s   none left: failed

Each delay is shortened by up to half, at random, so that plugins that fell together do not get up together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0


class Restarts:
    """The crashes of one plugin within the window."""

    __slots__ = ("_crashes", "_limit", "_random", "_window", "total")

    def __init__(self, limit: int, window: float, random: Callable[[], float]) -> None:
        self.total = 0  # restarts since the core began
        self._limit = limit
        self._window = window
        self._random = random  # from 0 to 1
        self._crashes: deque[float] = deque()

    def crash(self, now: float) -> float | None:
        """Note a crash. The seconds to wait before the next launch, or None when the window allows no other."""
        self._forget_before(now - self._window)
        self._crashes.append(now)
        if len(self._crashes) > self._limit:
            return None
        self.total += 1
        delay = min(_FIRST_DELAY * 2.0 ** (len(self._crashes) - 1), _LONGEST_DELAY)
        return delay * (1 - self._random() / 2)

    def clear(self) -> None:
        """A person asked for a start: earlier crashes do not count."""
        self._crashes.clear()

    @property
    def recent(self) -> int:
        return len(self._crashes)

    def _forget_before(self, moment: float) -> None:
        while self._crashes and self._crashes[0] <= moment:
            self._crashes.popleft()
