"""Renaming, and prefixes of ids."""

from __future__ import annotations

import pytest

from reed.errors import Conflict, Malformed, NotFound


class Clock:
    """A clock that the test sets, in milliseconds since 1970."""

    def __init__(self) -> None:
        self.ms = 0x0190A5B27C3D

    def __call__(self) -> int:
        return self.ms * 1_000_000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def driver(open_store, clock):
    driver = open_store(clock=clock)
    driver.define("page", {"searchable": {"title": 1}})
    return driver


def test_a_snippet_is_renamed(driver, clock):
    snippet_id = driver.create("page", "old", b'{ "title": "Zebra", "n": 1e2 }')
    assert driver.search("zebra", "", 0, 0).hits[0].semantic_name == "old"
    before = driver.get("old")
    clock.ms += 5
    assert driver.rename("old", "new") == snippet_id
    record = driver.get("new")
    assert record == before._replace(semantic_name="new", version=2, updated_at=before.updated_at + 5000)
    assert driver.get(snippet_id) == record
    with pytest.raises(NotFound):
        driver.get("old")
    assert driver.search("zebra", "", 0, 0).hits[0].semantic_name == "new"
    driver.create("page", "old", {})
    assert driver.get("new") == record


def test_a_name_can_be_removed_and_given_again(driver):
    snippet_id = driver.create("page", "a", {})
    driver.rename("a", "")
    assert driver.get(snippet_id).semantic_name == ""
    driver.rename(snippet_id, "b")
    assert driver.get("b").id == snippet_id
    driver.rename("b", "b")
    assert driver.get("b").version == 4


def test_a_rename_that_is_refused_changes_nothing(driver):
    driver.create("page", "a", {})
    other = driver.create("page", "b", {})
    with pytest.raises(Conflict) as caught:
        driver.rename("a", "b")
    assert other in caught.value.message
    with pytest.raises(NotFound):
        driver.rename("c", "d")
    for bad in ("a b", "/x", "n" * 32):
        with pytest.raises(Malformed):
            driver.rename("a", bad)
    assert driver.get("a").version == 1
    assert driver.get("b").id == other


def test_a_rename_does_not_check_content_that_no_longer_fits(driver):
    driver.create("page", "a", {})
    driver.define("page", {"schema": {"required": ["title"]}})
    driver.rename("a", "b")
    assert driver.get("b").version == 2


def test_a_rename_is_an_update_to_subscribers(driver):
    driver.store.subscribe({"snippet.updated": ["seo"]})
    snippet_id = driver.create("page", "a", {})
    driver.rename("a", "b")
    event = driver.next_event("seo")
    assert (event.kind, event.snippet_id, event.semantic_name, event.version) == ("snippet.updated", snippet_id, "b", 2)


def test_a_unique_prefix_of_an_id_is_a_ref(driver, clock):
    one = driver.create("page", "", {})
    clock.ms += 1 << 20
    two = driver.create("page", "", {})
    for ref in (one[:8], one[:9], one[:13], one[:14], one[:15], one[:18], one[:19], one[:35], one[:8].upper()):
        assert driver.get(ref).id == one, ref
    assert driver.update(two[:10], 0, {"a": 1}) == two
    assert driver.rename(two[:10], "two") == two
    assert driver.delete(two[:10], False) == two
    with pytest.raises(NotFound):
        driver.get(two[:10])
    for ref in (one[:7], one[:8] + "0", one[:20] + "zz", one[:8] + "--", one.replace("-", "")[:12] + "f"):
        with pytest.raises(NotFound):
            driver.get(ref)


def test_an_ambiguous_prefix_shows_the_count_and_the_first_ids(driver, clock):
    ids = []
    for _ in range(7):
        ids.append(driver.create("page", "", {}))
        clock.ms += 1
    with pytest.raises(Conflict) as caught:
        driver.get(ids[0][:8])
    assert "7 snippets" in caught.value.message
    assert all(each in caught.value.message for each in ids[:3])
    assert ids[6] not in caught.value.message
    with pytest.raises(Conflict):
        driver.delete(ids[0][:8], True)
    assert driver.get(ids[2][:14]).id == ids[2]


def test_a_name_takes_precedence_over_a_prefix(driver):
    snippet_id = driver.create("page", "", {})
    named = driver.create("page", snippet_id[:8], {})
    assert driver.get(snippet_id[:8]).id == named
    assert driver.get(snippet_id[:18]).id == snippet_id
