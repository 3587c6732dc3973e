"""Is a plugin alive? HEALTH_CHECK every 10 s; a plugin that misses three is hung (DESIGN.md, Plugins).

    ask ── any sign of life before the next tick ── ask …
      └─── none: a miss; at the third, `hung`

A check that could not be sent is no miss: the plugin is at a call, whose own deadline holds, or has no connection,
which has a deadline too.
"""

from __future__ import annotations

from collections.abc import Callable

from reed.config import Timing
from reed.loop.loop import Loop
from reed.loop.timers import Timer


class Health:
    """The checks of one process."""

    __slots__ = ("_ask", "_asked", "_hung", "_loop", "_timer", "_timing", "misses")

    def __init__(self, loop: Loop, timing: Timing, ask: Callable[[], bool], hung: Callable[[str], None]) -> None:
        self.misses = 0
        self._loop = loop
        self._timing = timing
        self._ask = ask  # sends a check; False: it was not sent
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
        self.alive()

    def alive(self) -> None:
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
        self._asked = self._ask()
        self._timer = self._loop.call_later(self._timing.health_interval, self._tick)
