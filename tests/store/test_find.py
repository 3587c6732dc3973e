"""SNIPPET_FIND: equality of values, by an index and by a scan; unique fields; building indexes."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest

from reed.errors import Conflict, Invalid, Malformed, NotFound, StoreFailed, StoreFull
from reed.store.sqlite.database import APPLICATION_ID, MIGRATIONS
from reed.store.sqlite.transaction import Transaction

INDEXED = {"indexed": ["a"]}
VALUES = [  # JSON texts; those of a list are equal
    ['"x"', '"\\u0078"'],
    ['"X"'],
    ['"1"'],
    ["1", "1.0", "10e-1", "0.1e1"],
    ["true"],
    ["false"],
    ["null"],
    ["0", "-0", "0.0", "-0e7"],
    ['""'],
    ["-1"],
    ["18446744073709551615"],
    ["18446744073709551616"],
    ["18446744073709551615.5"],
    ["0.1", "1e-1", "0.10"],
    ["0.1000000000000000055511151231257827"],
    ["1" + "0" * 400],
    ["1" + "0" * 300, "1" + "0" * 300 + ".0", "1E+300"],
    ["1e-9999999999999999999"],
    ["[]"],
    ["{}"],
    ["[1, 2]", "[1.0,2e0]"],
    ["[2, 1]"],
    ['{"b": 1, "a": [null]}', '{"a":[null],"b":1.0}'],
    [json.dumps("long " * 1000)],
    [json.dumps("long " * 999 + "lone ")],
]


def found(driver, conditions, kind="page", after="", limit=0):
    text = conditions if isinstance(conditions, bytes) else json.dumps(conditions).encode()
    page = driver.find(kind, text, after, limit)
    return [record.id for record in page.records]


@pytest.mark.parametrize("definition", [{}, INDEXED, {"unique": ["a"]}], ids=["scanned", "indexed", "unique"])
def test_equality_is_that_of_json_values(open_store, definition):
    driver = open_store()
    driver.define("page", definition)
    missing = driver.create("page", "", b'{"b":"x"}')
    ids = [driver.create("page", "", b'{"z":[{"a":"x"}],"a":%b}' % same[0].encode()) for same in VALUES]
    for snippet_id, same in zip(ids, VALUES, strict=True):
        for text in same:
            assert found(driver, b'{"a":%b}' % text.encode()) == [snippet_id], text[:60]
    assert found(driver, {}) == [missing, *ids]
    assert found(driver, {"nowhere": None}) == []


def test_all_conditions_must_hold_with_or_without_an_index(open_store):
    driver = open_store()
    driver.define("page", {"indexed": ["path", "draft"]})
    driver.define("note", {})
    driver.create("note", "", {"path": "a", "draft": False, "n": 1})
    ids = [
        driver.create("page", "", {"path": path, "draft": draft, "n": number})
        for number in (1, 2)
        for path in ("a", "b")
        for draft in (False, True)
    ]
    assert found(driver, {"path": "a"}) == [ids[0], ids[1], ids[4], ids[5]]
    assert found(driver, {"path": "a", "draft": True}) == [ids[1], ids[5]]
    assert found(driver, {"path": "a", "draft": True, "n": 2}) == [ids[5]]
    assert found(driver, {"n": 2, "draft": False}) == [ids[4], ids[6]]
    assert found(driver, {"n": 2}) == ids[4:]
    assert found(driver, {"path": "c", "n": 2}) == []
    assert found(driver, {"a.b": 1}) == []


@pytest.mark.parametrize("definition", [{}, INDEXED], ids=["scanned", "indexed"])
def test_pages_follow_each_other_in_creation_order(open_store, definition):
    driver = open_store()
    driver.define("page", definition)
    ids = [driver.create("page", "", {"a": number % 3, "n": number}) for number in range(400)][1::3]
    seen, after = [], ""
    while True:
        page = driver.find("page", b'{"a":1}', after, 50)
        assert len(page.records) <= 50
        seen += [record.id for record in page.records]
        if not (after := page.cursor):
            break
    assert seen == ids
    assert found(driver, {"a": 1}, limit=1000) == ids
    assert found(driver, {"a": 1}) == ids[:100]
    assert found(driver, {"a": 1}, after=ids[130], limit=1) == ids[131:132]


def test_a_large_page_ends_early(open_store):
    driver = open_store()
    driver.define("page", INDEXED)
    ids = [driver.create("page", "", {"a": 1, "body": "x" * 300_000}) for _ in range(3)]
    page = driver.find("page", b'{"a":1}', "", 0)
    assert [record.id for record in page.records] == ids[:1]
    assert found(driver, {"a": 1}, after=page.cursor)[0] == ids[1]


@pytest.mark.parametrize(
    ("kind", "conditions", "after", "limit", "error"),
    [
        ("nothing", b"{}", "", 0, NotFound),
        ("", b"{}", "", 0, Malformed),
        ("page", b"[]", "", 0, Malformed),
        ("page", b"{", "", 0, Malformed),
        ("page", b'{"a":1,"a":2}', "", 0, Malformed),
        ("page", b"{}", "here", 0, Malformed),
        ("page", b"{}", "", 1001, Malformed),
        ("page", json.dumps({f"f{n}": n for n in range(33)}).encode(), "", 0, Malformed),
    ],
)
def test_an_invalid_find_is_refused(driver, kind, conditions, after, limit, error):
    with pytest.raises(error):
        driver.find(kind, conditions, after, limit)


def test_a_scan_is_made_elsewhere(open_store):
    driver = open_store(late=1)
    driver.define("page", {})
    for number in range(300):
        driver.start("create", "page", "", {"a": number % 2})
    driver.turn()
    answer = driver.start("find", "page", b'{"a":1}', "", 1000)
    assert not answer.is_there
    driver.settle()
    assert len(answer.value.records) == 150


def test_an_index_follows_every_write(driver):
    driver.define("page", {"indexed": ["a", "b"]})
    one, two = driver.create("page", "one", {"a": 1, "b": 1}), driver.create("page", "two", {"a": 1})
    driver.update("one", 0, {"a": 2})
    assert (found(driver, {"a": 1}), found(driver, {"a": 2}), found(driver, {"b": 1})) == ([two], [one], [one])
    driver.update("two", 0, {"b": 1, "a": None})
    assert (found(driver, {"a": 1}), found(driver, {"b": 1})) == ([], [one, two])
    driver.rename("one", "uno")
    driver.delete("two", False)
    assert (found(driver, {"a": 2}), found(driver, {"b": 1})) == ([one], [one])


def test_a_unique_value_cannot_be_repeated(driver):
    driver.define("page", {"unique": ["slug"]})
    driver.define("note", {"unique": ["slug"]})
    one = driver.create("page", "first", {"slug": "a"})
    driver.create("note", "", {"slug": "a"})
    with pytest.raises(Conflict) as caught:
        driver.create("page", "second", {"slug": "a"})
    assert all(part in caught.value.message for part in ("slug", '"a"', "first"))
    assert driver.store.stats()["snippets"] == 2
    two = driver.create("page", "second", {"slug": "b"})
    with pytest.raises(Conflict):
        driver.update("second", 0, {"slug": "a"})
    with pytest.raises(Conflict):
        driver.update("second", 0, {"slug": "\u0061"})
    driver.update("second", 0, {"slug": "b", "title": "its own value is free to it"})
    driver.update("first", 0, {"slug": "c"})
    driver.update("second", 0, {"slug": "a"})
    driver.delete("second", False)
    three = driver.create("page", "third", {"slug": "a"})
    assert (found(driver, {"slug": "c"}), found(driver, {"slug": "a"})) == ([one], [three])
    assert two not in found(driver, {})
    for content in ({}, {}, {"slug": None}, {"slug": None}):
        driver.create("page", "", content)  # missing fields and null do not conflict


def test_two_of_one_turn_cannot_both_have_a_unique_value(driver):
    driver.define("page", {"unique": ["slug"]})
    first, second = (driver.start("create", "page", "", {"slug": "a"}) for _ in range(2))
    driver.turn()
    assert first.value
    with pytest.raises(Conflict):
        assert second.value


def test_writes_of_a_failed_turn_are_not_found(driver):
    driver.define("page", {"unique": ["slug"]})
    lost = driver.start("create", "page", "", {"slug": "a"})
    driver.store._transaction.fail(sqlite3.OperationalError("disk I/O error"))
    assert lost.errors
    assert found(driver, {"slug": "a"}) == []
    kept = driver.create("page", "", {"slug": "a"})
    assert found(driver, {"slug": "a"}) == [kept]


def test_a_name_in_use_leaves_no_entry(driver):
    driver.define("page", {"unique": ["slug"]})
    driver.create("page", "first", {"slug": "a"})
    with pytest.raises(Conflict):
        driver.create("page", "first", {"slug": "b"})
    driver.create("page", "second", {"slug": "b"})


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


def test_a_field_with_duplicates_cannot_become_unique(open_store):
    driver = open_store()
    driver.define("page", {"indexed": ["slug"]})
    driver.create("page", "first", {"slug": "a"})
    other = driver.create("page", "", {"slug": "a"})
    with pytest.raises(Conflict) as caught:
        driver.define("page", {"unique": ["slug"]})
    assert all(part in caught.value.message for part in ("slug", '"a"', "first", other))
    driver.create("page", "", {"slug": "a"})  # the type is unchanged
    assert driver.definition("page").definition == b'{"indexed": ["slug"]}'
    assert len(found(driver, {"slug": "a"})) == 3
    driver.settle()
    driver.delete(other, False)
    driver.delete(found(driver, {"slug": "a"})[1], False)
    driver.define("page", {"unique": ["slug"]})
    with pytest.raises(Conflict):
        driver.create("page", "", {"slug": "a"})


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


@pytest.mark.parametrize(
    "definition",
    [
        {"indexed": "a"},
        {"indexed": [1]},
        {"unique": [""]},
        {"unique": {"a": 1}},
        {"indexed": [f"f{n}" for n in range(33)]},
    ],
)
def test_an_invalid_definition_of_indexes_is_refused(driver, definition):
    with pytest.raises(Invalid):
        driver.define("x", definition)


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


def test_real_pages_are_found_by_their_path(open_store, pages):
    driver = open_store()
    driver.define("page", {})
    answers = [driver.start("create", "page", "", content) for content in pages]
    driver.settle()
    path = b'{"path":"commands/hugo_completion_powershell"}'
    (scanned,) = driver.find("page", path, "", 0).records
    driver.define("page", {"unique": ["path"]})
    (by_index,) = driver.find("page", path, "", 0).records
    assert by_index == scanned
    assert by_index.content in pages
    paths = [json.loads(content)["path"] for content in pages]
    began = time.monotonic()
    for answer, each in zip(answers, paths, strict=True):
        assert found(driver, {"path": each}) == [answer.value]
    assert time.monotonic() - began < 60  # a deadline, not a measurement


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
