"""Callers that wait for a plugin to start, stop or reload: each is told once."""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import CallError

Done = Callable[[], None]
Failed = Callable[[CallError], None]


class Waiters:
    """A list that is emptied before anyone is told: who is told may ask again."""

    __slots__ = ("_who",)

    def __init__(self) -> None:
        self._who: list[tuple[Done, Failed]] = []

    def add(self, done: Done, failed: Failed) -> None:
        self._who.append((done, failed))

    def done(self) -> None:
        who, self._who = self._who, []
        for done, _ in who:
            done()

    def fail(self, error: CallError) -> None:
        who, self._who = self._who, []
        for _, failed in who:
            failed(error)

    def move_to(self, other: Waiters) -> None:
        """They wait there now."""
        other._who += self._who
        self._who = []
