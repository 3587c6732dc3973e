"""What a core does with the lease of a plugin's events, in each state of it, without a database."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from reed.errors import StoreUnavailable

if importlib.util.find_spec("psycopg") is None:
    pytest.skip("psycopg is not here", allow_module_level=True)

from reed.store.postgres.operation import Pending
from reed.store.postgres.outbox import LEASE_SECONDS, Outbox
from reed.store.postgres.writer import Line

NAME, CREATED = "hear", "snippet.created"
DELIVERY = 600.0  # seconds


class Time:
    at = 1000.0

    def now(self) -> float:
        return self.at


class Rows:
    def __init__(self, *rows: tuple[Any, ...]) -> None:
        self.rows = rows
        self.ntuples = len(rows)

    def get_value(self, row: int, at: int) -> bytes | None:
        value = self.rows[row][at]
        return None if value is None else str(value).encode()


class Asked:
    """A reader: what was asked, by statement, to be answered by the test."""

    def __init__(self) -> None:
        self.out: list[tuple[str, Callable[[Rows], None]]] = []

    def ask(self, name: str, _params: Any, done: Callable[[Any], None], _failed: Any) -> None:
        self.out.append((name, done))

    def answer(self, name: str, *rows: tuple[Any, ...]) -> None:
        number = next(number for number, (asked, _) in enumerate(self.out) if asked == name)
        self.out.pop(number)[1](Rows(*rows))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.out if name != "waiting"]


class Written:
    """A writer."""

    def __init__(self) -> None:
        self.out: list[Any] = []

    def put(self, write: Any) -> None:
        self.out.append(write)


class Core:
    def __init__(self) -> None:
        self.time, self.asked, self.writer = Time(), Asked(), Written()
        self.log: list[str] = []
        self.news = 0
        self.given: list[Any] = []
        self.outbox = Outbox(
            self.time, "a-core", self.asked, self.asked, self.writer, Pending(), 10, self._news, self.log.append
        )
        self.outbox.subscribe({CREATED: [NAME]}, lambda *_: None)
        self.writer.out.pop().done(Line(1, 0))

    def _news(self) -> None:
        self.news += 1

    def change(self, seq: int) -> None:
        self.outbox.added(CREATED, "", (seq, 0), type("Cause", (), {"depth": 0}))

    def next(self) -> None:
        self.outbox.next(NAME, self.given.append, pytest.fail)

    def lead(self, generation: int = 1, seq: int = 0, lost: int = 0) -> None:
        self.asked.answer("lead", (generation, seq, 0, lost, "{snippet.created}"))

    def read(self, seq: int) -> None:
        self.asked.answer("next_event", (seq, 0, CREATED, "id", "page", "", 1, 1, None, None, None))

    def count(self, cursor: int, head: int, lines: int) -> None:
        """The database's cursor is at the batch `cursor`; so many lines are in the range that was asked for."""
        self.asked.answer("waiting", (NAME, cursor, 0, head, lines, None))

    def ack(self) -> None:
        self.outbox.ack(NAME, self.given[-1].id)

    def write_cursor(self) -> None:
        self.writer.out.pop().done(Line(1, 0))

    def pass_time(self, seconds: float) -> None:
        self.time.at += seconds
        self.outbox.tick(self.time.at)


@pytest.fixture
def core() -> Core:
    core = Core()
    core.change(2)
    core.outbox.pop_ready()
    return core


def deliver(core: Core, seq: int) -> None:
    core.next()
    core.lead()
    core.read(seq)


def test_a_core_that_was_refused_asks_again_while_events_wait(core: Core) -> None:
    core.next()
    core.asked.answer("lead")
    assert core.given == [None]
    core.next()
    assert core.asked.names == [], "not at once"
    core.pass_time(3)
    assert list(core.outbox.pop_ready()) == [NAME]
    core.next()
    core.lead()
    core.read(2)
    assert core.given[-1].id == 2000


def test_a_core_that_was_refused_asks_at_once_when_it_is_connected_again(core: Core) -> None:
    core.next()
    core.asked.answer("lead")
    core.outbox.connected()
    core.pass_time(0.25)
    assert list(core.outbox.pop_ready()) == [NAME]
    core.next()
    assert core.asked.names == ["lead"]


def test_the_lease_is_renewed_while_an_event_is_out_and_while_none_is(core: Core) -> None:
    deliver(core, 2)
    for _ in range(3):
        core.pass_time(6)
        core.pass_time(0.25)
        assert core.asked.names == ["lead"], "one question at a time"
        core.lead()
    core.ack()
    core.pass_time(6)
    assert core.asked.names == ["lead"]


@pytest.mark.parametrize("retries", [False, True])
def test_a_core_that_gets_nothing_acknowledged_lets_others_try(core: Core, retries: bool) -> None:
    """Its plugin is stopped, or fails each time."""
    deliver(core, 2)
    while core.time.at < 1000 + DELIVERY:
        core.pass_time(6)
        if "lead" in core.asked.names:
            core.lead()
        if retries:
            core.next()
            core.read(2)
    core.pass_time(6)
    assert "yield" in core.asked.names
    assert core.log == ["hear: no event was acknowledged for 600 s; another core may try"]
    given = len(core.given)
    core.next()
    assert core.given[given:] == [None], "the others come first"
    before = len(core.writer.out)
    core.outbox.ack(NAME, 2000)  # the plugin has done it after all
    assert len(core.writer.out) == before, "a core without the lease moves no cursor"


def test_the_answer_to_a_renewal_does_not_take_back_a_lease_that_was_given_up(core: Core) -> None:
    deliver(core, 2)
    core.time.at += 6
    core.outbox.tick(core.time.at)
    assert core.asked.names == ["lead"]
    core.outbox.subscribe({}, lambda *_: None)
    core.lead()
    core.next()
    assert core.given[-1] is None, "the plugin takes no events here any more"
    assert core.asked.names == ["yield"]


def test_no_event_is_given_out_if_the_lease_ended_while_it_was_read(core: Core) -> None:
    core.next()
    core.lead()
    core.time.at += LEASE_SECONDS + 1
    core.read(2)
    assert core.given == []
    assert core.asked.names == ["lead"]
    core.asked.answer("lead")
    assert core.given == [None]


def test_a_cursor_that_could_not_be_written_is_written_again(core: Core) -> None:
    deliver(core, 2)
    core.ack()
    core.writer.out.pop().failed(StoreUnavailable("away"))
    assert core.writer.out == []
    core.pass_time(0.25)
    assert [write.steps[0].name for write in core.writer.out] == ["ack"]


def test_a_change_that_is_heard_of_while_the_log_is_read_is_not_missed(core: Core) -> None:
    core.next()
    core.lead()
    core.change(3)
    core.asked.answer("next_event", (None,) * 11)
    core.read(3)
    assert core.given[-1].id == 3000


def test_the_log_is_read_page_by_page(core: Core) -> None:
    core.next()
    core.lead()
    for read_to in (500, 1000):
        core.asked.answer("next_event", (*(None,) * 10, read_to))
        assert core.given == []
    core.read(1200)
    assert core.given[-1].id == 1_200_000


@pytest.mark.parametrize("is_writing", [False, True])
@pytest.mark.parametrize("deleted", [0, 3])
def test_lines_that_were_trimmed_while_an_event_was_out_are_neither_delivered_nor_counted_twice(
    core: Core, is_writing: bool, deleted: int
) -> None:
    """The next event is asked for before or after the database has the cursor of the event that was out. Some lines
    are deleted before they are counted."""
    core.count(cursor=0, head=2, lines=1)
    deliver(core, 2)
    core.pass_time(2.1)
    core.count(cursor=0, head=2, lines=1)
    for seq in range(3, 33):
        core.change(seq)
    core.pass_time(2.1)
    core.count(cursor=22, head=32, lines=21 - deleted)  # those of 2 to 22 count as lost
    core.ack()
    assert core.outbox.counts == {NAME: 10}, "the acknowledged one did not wait any more"
    if is_writing:
        core.next()
        assert core.asked.names == []
        core.write_cursor()
    else:
        core.write_cursor()
        core.next()
    core.lead(seq=22, lost=20)
    if deleted:
        assert core.asked.names == [], "it is not clear whether too many wait"
        core.count(cursor=22, head=32, lines=10)
    for seq in range(23, 33):
        core.read(seq)
        assert (core.given[-1].id, core.given[-1].lost) == (seq * 1000, 20 if seq == 23 else 0)
        core.ack()
        core.next()
    if not deleted:
        core.asked.answer("next_event", (None,) * 11)
    assert core.given[-1] is None, "all were delivered"


def test_what_was_lost_before_an_event_that_is_out_is_told_with_the_next(core: Core) -> None:
    """The cursor was moved, but not beyond that event, by another core that trims the log."""
    deliver(core, 2)
    core.ack()
    core.write_cursor()
    core.pass_time(6)
    core.lead(seq=2, lost=3)
    core.change(3)
    core.next()
    core.read(3)
    assert core.given[-1].lost == 3


def test_the_answer_to_a_renewal_is_not_taken_for_the_one_that_begins_again(core: Core) -> None:
    core.count(cursor=0, head=2, lines=1)
    deliver(core, 2)
    core.change(3)
    core.change(4)
    core.pass_time(6)
    assert core.asked.names == ["lead"]
    core.count(cursor=3, head=4, lines=2)
    core.ack()
    core.write_cursor()
    core.next()
    core.lead(seq=3, lost=2)  # asked before the cursor was written
    assert core.asked.names == ["lead"]
    core.lead(seq=3, lost=1)
    core.read(4)
    assert (core.given[-1].id, core.given[-1].lost) == (4000, 1)
