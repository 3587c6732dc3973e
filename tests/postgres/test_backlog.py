"""The count of the events that wait for a plugin, against a log that is counted line by line."""

from __future__ import annotations

import importlib.util
import random

import pytest

if importlib.util.find_spec("psycopg") is None:
    pytest.skip("psycopg is not here", allow_module_level=True)

from reed.store.postgres.backlog import Answer, Backlog, Place, Question, State

PAGE = 3  # batches
ALL = 1 << 31


class Log:
    """Batches from 1 on with up to two lines of the subscriber's kinds, and the cursor that the database has."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.lines: list[Place] = []
        self.head = 0
        self.cursor: Place = (0, 0)

    def commit(self) -> list[Place]:
        self.head += 1
        made = [(self.head, k) for k in range(self.chance.randrange(3))]
        self.lines += made
        return made

    def waiting(self, cursor: Place) -> int:
        return sum(line > cursor for line in self.lines)

    def answer(self, question: Question) -> Answer:
        """What the statement "waiting" gives."""
        behind = question.behind
        until = self.cursor if question.until < 0 else (min(question.until, self.head), ALL)
        if question.until >= 0:
            behind = max(behind, self.cursor)
        page = list(range(max(behind[0], 1), min(until[0], self.head) + 1))[:PAGE]
        lines = sum(behind < line <= until for line in self.lines if line[0] in page)
        return Answer(self.cursor, self.head, lines, page[-1] if len(page) == PAGE else 0)


def count(backlog: Backlog, log: Log) -> None:
    while backlog.answered(question := ask(backlog), log.answer(question)):
        pass


def ask(backlog: Backlog) -> Question:
    question = backlog.ask()
    assert question is not None
    return question


@pytest.mark.parametrize("seed", range(200))
def test_the_count_of_the_core_that_delivers(seed: int) -> None:
    """While pages are counted, changes are committed and events acknowledged; the database hears of that later. Lines
    that are trimmed count as lost, even if one of them is out."""
    chance = random.Random(seed)
    log, backlog = Log(chance), Backlog()
    for _ in range(chance.randrange(30)):
        log.commit()
    cursor: Place = (0, 0)
    trimmed: Place = (0, 0)
    out: tuple[Question, Answer] | None = None
    for _ in range(chance.randrange(100)):
        step = chance.randrange(6)
        left = [line for line in log.lines if line > cursor]
        if step == 0:
            for seq, _ in log.commit():
                backlog.heard(seq)
        elif step == 1 and left:
            cursor = left[0]
            backlog.acknowledged(cursor)
        elif step == 2:
            log.cursor = max(log.cursor, cursor)
        elif step == 5 and out is None and log.waiting(max(cursor, log.cursor)):
            trimmed = log.cursor = chance.choice([line for line in log.lines if line > max(cursor, log.cursor)])
            count(backlog, log)  # up to the last batch
            count(backlog, log)  # less those before the cursor
        elif step == 3 and out is None:
            question = ask(backlog)
            out = question, log.answer(question)
        elif step == 4 and out is not None:
            backlog.answered(*out)
            out = None
        if backlog.state is State.COUNTED:
            assert backlog.waiting == log.waiting(max(cursor, trimmed))
    if out is not None:
        backlog.answered(*out)
    count(backlog, log)
    assert (backlog.state, backlog.waiting) == (State.COUNTED, log.waiting(max(cursor, trimmed)))


@pytest.mark.parametrize("seed", range(200))
def test_the_count_of_a_core_that_only_hears_of_it(seed: int) -> None:
    """Another core delivers: the cursor moves, and changes are heard of late."""
    chance = random.Random(seed)
    log, backlog = Log(chance), Backlog()
    for _ in range(chance.randrange(30)):
        log.commit()
    unheard: list[Place] = []
    for _ in range(chance.randrange(60)):
        step = chance.randrange(4)
        left = [line for line in log.lines if line > log.cursor]
        if step == 0:
            unheard += log.commit()
        elif step == 1 and left:
            log.cursor = chance.choice(left)
        elif step == 2 and unheard:
            backlog.heard(unheard.pop(0)[0])
        elif step == 3:
            question = ask(backlog)
            backlog.answered(question, log.answer(question))
    for seq, _ in unheard:
        backlog.heard(seq)
    count(backlog, log)
    count(backlog, log)
    assert backlog.waiting >= log.waiting(log.cursor), "too few: an event would not be delivered"
    backlog.forget(log.cursor)
    count(backlog, log)
    assert backlog.waiting == log.waiting(log.cursor)


def test_a_question_that_was_lost_is_asked_again() -> None:
    log, backlog = Log(random.Random(1)), Backlog()
    for _ in range(20):
        log.commit()
    question = ask(backlog)
    assert backlog.ask() is None, "one at a time"
    backlog.failed(question)
    assert not backlog.answered(question, log.answer(question))
    count(backlog, log)
    assert backlog.waiting == log.waiting((0, 0)) > 0


def test_what_was_read_corrects_the_count() -> None:
    """Lines that were acknowledged before they were heard of."""
    backlog = Backlog()
    backlog.heard(1)
    assert not backlog.read_none(waiting=0), "another one was heard of since the log was read"
    assert backlog.read_none(waiting=1)
    assert backlog.waiting == 0
