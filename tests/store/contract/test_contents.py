"""Contents that are checked by a worker: order, what changes meanwhile, and errors."""

from __future__ import annotations

import json

import pytest

from reed.errors import Conflict, Invalid, JobTimeout, Malformed, NotFound
from reed.store.schema_cost import MAX_LONG_TEXT_IN_LOOP
from reed.store.workers import Origin
from reed.wire.snippets import Record, RestoreFlag

LONG = "x" * (MAX_LONG_TEXT_IN_LOOP + 1)
ALICE, BOB = Origin("alice", 1), Origin("bob", 2)
TYPE = {
    "schema": {"type": "object", "properties": {"title": {"type": "string"}, "n": {"type": "integer"}}},
    "unique": ["slug"],
    "searchable": {"title": 1},
}


@pytest.fixture
def driver(open_store):
    driver = open_store()
    driver.define("page", TYPE)
    return driver


class Away:
    """Alice's write, whose content is in a worker until `back`."""

    def __init__(self, driver, operation, *arguments):
        self._driver = driver
        driver.stop_workers()
        self._answer = driver.start(operation, *arguments, origin=ALICE)

    def back(self):
        assert not self._answer.is_there
        self._driver.stop_workers(False)
        self._driver.run_until(lambda: self._answer.is_there)
        return self._answer


def test_a_long_content_is_checked_elsewhere_and_then_written(driver):
    away = Away(driver, "create", "page", "long", {"title": LONG, "n": 1})
    driver.create("page", "other", {}, origin=BOB)
    assert driver.store.stats()["snippets"] == 1
    written = away.back().value
    assert driver.get("long").id == written
    assert json.loads(driver.get("long").content)["title"] == LONG


def test_a_long_content_that_does_not_fit_is_refused_with_its_problems(driver):
    with pytest.raises(Invalid, match=r"\$\.n"):
        driver.create("page", "", {"title": LONG, "n": "many"})
    assert driver.store.stats()["snippets"] == 0


def test_a_long_text_that_is_no_json_is_refused(driver):
    with pytest.raises(Malformed):
        driver.create("page", "", b'{"title": "' + LONG.encode())


def test_millions_of_wrong_items_are_refused_without_listing_them(driver):
    driver.define("list", {"schema": {"properties": {"x": {"items": {"type": "string"}}}}})
    with pytest.raises(Invalid) as caught:
        driver.create("list", "", b'{"x":[' + b"1," * 1_000_000 + b"1]}")
    assert len(caught.value.message) < 1000


def test_later_writes_of_the_same_origin_wait_and_others_do_not(driver):
    driver.create("page", "home", {"n": 1})
    away = Away(driver, "update", "home", 0, {"title": LONG})
    later = [
        driver.start("update", "home", 0, {"n": 2}, origin=ALICE),
        driver.start("rename", "home", "start", origin=ALICE),
        driver.start("create", "page", "home", {"n": 3}, origin=ALICE),
    ]
    driver.create("page", "other", {}, origin=BOB)
    assert not any(answer.is_there for answer in later)
    assert away.back().value
    driver.settle()
    assert all(answer.value for answer in later)
    assert json.loads(driver.get("start").content) == {"title": LONG, "n": 2}
    assert json.loads(driver.get("home").content) == {"n": 3}


def test_a_refused_content_lets_the_writes_after_it_go_on(driver):
    bad = driver.start("create", "page", "", {"title": LONG, "n": "x"}, origin=ALICE)
    good = driver.start("create", "page", "good", {}, origin=ALICE)
    driver.settle()
    assert isinstance(bad.error, Invalid)
    assert good.value == driver.get("good").id


def test_an_update_that_another_write_overtakes_is_made_on_what_is_there_now(driver):
    driver.create("page", "home", {"n": 1})
    away = Away(driver, "update", "home", 0, {"title": LONG})
    driver.update("home", 0, {"n": 2}, origin=BOB)
    assert away.back().value
    record = driver.get("home")
    assert (record.version, json.loads(record.content)) == (3, {"n": 2, "title": LONG})


def test_an_update_of_a_version_that_another_write_replaces_is_a_conflict(driver):
    driver.create("page", "home", {"n": 1})
    away = Away(driver, "update", "home", 1, {"title": LONG})
    driver.update("home", 1, {"n": 2}, origin=BOB)
    assert isinstance(away.back().error, Conflict)
    assert driver.get("home").version == 2


def test_an_update_of_a_snippet_that_is_deleted_meanwhile_is_not_found(driver):
    driver.create("page", "home", {})
    away = Away(driver, "update", "home", 0, {"title": LONG})
    driver.delete("home", False, origin=BOB)
    assert isinstance(away.back().error, NotFound)


def test_a_name_that_is_taken_meanwhile_is_a_conflict(driver):
    away = Away(driver, "create", "page", "home", {"title": LONG})
    driver.create("page", "home", {}, origin=BOB)
    assert isinstance(away.back().error, Conflict)


def test_a_unique_value_that_is_taken_meanwhile_is_a_conflict(driver):
    away = Away(driver, "create", "page", "", {"title": LONG, "slug": "a"})
    driver.create("page", "first", {"slug": "a"}, origin=BOB)
    assert isinstance(away.back().error, Conflict)
    again = driver.create("page", "", {"title": LONG, "slug": "b"})
    found = driver.find("page", b'{"slug": "b"}', "", 0)
    assert [record.id for record in found.records] == [again]


def test_a_type_that_is_defined_again_meanwhile_is_the_one_that_counts(driver):
    away = Away(driver, "create", "page", "", {"title": LONG})
    stricter = {**TYPE, "schema": {"properties": {"title": {"maxLength": 10}}}}
    driver.define("page", stricter, origin=BOB)
    assert isinstance(away.back().error, Invalid)


def test_a_restore_keeps_a_long_content_that_no_longer_fits_with_a_warning(driver):
    at = 1_700_000_000_000_000
    content = json.dumps({"title": LONG, "n": "x", "slug": "s"}).encode()
    record = Record("0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", "page", "old", 7, at, at, content)
    with pytest.raises(Invalid):
        driver.restore(record)
    kept = driver.restore(record, flags=RestoreFlag.ACCEPT_UNFIT)
    assert "$.n" in kept.warning
    assert driver.get("old") == record
    assert driver.find("page", b'{"slug": "s"}', "", 0).records == [record]


def test_a_preview_and_a_replacement_of_a_long_content(driver):
    driver.create("page", "home", {"n": 1})
    preview = driver.preview("home", 0, {"title": LONG})
    assert json.loads(preview.content) == {"n": 1, "title": LONG}
    replaced = driver.replace(preview.record, preview.content, name="start")
    assert driver.get("start").id == replaced
    with pytest.raises(Conflict):
        driver.replace(preview.record, preview.content)


class NoTime:
    """Workers that reach every deadline."""

    def submit(self, kind, _arguments, _done, failed, *, origin, deadline) -> None:
        failed(JobTimeout(f"{kind} took too long"))

    def hold(self, callback) -> None:
        callback(lambda: None)

    def over_budget(self) -> bool:
        return False


def test_a_content_beyond_its_deadline_is_refused_and_nothing_is_written(open_store):
    driver = open_store(workers=NoTime())
    driver.define("page", TYPE)
    with pytest.raises(JobTimeout):
        driver.create("page", "", {"title": LONG})
    assert driver.create("page", "short", {})
    assert driver.store.stats()["snippets"] == 1


def test_a_definition_that_cannot_be_tried_in_time_is_refused(open_store):
    driver = open_store(workers=NoTime())
    endless = {"schema": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}
    with pytest.raises(Invalid):
        driver.define("endless", endless)
    with pytest.raises(NotFound):
        driver.definition("endless")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"pattern": "(?<=a)(a+)+c|b"}}},
        {"properties": {"x": {"uniqueItems": True}}},
        {"properties": {f"p{n}": {"title": "x" * 20} for n in range(1000)}},
    ],
)
def test_contents_of_a_type_that_may_be_slow_are_all_checked_elsewhere(driver, schema):
    driver.define("slow", {"schema": schema})
    away = Away(driver, "create", "slow", "", {"x": "b"})
    driver.create("page", "", {}, origin=BOB)
    assert away.back().value
    with pytest.raises(Malformed):
        driver.create("slow", "", b"[]")


def test_when_idle_waits_for_contents_that_are_away(driver):
    calls = []
    driver.store.when_idle(lambda: calls.append(True))
    driver.run_until(lambda: calls)
    away = Away(driver, "create", "page", "", {"title": LONG})
    driver.store.when_idle(lambda: calls.append(True))
    driver.create("page", "other", {}, origin=BOB)
    assert calls == [True]
    assert away.back().value
    driver.run_until(lambda: calls == [True, True])
