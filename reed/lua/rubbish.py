"""What a neighbour's FIFO brings that is of no use, and when its writer is not heard for a while.

    bytes of no message, repeats of one ── add ──> a level that sinks with time ── over the limit: cut off a minute

A writer that dies in the middle of messages, and one that asks again for its answers, stay far below the limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from reed.wire.frames import MAX_PAYLOAD

CUT = 60.0  # seconds that a writer is not heard
LIMIT = 2 * MAX_PAYLOAD  # bytes: two messages of the longest, torn at once
REPEAT = 4096  # bytes that a repeated message counts as: it costs an answer


class Rubbish:
    """Of one FIFO."""

    __slots__ = ("_clock", "_level", "_since", "_until")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._level = 0.0
        self._since = clock()
        self._until = 0.0

    def add(self, size: int) -> bool:
        """Whether that was too much: from now on its writer is cut off."""
        now = self._clock()
        self._level = max(self._level - (now - self._since) * LIMIT / CUT, 0.0) + size
        self._since = now
        if self._level <= LIMIT:
            return False
        self._level, self._until = 0.0, now + CUT
        return True

    @property
    def is_cut_off(self) -> bool:
        return self._until > 0.0 and self._clock() < self._until
