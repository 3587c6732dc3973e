"""Contents that are checked by a worker: order, what changes meanwhile, and errors."""

from __future__ import annotations

import json

import pytest

from reed.errors import Conflict, Invalid, JobTimeout, Malformed, NotFound
from reed.store.schema_cost import MAX_CONTENT_IN_LOOP
from reed.store.workers import Origin
from reed.wire.snippets import Record

LONG = "x" * (MAX_CONTENT_IN_LOOP + 1)
ALICE, BOB = Origin("alice", 1), Origin("bob", 2)
TYPE = {
    "schema": {"type": "object", "properties": {"title": {"type": "string"}, "n": {"type": "integer"}}},
    "unique": ["slug"],
    "searchable": {"title": 1},
}


@pytest.fixture
def late(open_store):
    driver = open_store(late=1)
    driver.define("page", TYPE)
    return driver


class Write:
    """A write of an origin: `driver.start` has no origin."""

    def __init__(self, driver, operation: str, *arguments: object, origin: Origin = ALICE, **options: object) -> None:
        self.results: list[object] = []
        values = [json.dumps(each).encode() if isinstance(each, dict) else each for each in arguments]
        options["origin"] = origin
        try:
            getattr(driver.store, operation)(*values, self.results.append, self.results.append, **options)
        except Exception as error:  # noqa: BLE001
            self.results.append(error)

    @property
    def result(self) -> object:
        assert len(self.results) == 1, self.results
        return self.results[0]


def test_a_long_content_is_checked_elsewhere_and_then_written(late):
    write = Write(late, "create", "page", "long", {"title": LONG, "n": 1})
    late.store.commit()
    assert write.results == []
    late.settle()
    assert late.get("long").id == write.result
    assert json.loads(late.get("long").content)["title"] == LONG


def test_a_long_content_that_does_not_fit_is_refused_with_its_problems(late):
    write = Write(late, "create", "page", "", {"title": LONG, "n": "many"})
    late.settle()
    assert isinstance(write.result, Invalid)
    assert "$.n" in write.result.message
    assert late.store.stats()["snippets"] == 0


def test_a_long_text_that_is_no_json_is_refused(late):
    write = Write(late, "create", "page", "", b'{"title": "' + LONG.encode())
    late.settle()
    assert isinstance(write.result, Malformed)


def test_millions_of_wrong_items_are_refused_without_listing_them(late):
    late.define("list", {"schema": {"properties": {"x": {"items": {"type": "string"}}}}})
    write = Write(late, "create", "list", "", b'{"x":[' + b"1," * 1_000_000 + b"1]}")
    late.settle()
    assert isinstance(write.result, Invalid)
    assert len(write.result.message) < 1000


def test_later_writes_of_the_same_origin_wait_and_others_do_not(late):
    late.create("page", "home", {"n": 1})
    writes = [
        Write(late, "update", "home", 0, {"title": LONG}),
        Write(late, "update", "home", 0, {"n": 2}),
        Write(late, "rename", "home", "start"),
        Write(late, "create", "page", "home", {"n": 3}),
    ]
    other = Write(late, "create", "page", "other", {}, origin=BOB)
    late.store.commit()
    assert isinstance(other.result, str)
    assert all(write.results == [] for write in writes)
    late.settle()
    assert all(isinstance(write.result, str) for write in writes)
    assert json.loads(late.get("start").content) == {"title": LONG, "n": 2}
    assert json.loads(late.get("home").content) == {"n": 3}


def test_a_refused_content_lets_the_writes_after_it_go_on(late):
    bad = Write(late, "create", "page", "", {"title": LONG, "n": "x"})
    good = Write(late, "create", "page", "good", {})
    late.settle()
    assert isinstance(bad.result, Invalid)
    assert good.result == late.get("good").id


def test_an_update_that_another_write_overtakes_is_made_on_what_is_there_now(late):
    late.create("page", "home", {"n": 1})
    long = Write(late, "update", "home", 0, {"title": LONG})
    short = Write(late, "update", "home", 0, {"n": 2}, origin=BOB)
    late.settle()
    assert isinstance(short.result, str)
    assert isinstance(long.result, str)
    record = late.get("home")
    assert (record.version, json.loads(record.content)) == (3, {"n": 2, "title": LONG})


def test_an_update_of_a_version_that_another_write_replaces_is_a_conflict(late):
    late.create("page", "home", {"n": 1})
    long = Write(late, "update", "home", 1, {"title": LONG})
    Write(late, "update", "home", 1, {"n": 2}, origin=BOB)
    late.settle()
    assert isinstance(long.result, Conflict)
    assert late.get("home").version == 2


def test_an_update_of_a_snippet_that_is_deleted_meanwhile_is_not_found(late):
    late.create("page", "home", {})
    long = Write(late, "update", "home", 0, {"title": LONG})
    Write(late, "delete", "home", False, origin=BOB)
    late.settle()
    assert isinstance(long.result, NotFound)


def test_a_name_that_is_taken_meanwhile_is_a_conflict(late):
    long = Write(late, "create", "page", "home", {"title": LONG})
    Write(late, "create", "page", "home", {}, origin=BOB)
    late.settle()
    assert isinstance(long.result, Conflict)


def test_a_unique_value_that_is_taken_meanwhile_is_a_conflict(late):
    long = Write(late, "create", "page", "", {"title": LONG, "slug": "a"})
    Write(late, "create", "page", "first", {"slug": "a"}, origin=BOB)
    late.settle()
    assert isinstance(long.result, Conflict)
    again = Write(late, "create", "page", "", {"title": LONG, "slug": "b"})
    late.settle()
    found = late.find("page", b'{"slug": "b"}', "", 0)
    assert [record.id for record in found.records] == [again.result]


def test_a_type_that_is_defined_again_meanwhile_is_the_one_that_counts(late):
    long = Write(late, "create", "page", "", {"title": LONG})
    Write(late, "define", "page", {"schema": {"properties": {"title": {"maxLength": 10}}}}, origin=BOB)
    late.settle()
    assert isinstance(long.result, Invalid)


def test_a_restore_keeps_a_long_content_that_no_longer_fits_with_a_warning(late):
    at = 1_700_000_000_000_000
    content = json.dumps({"title": LONG, "n": "x", "slug": "s"}).encode()
    record = Record("0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", "page", "old", 7, at, at, content)
    refused = Write(late, "restore", record)
    late.settle()
    assert isinstance(refused.result, Invalid)
    kept = Write(late, "restore", record, accept_unfit=True)
    late.settle()
    assert "$.n" in kept.result.warning
    assert late.get("old") == record
    assert late.find("page", b'{"slug": "s"}', "", 0).records == [record]


def test_a_preview_and_a_replacement_of_a_long_content(late):
    late.create("page", "home", {"n": 1})
    preview = Write(late, "preview", "home", 0, {"title": LONG})
    late.settle()
    assert json.loads(preview.result.content) == {"n": 1, "title": LONG}
    replaced = Write(late, "replace", preview.result.record, preview.result.content, name="start")
    late.settle()
    assert late.get("start").id == replaced.result
    stale = Write(late, "replace", preview.result.record, preview.result.content)
    late.settle()
    assert isinstance(stale.result, Conflict)


class NoTime:
    """Workers that reach every deadline."""

    def submit(self, kind, _arguments, _done, failed, *, origin, deadline) -> None:
        failed(JobTimeout(f"{kind} took too long"))

    def hold(self, callback) -> None:
        callback(lambda: None)


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
def test_contents_of_a_type_that_may_be_slow_are_all_checked_elsewhere(late, schema):
    late.define("slow", {"schema": schema})
    good, bad = Write(late, "create", "slow", "", {"x": "b"}), Write(late, "create", "slow", "", b"[]", origin=BOB)
    assert good.results == []
    late.settle()
    assert isinstance(good.result, str)
    assert isinstance(bad.result, Malformed)


def test_when_idle_waits_for_contents_that_are_away(late):
    calls: list[bool] = []
    late.store.when_idle(lambda: calls.append(True))
    late.store.commit()
    assert calls == [True]
    write = Write(late, "create", "page", "", {"title": LONG})
    late.store.when_idle(lambda: calls.append(bool(write.results)))
    late.store.commit()
    assert calls == [True]
    late.settle()
    assert calls == [True, True]
