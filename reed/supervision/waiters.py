"""Who waits for a plugin: each asked for its start, or for its end, and is told once."""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import CallError

Done = Callable[[], None]
Failed = Callable[[CallError], None]


class Waiting:
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

    def move_to(self, other: Waiting) -> None:
        """They wait there now."""
        other._who += self._who
        self._who = []
