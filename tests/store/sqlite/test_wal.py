"""The log (WAL): workers copy it into the file, and it never grows without end."""

from __future__ import annotations

import os
import sqlite3

import pytest

from reed.errors import StoreFailed
from reed.store.sqlite import reading, wal

FRAME = 4096 + 24


def frames(driver) -> int:
    return driver.store._database.wal_frames


def write(driver, count: int = 1) -> None:
    for _ in range(count):
        driver.start("create", "note", "", {"text": "x" * 3000})
        driver.turn()


@pytest.fixture
def busy(open_store, monkeypatch):
    """A store whose log is long with 50 frames, and too long with 200."""
    monkeypatch.setattr(wal, "LONG", 50)
    monkeypatch.setattr(wal, "BEHIND", 200)
    monkeypatch.setattr(wal, "_CORE_FRAMES", 20)
    driver = open_store(late=1)
    driver.define("note", {})
    return driver


def test_a_short_log_is_left_alone(busy):
    assert frames(busy) < 60
    assert busy.store._database.uncopied_frames == frames(busy) > 0


def test_under_constant_writes_the_log_begins_anew_again_and_again(busy):
    longest = 0
    for _ in range(400):
        write(busy)
        longest = max(longest, frames(busy))
    assert longest < 300
    assert frames(busy) < longest
    assert os.stat(busy.store.stats()["path"] + "-wal").st_size < 300 * FRAME


def test_on_a_disk_that_is_slower_than_the_writes_the_log_begins_anew_too(busy, monkeypatch):
    """While the indexer copies, more is written than the core would copy by itself."""
    copy = reading.run_checkpoint

    def copy_slowly(source) -> None:
        copy(source)
        for _ in range(10):
            busy.start("create", "note", "", {"text": "x" * 3000})
            busy.store.commit()

    monkeypatch.setattr(reading, "run_checkpoint", copy_slowly)
    longest = 0
    for _ in range(100):
        write(busy)
        longest = max(longest, frames(busy))
    assert frames(busy) < longest < 3000


def test_constant_reads_do_not_hold_the_log_back(busy):
    """Each read of a worker has a snapshot. Above BEHIND no further one begins until the log is copied."""
    write(busy, 3)
    longest = 0
    for _ in range(400):
        busy.start("page", "", "", 1000)
        write(busy)
        longest = max(longest, frames(busy))
    assert longest < 600
    busy.settle()
    assert busy.page("", "", 1000).records


def test_a_checkpoint_that_fails_is_tried_again_after_the_next_commit(busy, monkeypatch):
    failures = []

    def fail(_source) -> None:
        failures.append(True)
        raise StoreFailed("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(reading, "run_checkpoint", fail)
        write(busy, 120)
    assert len(failures) > 1
    before = frames(busy)
    write(busy, 120)
    assert frames(busy) < before


def test_closing_copies_the_log_and_removes_it(busy):
    write(busy, 30)
    path = busy.store.stats()["path"]
    busy.store.close()
    assert not os.path.exists(path + "-wal")
    assert os.stat(path).st_size > 30 * 3000


def test_a_snapshot_of_another_program_does_not_make_the_core_copy_much(busy):
    """As long as it lasts the log grows; then the indexer copies it, not the core in its loop."""
    write(busy, 3)
    other = sqlite3.connect(busy.store.stats()["path"], isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM snippets").fetchone()
    checkpoints = busy.store._checkpoints
    attempts = []
    submit = checkpoints._indexer.submit
    checkpoints._indexer.submit = lambda kind, *rest, **options: (
        attempts.append(kind) if kind == "checkpoint" else None,
        submit(kind, *rest, **options),
    )
    write(busy, 400)
    assert frames(busy) > 400
    assert checkpoints._core_frames <= 2 * wal._CORE_FRAMES
    assert 2 <= len(attempts) < 60
    other.close()
    write(busy, 120)
    assert frames(busy) < 300
