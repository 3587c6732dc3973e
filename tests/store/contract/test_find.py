"""SNIPPET_FIND: equality of values, by an index and by a scan; unique fields; building indexes."""

from __future__ import annotations

import json
import time

import pytest

from reed.errors import Conflict, Invalid, Malformed, NotFound
from reed.store.workers import Origin

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
    driver.settle()
    assert first.value
    with pytest.raises(Conflict):
        assert second.value


def test_a_name_in_use_leaves_no_entry(driver):
    driver.define("page", {"unique": ["slug"]})
    driver.create("page", "first", {"slug": "a"})
    with pytest.raises(Conflict):
        driver.create("page", "first", {"slug": "b"})
    driver.create("page", "second", {"slug": "b"})


def test_an_index_that_is_added_later_has_what_is_written_meanwhile(driver):
    driver.define("page", {})
    created = [driver.start("create", "page", "", {"a": number % 10}) for number in range(300)]
    driver.settle()
    ids = [answer.value for answer in created]
    other = Origin("bob", 2)
    defined = driver.start("define", "page", INDEXED, origin=Origin("alice", 1))
    new = driver.start("create", "page", "", {"a": 1}, origin=other)
    driver.start("update", ids[1], 0, {"a": 2}, origin=other)
    driver.start("update", ids[292], 0, {"a": 1}, origin=other)
    driver.start("delete", ids[11], False, origin=other)
    driver.settle()
    assert defined.value is False
    expected = [*ids[21::10], ids[292], new.value]
    assert sorted(found(driver, {"a": 1}, limit=1000)) == sorted(expected)
    assert driver.definition("page").definition == json.dumps(INDEXED).encode()


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
