"""What a core may remember of a database that others write to, without a database: orders of answers that no test can
bring about from outside."""

from __future__ import annotations

import importlib.util

import pytest

from reed.wire.snippets import Record

if importlib.util.find_spec("psycopg") is None or importlib.util.find_spec("reed.store.postgres.memory") is None:
    pytest.skip("the store postgres is not here", allow_module_level=True)

from reed.store.postgres.memory import TRUST_SECONDS, Records

ID = "019a0000-0000-7000-8000-000000000001"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def version(number: int) -> Record:
    return Record(ID, "page", "a/page", number, 0, 0, b"{}")


def remembered(records: Records) -> int:
    """The version in memory; 0: none."""
    found = records.get(ID)
    return found.version if found is not None else 0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(clock: Clock) -> Records:
    return Records(1 << 20, clock)


def test_an_answer_is_remembered(records: Records) -> None:
    records.end(records.begin(), version(1))
    assert remembered(records) == 1


def test_nothing_is_remembered_for_longer_than_it_can_be_trusted(records: Records, clock: Clock) -> None:
    records.end(records.begin(), version(1))
    before = records.changes
    clock.now += TRUST_SECONDS + 0.1
    assert remembered(records) == 0
    assert records.changes != before, "answers that were made from it are not used either"
    records.trust(clock.now)
    assert remembered(records) == 1
    records.trust(clock.now - TRUST_SECONDS - 0.1)  # the query was sent so long ago
    assert remembered(records) == 0


def test_a_change_of_another_core_is_not_undone_by_an_answer_from_before(records: Records) -> None:
    read = records.begin()
    records.changed(7, ID)
    records.end(read, version(1))
    assert remembered(records) == 0


@pytest.mark.parametrize("kept", [version(2), None], ids=["written", "deleted"])
def test_an_own_write_is_not_undone_by_an_answer_from_before(records: Records, kept: Record | None) -> None:
    """Two reads were sent; a write began with the answer of the first, and is over before that of the second comes."""
    first, second = records.begin(), records.begin()
    records.end(first, version(1))
    records.wrote(7, ID, kept)
    records.end(second, version(1))
    assert remembered(records) == (kept.version if kept is not None else 0)


def test_a_gap_in_the_log_is_not_undone_by_an_answer_from_before(records: Records) -> None:
    read = records.begin()
    records.forget()
    records.end(read, version(1))
    assert remembered(records) == 0


def test_an_own_write_that_another_core_has_followed_is_not_remembered(records: Records) -> None:
    """The log shows the later change first, then the answer to the own write comes."""
    records.changed(8, ID)
    records.wrote(7, ID, version(2))
    assert remembered(records) == 0


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_own_write_takes_the_name_from_what_had_it(records: Records, is_kept: bool) -> None:
    """Another core has deleted that, and the log has not shown it yet."""
    records.end(records.begin(), version(1))
    other = version(1)._replace(id=ID[:-1] + "2")
    records.wrote(7, other.id, other if is_kept else None, "a/page")
    assert records.get("a/page") == (other if is_kept else None)
    assert records.get(ID) is None


def test_what_a_write_had_to_read_again_is_not_answered_from_before(records: Records) -> None:
    """A caller that was refused with a newer version gets that, and one that was told that it is gone gets nothing."""
    records.end(records.begin(), version(1))
    before = records.changes
    records.doubt(ID)
    records.end(records.begin(), version(2))
    assert remembered(records) == 2
    assert records.changes != before
    records.doubt("a/page")
    assert remembered(records) == 0
