"""Who waits for a plugin: each asked for its start, or for its end, and is told once."""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import CallError, Invalid

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


class Gathering:
    """Several things that end, each well or with an error; who waits is told when all have."""

    __slots__ = ("_errors", "_left", "_who")

    def __init__(self) -> None:
        self._left = 0
        self._errors: list[CallError] = []
        self._who = Waiting()

    def one(self) -> tuple[Done, Failed]:
        """One thing more."""
        self._left += 1
        return self._ended, self._ended

    def when_over(self, done: Done, failed: Failed) -> None:
        """`failed` gets Invalid with all errors."""
        self._who.add(done, failed)
        self._tell()

    def _ended(self, error: CallError | None = None) -> None:
        if error is not None:
            self._errors.append(error)
        self._left -= 1
        self._tell()

    def _tell(self) -> None:
        if not self._left and self._errors:
            self._who.fail(Invalid("; ".join(str(each) for each in self._errors)))
        elif not self._left:
            self._who.done()
