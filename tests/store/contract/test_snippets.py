"""Create, update, delete, get and page, seen by a caller (protocol.md#snippets)."""

from __future__ import annotations

import json
import re

import pytest

from reed.errors import Conflict, Invalid, Malformed, NotFound
from reed.store.snippets import PAGE_BYTES

CONTENT = b'{ "title":"Caf\\u00e9",\n "n": 1.50 }'


def test_content_is_returned_byte_for_byte(driver):
    snippet_id = driver.create("page", "blog/intro", memoryview(CONTENT))
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", snippet_id)
    for ref in (snippet_id, snippet_id.upper(), "blog/intro"):
        record = driver.get(ref)
        assert record.content == CONTENT
        assert record[:4] == (snippet_id, "page", "blog/intro", 1)


def test_names_are_listed_by_prefix_and_sorted(driver):
    for name in ("blog/two", "blog/one", "blog", "blog-post", "Blog/one", "z", "blogz/one", ""):
        driver.create("page", name, CONTENT)
    assert driver.names("blog/", 0) == ["blog/one", "blog/two"]
    assert driver.names("blog", 0) == ["blog", "blog-post", "blog/one", "blog/two", "blogz/one"]
    assert driver.names("", 3) == ["Blog/one", "blog", "blog-post"]
    assert driver.names("nothing", 0) == []
    assert driver.names("%", 0) == driver.names("ü", 0) == []
    with pytest.raises(Malformed):
        driver.names("", 1001)


def test_snippets_survive_a_restart(driver, open_store):
    snippet_id = driver.create("page", "blog/intro", CONTENT)
    driver.update(snippet_id, 0, {"title": "Two"})
    before = driver.get(snippet_id)
    driver.close()
    again = open_store()
    assert again.get("blog/intro") == before
    assert [record.id for record in again.page("", "", 0).records] == [snippet_id]
    with pytest.raises(Conflict):
        again.create("page", "blog/intro", CONTENT)


@pytest.mark.parametrize(
    ("type_name", "name", "content", "error", "shown"),
    [
        ("page", "", b"[]", Malformed, ""),
        ("page", "", b'{"title":"a","title":"b"}', Malformed, "title"),
        ("page", "", b'{"title":NaN}', Malformed, "NaN"),
        ("page", "", b'{"title":"\xff"}', Malformed, ""),
        ("page", "$intro", b'{"title":"a"}', Malformed, "$intro"),
        ("Page", "", b'{"title":"a"}', Malformed, "Page"),
        ("pag", "", b'{"title":"a"}', Invalid, "page"),
        ("video", "", b'{"title":"a"}', Invalid, "video"),
        ("page", "", b"{}", Invalid, "title"),
        ("page", "", b'{"title":"a","keywords":["x",5]}', Invalid, "$.keywords[1]"),
    ],
)
def test_an_invalid_create_is_refused(driver, type_name, name, content, error, shown):
    with pytest.raises(error) as caught:
        driver.create(type_name, name, content)
    assert shown in str(caught.value)
    assert driver.store.stats()["snippets"] == 0
    assert driver.page("", "", 0).records == []


def test_a_message_has_at_most_ten_problems_and_no_long_values(driver):
    with pytest.raises(Invalid) as caught:
        driver.create("page", "", {"title": "a", "keywords": list(range(50)), "body": ["x" * 5000]})
    assert 4 < str(caught.value).count("$.keywords[") <= 10
    assert str(caught.value).count("…") >= 1
    assert len(str(caught.value)) < 3000
    with pytest.raises(Invalid) as caught:
        driver.create("page", "", {"title": "a", "body": ["x" * 5000]})
    assert "$.body" in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_a_name_in_use_is_refused(driver):
    first = driver.create("page", "intro", {"title": "a"})
    with pytest.raises(Conflict) as caught:
        driver.create("note", "intro", {"title": "b"})
    assert first in caught.value.message
    driver.delete("intro", False)
    assert driver.create("note", "intro", {"title": "b"}) != first


def test_update_merges_and_counts_versions(open_store):
    ticks = iter(range(10**18, 10**19, 10**9))
    driver = open_store(clock=lambda: next(ticks))
    driver.define("page", {})
    snippet_id = driver.create("page", "", b'{"title":"One","seo":{"a":1,"b":2},"tags":[1,2]}')
    created = driver.get(snippet_id)
    assert driver.update(snippet_id, 1, {"title": "Two", "seo": {"a": None, "c": "ü"}, "tags": [3]}) == snippet_id
    record = driver.get(snippet_id)
    assert record.version == 2
    assert record.created_at == created.created_at < record.updated_at
    assert json.loads(record.content) == {"title": "Two", "seo": {"b": 2, "c": "ü"}, "tags": [3]}
    assert list(json.loads(record.content)) == ["title", "seo", "tags"]


def test_an_update_of_another_version_is_refused(driver):
    snippet_id = driver.create("page", "intro", {"title": "a"})
    driver.update("intro", 0, {"title": "b"})
    with pytest.raises(Conflict):
        driver.update("intro", 1, {"title": "c"})
    assert json.loads(driver.get(snippet_id).content) == {"title": "b"}


@pytest.mark.parametrize(
    ("patch", "error"),
    [(b"5", Invalid), (b'{"title":null}', Invalid), (b'{"title":', Malformed)],
)
def test_an_update_that_is_refused_changes_nothing(driver, patch, error):
    driver.create("page", "intro", {"title": "a"})
    before = driver.get("intro")
    with pytest.raises(error):
        driver.update("intro", 0, patch)
    assert driver.get("intro") == before


def test_delete(driver):
    snippet_id = driver.create("page", "intro", {"title": "a"})
    assert driver.delete("intro", False) == snippet_id
    for ref in ("intro", snippet_id):
        with pytest.raises(NotFound):
            driver.get(ref)
        with pytest.raises(NotFound):
            driver.delete(ref, False)
    assert driver.store.stats()["snippets"] == 0


def test_an_unknown_ref_is_not_found(driver):
    driver.create("page", "blog/intro", {"title": "a"})
    with pytest.raises(NotFound) as caught:
        driver.get("blog/intor")
    assert "blog/intro" in caught.value.hint
    for ref in ("", "zzz", "019a3c5e-7d21-74f3-9c1e-55d0a8b7e6f4", "x" * 36, "../etc", "ä"):
        with pytest.raises(NotFound):
            driver.get(ref)


def test_an_id_with_the_time_of_another_is_not_found(driver):
    snippet_id = driver.create("page", "", {"title": "a"})
    other = snippet_id[:-1] + ("0" if snippet_id[-1] != "0" else "1")
    with pytest.raises(NotFound):
        driver.get(other)


def test_pages_follow_each_other_in_creation_order(driver):
    ids = [driver.create("note" if n % 3 else "page", "", {"title": str(n)}) for n in range(25)]

    def walk(type_name, limit):
        after, found = "", []
        while True:
            page = driver.page(type_name, after, limit)
            found += [record.id for record in page.records]
            assert len(page.records) <= limit
            if not page.cursor:
                return found
            after = page.cursor

    assert ids == sorted(ids)
    assert walk("", 1) == walk("", 7) == walk("", 25) == walk("", 1000) == ids
    assert walk("page", 2) == ids[::3]
    driver.delete(ids[7], False)
    assert [record.id for record in driver.page("", ids[7], 2).records] == ids[8:10]


def test_page_limits(driver):
    for n in range(101):
        driver.start("create", "note", "", {"n": n})
    driver.settle()
    assert len(driver.page("", "", 0).records) == 100
    with pytest.raises(Malformed):
        driver.page("", "", 1001)
    with pytest.raises(Malformed):
        driver.page("", "intro", 1)
    with pytest.raises(NotFound):
        driver.page("nots", "", 1)


def test_a_page_of_large_snippets_ends_early(driver):
    ids = [driver.create("note", "", {"n": "x" * 3_000_000}) for _ in range(3)]
    page = driver.page("", "", 3)
    assert [record.id for record in page.records] == ids[:1]
    assert [record.id for record in driver.page("", page.cursor, 3).records] == ids[1:2]


def test_content_too_large_for_a_get_is_refused(driver):
    with pytest.raises(Invalid):
        driver.create("note", "", b'{"n":"' + b"x" * (16 * 1024 * 1024 - 100) + b'"}')


def test_creation_order_holds_when_the_clock_goes_back(open_store):
    now = [2 * 10**18]
    driver = open_store(clock=lambda: now[0])
    driver.define("note", {})
    ids = []
    for step in (0, 0, -(10**18), 5, 10**9):
        now[0] += step
        ids += [driver.create("note", "", {}) for _ in range(3)]
    assert ids == sorted(set(ids))
    driver.close()
    now[0] = 10**18
    again = open_store(clock=lambda: now[0])
    ids.append(again.create("note", "", {}))
    assert [record.id for record in again.page("", "", 0).records] == ids == sorted(ids)


def test_a_record_larger_than_a_page_is_a_page_of_its_own(driver):
    driver.define("note", {})
    small, large, last = (driver.create("note", "", {"text": "x" * size}) for size in (10, 2 * PAGE_BYTES, 10))
    pages = []
    after = ""
    while not pages or after:
        page = driver.page("note", after, 100)
        pages.append([record.id for record in page.records])
        after = page.cursor
    assert pages == [[small], [large], [last]]
    assert len(driver.page("note", small, 100).records[0].content) > 2 * PAGE_BYTES
