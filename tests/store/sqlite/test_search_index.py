"""The file of the search index: made again when it cannot be used, and never behind what a search must see."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.errors import Malformed, StoreFailed
from reed.store.folding import fold, is_plain, segment
from reed.store.ids import sequence_of
from reed.store.query import parse
from reed.store.sqlite import search_index
from reed.store.sqlite.database import MIGRATIONS
from reed.store.sqlite.files import Source, close_connections
from reed.store.sqlite.indexing import run_index
from reed.store.sqlite.search import expression
from tests import inline_store


def names(driver, query, *window):
    type_name, limit, offset = (*window, *("", 0, 0)[len(window) :])
    return [hit.semantic_name for hit in driver.search(query, type_name, limit, offset).hits]


SYNTAX = st.lists(
    st.sampled_from(
        ['"', "*", "AND", "OR", "NOT", "NEAR(", "(", ")", ":", "w0:", "-", "+", "^", "{", "}", " ", "\0", "'"]
    )
    | st.text(max_size=4),
    max_size=12,
).map("".join)


def test_the_tokenizer_folds_plain_texts_as_fold_does():
    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(
            'CREATE VIRTUAL TABLE text USING fts5(a, tokenize = "unicode61 remove_diacritics 2'
            " categories 'L* N* Co Mn Mc'\")"
        )
        memory.execute("CREATE VIRTUAL TABLE words USING fts5vocab(text, 'instance')")

        def words(text: str) -> list[str]:
            memory.execute("DELETE FROM text")
            memory.execute("INSERT INTO text VALUES (?)", (text,))
            return [word for (word,) in memory.execute("SELECT term FROM words ORDER BY offset")]

        plain = [chr(number) for number in range(1, 0x3000) if is_plain(chr(number))]
        assert len(plain) > 700
        different = [
            letter for letter in plain if words(f"a{letter}b {letter}") != words(segment(fold(f"a{letter}b {letter}")))
        ]
        assert different == []


@pytest.mark.parametrize("damage", ["missing", "older", "rubbish"])
def test_an_index_that_cannot_be_used_is_made_again(driver, open_store, tmp_path, damage):
    driver.create("page", "one", {"title": "Lange Straße"})
    driver.create("page", "two", {"title": "Strasse"})
    driver.settle()
    driver.store.close()
    path = tmp_path / "reed-search.db"
    if damage == "missing":
        path.unlink()
    elif damage == "older":
        with closing(sqlite3.connect(path)) as file:
            file.execute("PRAGMA user_version = 0")
    else:
        path.write_bytes(b"no database")
    again = open_store()
    assert set(names(again, "strasse")) == {"one", "two"}
    again.store.close()
    assert open_store().store.stats()["unindexed"] == 0, "once"


def test_a_damaged_index_is_made_again_on_request(driver, open_store, tmp_path):
    driver.create("page", "one", {"title": "Zebra"})
    driver.settle()
    driver.store.close()
    path = tmp_path / "reed-search.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE search_data SET block = x'00'")
        file.commit()
    again = open_store()
    with contextlib.suppress(StoreFailed):  # what FTS5 notices of it
        assert again.search("zebra", "", 0, 0).total == 0
    assert again.index("") == 1
    assert names(again, "zebra") == ["one"]


def test_a_store_of_the_layout_before_is_indexed_again(driver, open_store, tmp_path):
    """Its index was a table of the same file."""
    driver.create("page", "one", {"title": "Lange Straße"})
    driver.settle()
    driver.store.close()
    (tmp_path / "reed-search.db").unlink()
    columns = ", ".join(f"w{number}" for number in range(16))
    with closing(sqlite3.connect(tmp_path / "reed.db")) as file:
        file.execute("DROP TABLE reindex")
        file.execute("CREATE TABLE progress (indexed_to INTEGER NOT NULL)")
        file.execute("INSERT INTO progress SELECT max(sequence) FROM snippets")
        file.execute(f"CREATE VIRTUAL TABLE search USING fts5({columns}, written UNINDEXED)")
        file.execute("INSERT INTO stale VALUES (7, 7)")
        for column in ("content", "bonds"):  # of a later layout
            file.execute(f"ALTER TABLE outbox DROP COLUMN {column}")
        before = next(number for number, each in enumerate(MIGRATIONS) if "DROP TABLE progress" in each)
        file.execute(f"PRAGMA user_version = {before}")
        file.commit()
    assert names(open_store(), "strasse") == ["one"]


def test_a_deleted_snippet_leaves_the_index_completely(driver, tmp_path):
    ids = [driver.create("page", "", {"title": f"zebra {number}"}) for number in range(3)]
    driver.settle()
    driver.delete(ids[0], False)
    driver.start("index", "")
    driver.turn()
    driver.delete(ids[2], False)
    driver.settle()
    driver.store.close()
    with closing(sqlite3.connect(tmp_path / "reed-search.db")) as file:
        assert file.execute("SELECT count(*) FROM search").fetchone() == (1,)
    with closing(sqlite3.connect(tmp_path / "reed.db")) as file:
        assert file.execute("SELECT count(*) FROM stale").fetchone() == (0,)


def test_indexing_continues_after_a_restart(open_store):
    driver = open_store(late=1)
    driver.define("page", {"searchable": {"title": 10}})
    driver.create("page", "one", {"title": "Zebra"})
    assert names(driver, "zebra") == ["one"]
    driver.start("create", "page", "two", {"title": "Zebra two"})
    driver.start("update", "one", 0, {"title": "Horse"})
    driver.store.commit()
    assert driver.store.stats()["unindexed"] == 2
    driver.store.close()
    again = open_store(late=2)
    assert again.store.stats()["unindexed"] == 2
    assert names(again, "zebra") == ["two"]
    assert names(again, "horse") == ["one"]


def test_a_change_while_its_snippet_is_being_indexed_is_indexed_too(open_store):
    """The indexer's job was sent before the change, and is carried out after it; its answer comes later still."""
    driver = open_store(late=1)
    driver.define("page", {"searchable": {"title": 10}})
    driver.create("page", "one", {"title": "Zebra"})
    for title in ("Horse", "Donkey", "Mule"):
        driver.start("update", "one", 0, {"title": title})
        driver.store.commit()
        driver.turn()
    assert names(driver, "mule") == ["one"]
    assert names(driver, "zebra") == names(driver, "donkey") == []


@given(SYNTAX | st.text())
def test_no_input_is_fts5_syntax(query):
    """Outside quoted strings an expression has only AND and stars."""
    try:
        quoted = expression(parse(query)).split('"')
    except Malformed:
        return
    assert set(quoted[2:-1:2]) <= {" AND ", "* AND "}
    assert quoted[-1] in ("", "*")


def test_the_first_write_after_a_pause_starts_the_indexer(tmp_path, monkeypatch):
    timers = []
    monkeypatch.setattr(inline_store._NoLoop, "call_later", lambda _loop, _seconds, callback: timers.append(callback))
    store = inline_store.inline_store(tmp_path / "reed.db")

    def create(count):
        for _ in range(count):
            store.create("page", "", b'{"title": "zebra"}', lambda _: None, pytest.fail)
        store.commit()

    store.define("page", b'{"searchable": {"title": 1}}', lambda _: None, pytest.fail)
    create(3)
    assert store.stats()["unindexed"] == 2
    create(3)
    assert store.stats()["unindexed"] == 5, "many writes are not held up"
    while timers:
        timers.pop()()
    assert store.stats()["unindexed"] == 0
    create(1)
    assert store.stats()["unindexed"] == 0
    store.close()


def test_a_slice_ends_where_a_waiting_search_can_begin(driver, tmp_path):
    ids = [driver.create("page", "", {"title": f"zebra {number}"}) for number in range(5)]
    driver.store.close()
    (tmp_path / "reed-search.db").unlink()
    path = str(tmp_path / "reed.db")
    source, last, target = Source.of(path, os.stat(path)), sequence_of(ids[-1]), sequence_of(ids[2])
    assert run_index(source, last, 0.0, target)[1:] == (3, True)
    assert run_index(source, last, 0.0, 0)[1:] == (1, True)
    close_connections()


def test_reindexing_runs_in_slices_and_a_search_waits_for_the_last(driver, monkeypatch):
    for number in range(50):
        driver.start("create", "page", "", {"title": f"zebra {number}"})
    driver.settle()
    monkeypatch.setattr(search_index, "SLICE_SECONDS", 0.0)  # one snippet in each
    indexed = driver.start("index", "")
    assert driver.search("zebra", "", 1, 0).total == 50
    driver.settle()
    assert indexed.value == 50
