"""How long an operation waits for a database that does not answer, without a database: ten seconds in all, however
often it is asked again, and by whichever connection."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from reed.errors import CallError, JobTimeout, OutcomeUnknown, StoreUnavailable
from reed.store.workers import THE_STORE, Origin

if importlib.util.find_spec("psycopg") is None or importlib.util.find_spec("reed.store.postgres.long_reads") is None:
    pytest.skip("the store postgres is not here", allow_module_level=True)

from reed.store.postgres.connection import Lost
from reed.store.postgres.long_reads import LongRead, LongReads
from reed.store.postgres.operation import Operation, Pending, WriteContext
from reed.store.postgres.reader import WAIT_SECONDS, Reader
from reed.store.postgres.writer import Step, Write, Writer


class Time:
    """A loop whose time the test moves."""

    def __init__(self) -> None:
        self.at = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.at

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.later.append((self.at + seconds, callback))

    def move(self, seconds: float) -> None:
        self.at += seconds
        due = [each for each in self.later if each[0] <= self.at]
        self.later = [each for each in self.later if each[0] > self.at]
        for _, callback in due:
            callback()


class Server:
    """A connection that takes units, and answers none."""

    def __init__(self) -> None:
        self.is_ready = True
        self.out: list[tuple[Any, Any]] = []

    def send(self, _statements: Any, done: Any, failed: Any) -> None:
        self.out.append((done, failed))

    def flush(self) -> None:
        pass

    def lose(self) -> None:
        self.is_ready = False
        out, self.out = self.out, []
        for _, failed in out:
            failed(Lost("it is frozen"))


class Rows:
    ntuples = 0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def reader(time: Time, server: Server) -> Reader:
    return Reader(time, server, lambda: None)


@pytest.fixture
def errors() -> list[CallError]:
    return []


def no_answer(_: object) -> None:
    pytest.fail("nobody has answered")


def test_a_read_that_is_out_on_a_second_connection(time, server, reader, errors) -> None:
    """The first was lost after five seconds; on the second the answer does not come either."""
    reader.ask("by_id", (), no_answer, errors.append)
    time.move(5)
    server.lose()
    time.move(4)
    server.is_ready = True
    reader.flush()
    assert len(server.out) == 1
    time.move(1.1)
    reader.tick(time.now())
    assert [type(error) for error in errors] == [StoreUnavailable]
    server.out[0][0]([Rows()])  # its answer comes after all
    server.lose()
    assert len(errors) == 1
    server.is_ready = True
    reader.flush()
    assert not server.out, "what was given up is not asked again"


def test_a_read_that_was_asked_again_does_not_wait_behind_later_ones(time, server, reader, errors) -> None:
    reader.ask("by_id", (), no_answer, errors.append)
    time.move(4)
    server.is_ready = False
    reader.ask("by_id", (), no_answer, no_answer)
    server.lose()
    time.move(6.1)
    reader.tick(time.now())
    assert len(errors) == 1


class Database:
    """What an Operation needs of a store."""

    def __init__(self, time: Time, server: Server, reader: Reader) -> None:
        self.reader = reader
        self.writer = Writer(time, "core", server, lambda: None, pytest.fail, lambda _: None, lambda: 0, lambda: None)
        self.context = WriteContext(self.writer, self.refresh, pytest.fail, Pending(), time.now)

    def refresh(self, then: Callable[[], None], failed: Callable[[CallError], None], until: float) -> None:
        self.reader.ask("revisions", (), lambda _: then(), failed, until)

    def update(self, failed: Callable[[CallError], None]) -> None:
        """Reads, then writes."""

        def attempt(operation: Operation) -> None:
            def write(_: object) -> None:
                operation.write((Step("replace", ()),), no_answer, snippet_id="one")

            self.reader.ask("by_id", (), write, operation.refuse, operation.until)

        Operation(self.context, THE_STORE, failed, attempt).begin()


def test_a_write_has_waited_already_when_it_has_read(time, server, reader, errors) -> None:
    database = Database(time, server, reader)
    database.update(errors.append)
    time.move(9)
    server.out.pop()[0]([Rows()])  # the record, at last
    server.is_ready = False
    time.move(1.1)
    database.writer.tick(time.now())
    assert [type(error) for error in errors] == [StoreUnavailable]
    assert "nothing was written" in str(errors[0])


def test_a_write_that_begins_again_has_no_more_time(time, server, reader, errors) -> None:
    """It had no effect, since another core was first; then the database is away."""
    database = Database(time, server, reader)
    database.update(errors.append)
    time.move(6)
    server.out.pop()[0]([Rows()])
    database.writer.commit()
    time.move(3)
    committed = Rows()
    committed.get_value = lambda *_: b"7"  # type: ignore[attr-defined]
    server.out.pop()[0]([Rows(), committed])
    server.lose()
    time.move(1.1)
    reader.tick(time.now())
    assert [type(error) for error in errors] == [StoreUnavailable]


def test_the_outcome_of_a_commit_stays_unknown(time, server, errors) -> None:
    """The caller is told so after a minute, and the log has the query that shows it."""
    log: list[str] = []
    writer = Writer(time, "a-core", server, lambda: None, pytest.fail, log.append, lambda: 0, lambda: None)
    writer.put(Write((Step("mark", ("",)),), no_answer, pytest.fail, errors.append))
    writer.commit()
    server.lose()
    time.move(59)
    writer.tick(time.now())
    assert (errors, log) == ([], [])
    time.move(1.1)
    writer.tick(time.now())
    assert [type(error) for error in errors] == [OutcomeUnknown]
    assert "SELECT seq FROM batches WHERE core = 'a-core' AND n = 1" in log[0]


class Jobs:
    """Workers that end no job by themselves."""

    def __init__(self) -> None:
        self.out: list[tuple[float, Any, Any, Origin]] = []

    def submit(self, seconds: float, done: Any, failed: Any, origin: Origin) -> None:
        self.out.append((seconds, done, failed, origin))


@pytest.fixture
def long_read(time: Time, errors: list[CallError]) -> tuple[LongReads, Jobs, list[object]]:
    reads, jobs, answers = LongReads(time), Jobs(), []
    reads.begin(LongRead(jobs.submit, answers.append, errors.append, THE_STORE, time.now() + WAIT_SECONDS))
    return reads, jobs, answers


def overdue(seconds: float) -> JobTimeout:
    return JobTimeout(f"it took more than {seconds:g} s")


def test_a_long_read_is_asked_again_as_soon_as_the_loop_has_a_connection(time, long_read, errors) -> None:
    """The worker waits for a connection that is dead, and cannot notice."""
    reads, jobs, answers = long_read
    time.move(5)
    reads.lost()
    time.move(1)
    reads.reached()
    (first, _, late, _), (second, done, _, origin) = jobs.out
    assert (first, second) == (10, 4)
    assert origin != THE_STORE, "it does not wait for the first"
    done("page")
    late(overdue(first))
    assert (answers, errors) == (["page"], [])


def test_a_long_read_of_a_frozen_server_ends_by_its_deadline(time, long_read, errors) -> None:
    reads, jobs, _ = long_read
    time.move(5)
    reads.lost()
    time.move(4.9)
    reads.tick(time.now())
    assert not errors
    time.move(0.2)
    reads.tick(time.now())
    assert [type(error) for error in errors] == [StoreUnavailable]
    reads.reached()
    assert len(jobs.out) == 1
    jobs.out[0][2](overdue(40))
    assert len(errors) == 1


def test_a_long_read_that_finds_no_server_tries_until_its_deadline(time, long_read, errors) -> None:
    _, jobs, _ = long_read
    away = partial(StoreUnavailable, "no server", hint="retry")
    for _ in range(3):
        time.move(3)
        jobs.out[-1][2](away())
        time.move(0.2)
    assert [round(job[0], 1) for job in jobs.out] == [10, 6.8, 3.6, 0.4]
    time.move(0.4)
    jobs.out[-1][2](away())
    time.move(0.2)
    assert [type(error) for error in errors] == [StoreUnavailable]
    assert len(jobs.out) == 4


def test_a_long_read_that_is_slow_says_so(time, long_read, errors) -> None:
    reads, jobs, _ = long_read
    time.move(20)
    reads.tick(time.now())
    assert not errors, "the machine may be busy"
    jobs.out[0][2](overdue(10))
    assert [type(error) for error in errors] == [JobTimeout]
