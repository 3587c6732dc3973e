"""Import and search of 942 real pages."""

from __future__ import annotations

import json

import pytest

from reed.wire import identifiers

PAGE = {
    "schema": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
    "searchable": {"title": 10, "description": 5, "keywords": 4, "body": 1},
}


@pytest.fixture
def site(open_store, pages):
    driver = open_store()
    driver.define("page", PAGE)
    answers = []
    for content in pages:
        path = json.loads(content)["path"]
        name = path if identifiers.is_semantic_name(path) else ""
        answers.append(driver.start("create", "page", name, content))
    driver.settle()
    driver.ids = [answer.value for answer in answers]
    return driver


def paths(driver, query, limit=0):
    page = driver.search(query, "", limit, 0)
    return [json.loads(driver.get(hit.id).content)["path"] for hit in page.hits]


def test_real_pages_are_returned_byte_for_byte(site, pages, open_store):
    site.close()
    again = open_store()
    after, found = "", []
    while True:
        page = again.page("page", after, 500)
        found += page.records
        if not (after := page.cursor):
            break
    assert [record.content for record in found] == pages
    assert again.store.stats()["unindexed"] == 0


def test_pages_are_found(site, pages):
    assert "about/features" in paths(site, "features")
    assert paths(site, "about hugo")[0] == "about/_index"
    phrase = site.search('"content management"', "", 1000, 0)
    words = site.search("content management", "", 1000, 0)
    assert 0 < phrase.total < words.total
    assert site.search("multiling", "", 0, 0).total >= site.search('"multilingual"', "", 0, 0).total > 0
    assert site.search("MÜLTILINGUAL", "", 0, 0).total > 0
    expected = sum(b"shortcode" in content.lower() for content in pages)
    assert 0 < site.search('"shortcode"', "", 1, 0).total <= expected
    for hit in site.search("shortcode", "", 20, 0).hits:
        assert hit.score > 0
        assert hit.excerpt
