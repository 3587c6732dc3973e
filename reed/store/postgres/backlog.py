"""How many lines of the log wait for a subscriber, without counting all of them again. Places are `seq, k` in the log.

    state      entered                           `waiting`
    UNCOUNTED  at the start, by `forget`         what was known before, and lines heard of meanwhile: a guess
    COUNTING   the first answer; the last batch  lines between the cursor and `read_to`, which moves page by page;
               is the `goal` from then on        lines heard of behind the goal
    COUNTED    `read_to` is the goal             + each line heard of behind the goal
                                                 - each acknowledged one
                                                 - those that the cursor has passed otherwise: another core has
                                                   delivered them, or they count as lost. Those that were deleted
                                                   meanwhile are not subtracted, so a core that begins to deliver
                                                   counts again

A question (`log_statements`: "waiting") gives the lines of a page: up to the goal; later up to the cursor that the
database has. A line may be acknowledged before it is heard of, so `waiting` may be too high until the log has no line
for the subscriber (`read_none`). It is never too low, since then an event would not be delivered.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from reed.store.postgres.log_statements import ALL_LINES

Place = tuple[int, int]
START = (0, 0)
_LAST_BATCH = 1 << 62  # as a goal: the last one there is
_CURSOR = -1


class State(Enum):
    UNCOUNTED = auto()
    COUNTING = auto()
    COUNTED = auto()


class Question(NamedTuple):
    behind: Place
    until: int  # a batch; or _CURSOR


class Answer(NamedTuple):
    cursor: Place
    head: int  # the last batch
    lines: int
    read_to: int  # the last batch of the page; 0: the page has all


class Backlog:
    def __init__(self) -> None:
        self._guessed = self._counted = 0
        self._heard: list[int] = []  # batches of lines heard of since the first question, unless they are counted
        self._acknowledged: list[Place] = []  # since the question
        self.forget(START)

    def forget(self, cursor: Place) -> None:
        """Count again what comes behind `cursor`, or behind the database's cursor if that is further on."""
        self.state = State.UNCOUNTED
        self._guessed, self._counted = self.waiting, 0
        self._heard.clear()
        self._cursor = self._read_to = cursor
        self._goal = _LAST_BATCH
        self._question: Question | None = None

    @property
    def waiting(self) -> int:
        return self._guessed + self.surely

    @property
    def surely(self) -> int:
        """So many wait at least."""
        return self._counted + len(self._heard)

    @property
    def is_empty(self) -> bool:
        """Nothing waits, for certain."""
        return self.state is State.COUNTED and not self._counted

    def heard(self, seq: int) -> None:
        """A change of its kinds was committed."""
        if self.state is State.COUNTED:
            self._counted += seq > self._goal
        elif self.state is State.COUNTING:
            self._heard += [seq] if seq > self._goal else []
        elif self._question is not None:
            self._heard.append(seq)
        else:
            self._guessed += 1

    def acknowledged(self, place: Place) -> None:
        """A line was delivered. It no longer waits, or did not any more: the cursor is beyond it."""
        if place <= self._cursor:
            return
        if self._question is not None:
            self._acknowledged.append(place)
        if self.state is State.COUNTED or place <= self._read_to:
            self._counted = max(self._counted - 1, 0)
        elif self.state is State.UNCOUNTED:
            self._guessed = max(self._guessed - 1, 0)
        elif place[0] > self._goal:
            del self._heard[:1]
        self._cursor, self._read_to = place, max(self._read_to, place)

    def lost(self, place: Place, lines: int) -> None:
        """The cursor has passed so many, which count as lost."""
        if self.state is State.COUNTED:
            self._counted = max(self._counted - lines, 0)
            self._cursor = place
        else:
            self.forget(place)

    def read_none(self, waiting: int) -> bool:
        """The log has no line for it; so many waited when that was asked. False: more have come meanwhile."""
        if self.waiting != waiting:
            return False
        self._guessed = self._counted = 0
        self._heard.clear()
        return True

    # Counting.

    def ask(self) -> Question | None:
        """None: a question is out."""
        if self._question is not None:
            return None
        is_counted = self.state is State.COUNTED
        self._acknowledged.clear()
        self._question = Question(self._cursor, _CURSOR) if is_counted else Question(self._read_to, self._goal)
        return self._question

    def failed(self, question: Question) -> None:
        if question is self._question:
            self._question = None
            if self.state is not State.COUNTED:
                self.forget(self._cursor)

    def answered(self, question: Question, answer: Answer) -> bool:
        """Are there more pages?"""
        if question is not self._question:
            return False  # forgotten
        self._question = None
        if self.state is not State.COUNTED:
            return self._count(question, answer)
        if question.behind == self._cursor < answer.cursor:
            self._counted = max(self._counted - answer.lines, 0)
            self._cursor = min((answer.read_to, ALL_LINES), answer.cursor) if answer.read_to else answer.cursor
        return self._cursor < answer.cursor

    def _count(self, question: Question, answer: Answer) -> bool:
        if self.state is State.UNCOUNTED:
            self.state, self._goal, self._guessed = State.COUNTING, answer.head, 0
            behind_goal = [seq for seq in self._heard if seq > answer.head]
            self._heard = behind_goal[sum(seq > answer.head for seq, _ in self._acknowledged) :]
        if answer.cursor > self._cursor and answer.cursor[0] > self._goal:
            self.forget(answer.cursor)
            return True
        if answer.cursor >= max(question.behind, self._cursor):
            self._counted, self._cursor = 0, answer.cursor  # beyond all that was counted
        end = (answer.read_to or self._goal, ALL_LINES)
        begin = max(question.behind, answer.cursor)
        gone = sum(begin < place <= end for place in self._acknowledged)  # after they were counted
        self._counted += max(answer.lines - gone, 0)
        self._read_to = max(self._read_to, end)
        if answer.read_to:
            return True
        self.state = State.COUNTED
        self._counted += len(self._heard)
        self._heard.clear()
        return False
