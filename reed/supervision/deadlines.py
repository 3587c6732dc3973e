"""What a plugin has time for: its present state, the delay before the next launch, and coming back to its socket.

    overdue_after ── OVERDUE        retry_after ── RETRY        return_within ── HUNG, unless `returned`

All are over with the state: `clear`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.registry.lifecycle import Event


class Deadlines:
    """The timers of one plugin; `take` gets their events, with the reason in words."""

    __slots__ = ("_loop", "_of_state", "_return", "_take")

    def __init__(self, loop: Loop, take: Callable[[Event, str], None]) -> None:
        self._loop = loop
        self._take = take
        self._of_state: Timer | None = None
        self._return: Timer | None = None

    def overdue_after(self, seconds: float, reason: str = "") -> None:
        self._of_state = self._loop.call_later(seconds, partial(self._take, Event.OVERDUE, reason))

    def retry_after(self, seconds: float) -> None:
        self._of_state = self._loop.call_later(seconds, partial(self._take, Event.RETRY, ""))

    def return_within(self, seconds: float, reason: str) -> None:
        """It has no connection: it must end, or come back."""
        if self._return is None:
            self._return = self._loop.call_later(seconds, partial(self._take, Event.HUNG, reason))

    def returned(self) -> None:
        if self._return is not None:
            self._return.cancel()
            self._return = None

    def clear(self) -> None:
        self.returned()
        if self._of_state is not None:
            self._of_state.cancel()
            self._of_state = None
