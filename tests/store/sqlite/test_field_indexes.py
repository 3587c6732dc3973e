"""Indexes of fields: built and dropped in slices, during writes, failures and crashes."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest

from reed.errors import Conflict, StoreFailed, StoreFull
from reed.store.sqlite.database import APPLICATION_ID, MIGRATIONS
from reed.store.sqlite.transaction import Transaction

INDEXED = {"indexed": ["a"]}


def found(driver, conditions, kind="page", after="", limit=0):
    text = conditions if isinstance(conditions, bytes) else json.dumps(conditions).encode()
    page = driver.find(kind, text, after, limit)
    return [record.id for record in page.records]


def test_writes_of_a_failed_turn_are_not_found(driver):
    driver.define("page", {"unique": ["slug"]})
    lost = driver.start("create", "page", "", {"slug": "a"})
    driver.store._transaction.fail(sqlite3.OperationalError("disk I/O error"))
    assert lost.errors
    assert found(driver, {"slug": "a"}) == []
    kept = driver.create("page", "", {"slug": "a"})
    assert found(driver, {"slug": "a"}) == [kept]


def test_a_later_index_is_built_in_slices_during_writes(open_store):
    driver = open_store()
    driver.define("page", {})
    driver.define("note", {})
    ids = [driver.start("create", "page", "", {"a": number % 10}) for number in range(1000)]
    driver.settle()
    ids = [answer.value for answer in ids]
    answer = driver.start("define", "page", INDEXED)
    slices = 0
    while not answer.is_there:
        driver.store.work(0.0)
        driver.store.commit()
        slices += 1
        if slices == 3:
            new = driver.start("create", "page", "", {"a": 1})
            driver.start("update", ids[1], 0, {"a": 2})
            driver.start("update", ids[992], 0, {"a": 1})
            driver.start("delete", ids[11], False)
            driver.store.commit()
            with pytest.raises(Conflict):  # a definition is in progress
                driver.define("page", {})
            driver.define("note", INDEXED)
    assert slices > 8
    expected = [*ids[21::10], ids[992], new.value]
    assert sorted(found(driver, {"a": 1}, limit=1000)) == sorted(expected)
    assert found(driver, {"a": 2}, limit=1000)[0] == ids[1]
    assert answer.value is False
    assert driver.definition("page").definition == json.dumps(INDEXED).encode()
    driver.store.close()
    assert sorted(found(open_store(), {"a": 1}, limit=1000)) == sorted(expected)


def test_a_find_while_an_index_is_built_or_dropped_finds_all(open_store):
    driver = open_store()
    driver.define("page", {})
    for number in range(300):
        driver.start("create", "page", "", {"a": number % 3})
    driver.settle()
    for definition in (INDEXED, {}, {"unique": ["n"], "indexed": ["a"]}, {"indexed": ["n"]}):
        defined, answers = driver.start("define", "page", definition), []
        while not defined.is_there:
            answers.append(driver.start("find", "page", b'{"a":1}', "", 1000))
            driver.store.work(0.0)
            driver.store.commit()
        answers.append(driver.start("find", "page", b'{"a":1}', "", 1000))
        driver.settle()
        assert {len(answer.value.records) for answer in answers} == {100}


def test_a_dropped_index_is_deleted_completely(open_store, tmp_path):
    driver = open_store()
    driver.define("page", {"indexed": ["a", "b"], "unique": ["n"]})
    for number in range(1200):
        driver.start("create", "page", "", {"a": 1, "b": 2, "n": number})
    driver.settle()
    driver.define("page", {"indexed": ["n"]})
    driver.settle()
    driver.create("page", "", {"n": 1})
    assert len(found(driver, {"n": 1})) == 2
    driver.store.close()
    with sqlite3.connect(tmp_path / "reed.db") as file:
        assert file.execute("SELECT count(*) FROM field_entries").fetchone() == (1201,)
        assert file.execute("SELECT field FROM field_indexes").fetchall() == [("n",)]


@pytest.mark.parametrize("repeated", [0, 299], ids=["behind the build", "ahead of it"])
def test_a_write_during_the_build_that_repeats_a_value_refuses_the_definition(open_store, repeated):
    driver = open_store()
    driver.define("page", {})
    for number in range(300):
        driver.start("create", "page", "", {"a": number})
    driver.settle()
    answer = driver.start("define", "page", {"unique": ["a"]})
    for _ in range(3):
        driver.store.work(0.0)
        driver.store.commit()
    assert not answer.is_there
    driver.start("create", "page", "", {"a": repeated})
    driver.settle()
    with pytest.raises(Conflict):
        assert answer.value
    driver.define("page", {"indexed": ["a"]})
    assert len(found(driver, {"a": repeated})) == 2


def test_a_build_interrupted_by_a_crash_is_discarded(open_store, tmp_path):
    driver = open_store()
    driver.define("page", {})
    for number in range(1000):
        driver.start("create", "page", "", {"a": number})
    driver.settle()
    answer = driver.start("define", "page", INDEXED)
    for _ in range(5):
        driver.store.work(0.0)
        driver.store.commit()
    assert not answer.is_there
    driver.store.close()
    again = open_store()
    assert again.definition("page").definition == b"{}"
    assert len(found(again, {"a": 7})) == 1
    again.settle()
    again.store.close()
    with sqlite3.connect(tmp_path / "reed.db") as file:
        assert file.execute("SELECT count(*) FROM field_entries").fetchone() == (0,)
        assert file.execute("SELECT count(*) FROM field_indexes").fetchone() == (0,)


def test_a_build_that_cannot_be_written_fails_only_the_definition(open_store):
    driver = open_store()
    driver.define("page", {})
    for number in range(500):
        driver.start("create", "page", "", {"a": number})
    driver.settle()
    answer = driver.start("define", "page", INDEXED)
    driver.store.work(0.0)
    driver.store.commit()
    driver.store.work(0.0)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    driver.store._transaction.fail(full)
    with pytest.raises(StoreFull):
        assert answer.value
    driver.create("page", "", {"a": 1})
    assert len(found(driver, {"a": 1})) == 2
    driver.define("page", INDEXED)
    assert len(found(driver, {"a": 1})) == 2


def test_a_commit_that_fails_right_before_a_slice_fails_only_the_definition(open_store, monkeypatch):
    driver = open_store()
    driver.define("page", {})
    driver.create("page", "", {"a": 1})
    driver.settle()
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fails(turn, statement):
        raise full

    answer = driver.start("define", "page", INDEXED)
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "_sync", fails)
        driver.store.work(time.monotonic() + 0.004)
    with pytest.raises(StoreFull):
        assert answer.value
    driver.settle()
    driver.define("page", INDEXED)
    assert len(found(driver, {"a": 1})) == 1


def test_a_write_into_a_turn_whose_slice_is_lost_leaves_no_definition_unanswered(open_store, monkeypatch):
    driver = open_store()
    driver.define("page", {})
    for number in range(100):
        driver.start("create", "page", "", {"a": number})
    driver.settle()
    answer = driver.start("define", "page", INDEXED)
    driver.store.commit()
    driver.store.work(0.0)  # has the snippets read
    driver.store.work(0.0)  # leaves its transaction open
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "_sync", lambda turn, statement: (_ for _ in ()).throw(MemoryError()))
        written = driver.start("create", "page", "", {"a": 1})
    driver.settle()
    assert written.value
    with pytest.raises(StoreFailed):
        assert answer.value
    assert len(found(driver, {"a": 1})) == 2


def test_a_store_of_an_older_layout_gets_field_indexes(tmp_path, open_store):
    """The layout before field indexes, with a snippet and a type."""
    path = tmp_path / "reed.db"
    before = next(number for number, each in enumerate(MIGRATIONS) if "field_indexes" in each[0])
    with sqlite3.connect(path, isolation_level=None) as old:
        old.execute("PRAGMA journal_mode = WAL")
        for statement in (each for migration in MIGRATIONS[:before] for each in migration):
            old.execute(statement)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute(f"PRAGMA user_version = {before}")
        old.execute("INSERT INTO types VALUES ('page', ?)", (b"{}",))
        snippet_id = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
        sequence = int("0190a5b27c3de4f", 16)
        row = (sequence, snippet_id, "page", "home", 3, 1, 2, b'{"path": "a"}')
        old.execute("INSERT INTO snippets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    old.close()
    driver = open_store(path)
    assert found(driver, {"path": "a"}) == [snippet_id]
    driver.define("page", {"unique": ["path"]})
    assert found(driver, {"path": "a"}) == [snippet_id]
    with pytest.raises(Conflict):
        driver.create("page", "", {"path": "a"})
    assert driver.get("home").version == 3


@pytest.mark.parametrize("is_undone", [False, True])
def test_what_is_written_between_reading_and_writing_an_index_counts(driver, monkeypatch, is_undone):
    driver.define("page", {})
    changed = driver.create("page", "", {"a": 1})
    deleted = driver.create("page", "", {"a": 1})
    answer = driver.start("define", "page", INDEXED)
    driver.store.commit()
    driver.store.work(0.0)  # has the snippets read
    driver.start("update", changed, 0, {"a": 2})
    driver.start("delete", deleted, False)
    if is_undone:
        with monkeypatch.context() as patch:
            patch.setattr(Transaction, "_sync", lambda turn, statement: (_ for _ in ()).throw(MemoryError()))
            driver.store.commit()
    driver.settle()
    assert answer.value is False
    driver.store.create("page", "", b'{"a":3}', lambda _: None, lambda _: None)
    driver.store.commit()
    expected = {1: [changed, deleted], 2: []} if is_undone else {1: [], 2: [changed]}
    for value, ids in expected.items():
        assert [record.id for record in driver.find("page", {"a": value}, "", 0).records] == ids
