"""Transactions: replies after the commit, all or nothing; a full disk fails one turn (store.md#transactions)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import pytest

from reed.errors import NotFound, StoreFailed, StoreFull
from reed.store.sqlite.transaction import LARGE
from reed.wire.snippets import Record


def test_a_write_is_answered_after_the_commit(driver, open_store, tmp_path):
    answer = driver.start("create", "note", "intro", {})
    assert not answer.is_there
    with sqlite3.connect(tmp_path / "reed.db") as other:
        assert other.execute("SELECT count(*) FROM snippets").fetchone() == (0,)
        driver.store.commit()
        assert answer.is_there
        assert other.execute("SELECT count(*) FROM snippets").fetchone() == (1,)
    other.close()


def test_much_content_is_committed_at_the_end_of_the_next_turn(driver):
    """INSERT and COMMIT of 12 MB take some 30 ms each: others are answered between them."""
    driver.settle()
    first = driver.start("create", "note", "first", {"text": "x" * LARGE})
    driver.store.commit()
    second = driver.start("create", "note", "second", {"text": "x" * LARGE})
    with pytest.raises(NotFound):
        driver.get("first")
    assert not first.is_there
    driver.store.commit()  # not put off again
    assert [driver.get(name).id for name in ("first", "second")] == [first.value, second.value]


def test_much_content_is_committed_when_the_store_closes(driver, open_store):
    driver.settle()
    answer = driver.start("create", "note", "first", {"text": "x" * LARGE})
    driver.store.commit()
    driver.close()
    assert open_store().get("first").id == answer.value


def test_a_bug_in_one_callback_does_not_stop_the_others(driver):
    def bug(snippet_id: str) -> None:
        raise RuntimeError(snippet_id)

    driver.store.create("note", "a", b"{}", bug, lambda error: None)
    other = driver.start("create", "note", "b", {})
    with pytest.raises(RuntimeError):
        driver.store.commit()
    assert other.value == driver.get("b").id


def test_a_lock_of_another_program_is_an_error_until_it_is_released(driver, tmp_path):
    other = sqlite3.connect(tmp_path / "reed.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed):
        driver.create("note", "a", {})
    other.execute("ROLLBACK")
    other.close()
    driver.create("note", "a", {})


def fill(folder: Path) -> Path:
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


def test_a_full_disk_fails_only_the_writes_of_one_turn(open_store, small_disk):
    driver = open_store(small_disk / "reed.db")
    driver.define("page", {"searchable": {"title": 1}})
    driver.create("page", "kept", {"title": "Zebra"})
    driver.settle()
    before = driver.get("kept")
    ballast = fill(small_disk)

    answers = [
        driver.start("create", "page", "new", {"title": "Horse " * 20_000}),
        driver.start("update", "kept", 0, {"title": "Donkey " * 20_000}),
        driver.start("define", "other", {}),
        driver.start("create", "other", "", {}),
        driver.start("bond", "kept", "new", 0, ""),
    ]
    driver.turn()
    for answer in answers:
        with pytest.raises(StoreFull):
            _ = answer.value

    # Reads work, and see nothing of that turn.
    assert driver.get("kept") == before
    with pytest.raises(NotFound):
        driver.get("new")
    with pytest.raises(NotFound):
        driver.definition("other")
    assert [record.semantic_name for record in driver.page("", "", 0).records] == ["kept"]
    assert driver.search("zebra", "", 0, 0).total == 1
    assert driver.search("donkey", "", 0, 0).total == 0
    assert driver.tree("", 0) == b"[]"
    stats = driver.store.stats()
    assert (stats["snippets"], stats["types"], stats["bonds"]) == (1, 1, 0)
    with pytest.raises(StoreFull):
        driver.delete("kept", False)

    ballast.unlink()
    driver.update("kept", 1, {"title": "Donkey"})
    driver.create("page", "new", {"title": "Horse"})
    assert driver.search("donkey", "", 0, 0).total == driver.search("horse", "", 0, 0).total == 1
    driver.store.close()
    assert open_store(small_disk / "reed.db").get("kept").content == b'{"title": "Donkey"}'
    assert integrity(small_disk / "reed.db") == "ok"


def test_an_index_without_disk_space_blocks_neither_searches_nor_the_loop(open_store, small_disk):
    driver = open_store(small_disk / "reed.db", late=1)
    driver.define("page", {"searchable": {"title": 1}})
    driver.create("page", "one", {"title": "Zebra"})
    driver.settle()
    driver.start("create", "page", "two", {"title": "Zebra " + " ".join(f"w{n}" for n in range(9000))})
    driver.store.commit()
    ballast = fill(small_disk)

    assert driver.search("zebra", "", 0, 0).total == 1, "what is indexed is still found"
    turns = 0
    while driver.turn():
        turns += 1
        assert turns < 10, "a full disk must not keep the loop busy"
    with pytest.raises(StoreFull):
        driver.index("")

    ballast.unlink()
    assert driver.search("zebra", "", 0, 0).total == 2
    assert driver.store.stats()["unindexed"] == 0


def test_writing_until_the_disk_is_full_keeps_what_was_acknowledged(open_store, small_disk):
    driver = open_store(small_disk / "reed.db")
    driver.define("page", {"searchable": {"title": 1}})
    acknowledged: list[str] = []
    failures = 0
    deadline = time.monotonic() + 20
    while failures < 5:
        assert time.monotonic() < deadline
        answers = [driver.start("create", "page", "", {"title": "some words " * 200}) for _ in range(10)]
        driver.turn()
        errors = [answer for answer in answers if answer.errors]
        assert len(errors) in (0, 10), "a turn is kept whole or not at all"
        failures += bool(errors)
        acknowledged += [answer.value for answer in answers if not answer.errors]
    assert all_ids(driver) == acknowledged
    driver.store.close()
    again = open_store(small_disk / "reed.db")
    assert all_ids(again) == acknowledged
    again.store.close()
    assert integrity(small_disk / "reed.db") == "ok"


def all_ids(driver) -> list[str]:
    ids: list[str] = []
    after = ""
    while True:
        page = driver.page("", after, 1000)
        ids += [record.id for record in page.records]
        after = page.cursor
        if not after:
            return ids


def integrity(path: Path) -> str:
    connection = sqlite3.connect(os.fspath(path))
    (found,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return str(found)


def test_names_move_between_snippets_within_a_turn_and_return_on_failure(driver):
    one, two = driver.create("note", "a", {}), driver.create("note", "b", {})
    for ref, name in ((one, ""), (two, "a"), (one, "b")):
        driver.start("rename", ref, name)
    assert (driver.get("a").id, driver.get("b").id) == (one, two), "reads see what is committed"
    driver.store._transaction.fail(MemoryError())
    assert (driver.get("a").id, driver.get("b").id) == (one, two)
    for ref, name in ((one, ""), (two, "a"), (one, "b")):
        driver.start("rename", ref, name)
    driver.turn()
    assert (driver.get("a").id, driver.get("b").id) == (two, one)


def test_a_restore_that_is_rolled_back_leaves_nothing(driver):
    old = Record(
        "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", "note", "", 1, 1_700_000_000_000_000, 1_700_000_000_000_005, b"{}"
    )
    driver.restore(old)
    new = old._replace(version=2)
    restored = driver.start("restore", new)
    unchanged = driver.start("restore", new)  # but not committed yet
    assert not restored.is_there
    assert not unchanged.is_there
    driver.store._transaction.fail(MemoryError())
    assert isinstance(restored.error, StoreFailed)
    assert isinstance(unchanged.error, StoreFailed)
    assert driver.get(old.id) == old
