"""SNIPPET_RESTORE, and the check for snippets that do not fit their type."""

from __future__ import annotations

import json
import time

import pytest

from reed.errors import Conflict, Invalid, Malformed, NotFound
from reed.store.workers import Origin
from reed.wire.snippets import Record, RestoreFlag

OLD = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
AT = 1_700_000_000_000_000
DAY = 24 * 3600


def record(snippet_id=OLD, version=3, content=b'{"title":"zebra"}', name="", kind="page", created=AT, updated=AT + 5):
    return Record(snippet_id, kind, name, version, created, updated, content)


def restore(driver, what, *, accept_unfit=False, overwrite=False, dry_run=False, **options):
    """The outcome and the warning, or the error raised."""
    flags = accept_unfit * RestoreFlag.ACCEPT_UNFIT | overwrite * RestoreFlag.OVERWRITE | dry_run * RestoreFlag.DRY_RUN
    restored = driver.restore(what, flags=flags, **options)
    return restored.outcome, restored.warning


def named(driver):
    return [(each.id, each.semantic_name, each.version) for each in driver.page("", "", 0).records]


def test_a_record_is_restored_exactly(driver):
    assert restore(driver, record(name="a")) == ("created", "")
    assert driver.get("a") == driver.get(OLD) == record(name="a")
    assert restore(driver, record(name="a")) == ("unchanged", "")
    assert driver.store.stats()["snippets"] == 1
    newer = record(name="b", version=4, content=b'{"title":"two", "n": 1.50}', updated=AT + 9)
    assert restore(driver, newer) == ("replaced", "")
    assert driver.get("b") == newer
    with pytest.raises(NotFound):
        driver.get("a")


def test_a_record_restored_as_another_type_is_found_by_that_ones_fields(driver):
    driver.define("plain", {})
    restore(driver, record())
    assert driver.search("zebra", "", 0, 0).total == 1
    restore(driver, record(version=4, kind="plain"))
    assert driver.search("zebra", "", 0, 0).total == 0


def test_a_restored_record_survives_a_restart(open_store):
    driver = open_store()
    driver.define("page", {})
    restore(driver, record())
    driver.close()
    again = open_store()
    assert again.get(OLD) == record()
    assert again.create("page", "", {}) > OLD


def test_a_newer_version_is_kept_without_overwrite(driver):
    restore(driver, record(version=5))
    for other in (record(version=4), record(version=5, content=b'{"title":"other"}'), record(version=5, name="x")):
        with pytest.raises(Conflict):
            restore(driver, other)
        assert driver.get(OLD) == record(version=5)
    assert restore(driver, record(version=2), overwrite=True) == ("replaced", "")
    assert driver.get(OLD) == record(version=2)


def test_a_dry_run_gives_the_same_result_and_writes_nothing(driver):
    assert restore(driver, record(), dry_run=True) == ("created", "")
    assert named(driver) == []
    restore(driver, record(version=2))
    assert restore(driver, record(), dry_run=True) == ("replaced", "")
    assert named(driver) == [(OLD, "", 2)]
    with pytest.raises(Conflict):
        restore(driver, record(version=1), dry_run=True)


def test_unfit_content_requires_accept_unfit_and_gives_a_warning(driver):
    unfit = record(content=b'{"body":"no title"}')
    with pytest.raises(Invalid, match="title"):
        restore(driver, unfit)
    outcome, warning = restore(driver, unfit, accept_unfit=True)
    assert (outcome, "title" in warning) == ("created", True)
    assert driver.get(OLD) == unfit


def test_a_restore_with_a_used_name_or_an_unknown_type_is_refused(driver):
    driver.create("note", "taken", {})
    with pytest.raises(Conflict):
        restore(driver, record(name="taken"))
    with pytest.raises(Invalid):
        restore(driver, record(kind="nosuch"), accept_unfit=True)
    assert len(named(driver)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        record("0190a5b2-7c3d-4e4f-8a9b-0c1d2e3f4a5b"),  # a UUID version 4
        record("0190a5b2-7c3d-7e4f-ca9b-0c1d2e3f4a5b"),  # of another variant
        record("00000000-0000-7000-8000-000000000000"),  # sequence number 0 is the cursor of the beginning
        record("ffffffff-ffff-7fff-bfff-ffffffffffff"),  # leaves no room for new ids
        record("blog/intro"),
        record(""),
        record(version=0),
        record(version=1 << 31),
        record(updated=(1 << 63) + 5),
        record(created=7_258_118_400_000_000),
        record(content=b"[1]"),
        record(content=b'{"title":NaN}'),
        record(name="no good"),
        record(kind="No Type"),
    ],
)
def test_impossible_records_are_refused(driver, wrong):
    with pytest.raises((Invalid, Malformed)):
        restore(driver, wrong, accept_unfit=True, overwrite=True)
    assert named(driver) == []


def test_future_times_require_accept_unfit_and_give_a_warning(driver):
    later = int(time.time() + 2 * DAY)
    digits = f"{later * 1000:012x}"
    for ahead in (record(updated=later * 1_000_000), record(f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000")):
        with pytest.raises(Invalid):
            restore(driver, ahead)
        outcome, warning = restore(driver, ahead, accept_unfit=True)
        assert (outcome, "future" in warning) == ("created", True)
        assert driver.get(ahead.id) == ahead
    assert driver.create("note", "", {}) > ahead.id


def test_an_update_time_before_the_creation_time_is_accepted(driver):
    assert restore(driver, record(created=AT + 6)) == ("created", "")


def test_new_ids_come_after_restored_ones(open_store):
    now = 1_800_000_000 * 10**9
    driver = open_store(clock=lambda: now)
    driver.define("page", {})
    ahead = f"{(now // 10**6) + 1000:012x}"
    restore(driver, record(f"{ahead[:8]}-{ahead[8:]}-7000-8000-000000000000"))
    made = driver.create("page", "", {})
    assert named(driver)[-1][0] == made


def test_a_restored_snippet_is_indexed_wherever_its_id_lies(driver):
    driver.create("page", "", {"title": "horse"})
    driver.settle()  # the index has passed the id that is restored next
    restore(driver, record())
    assert [hit.id for hit in driver.search("zebra", "", 0, 0).hits] == [OLD]
    restore(driver, record(version=4, content=b'{"title":"donkey"}'))
    assert [hit.id for hit in driver.search("donkey", "", 0, 0).hits] == [OLD]
    assert driver.search("zebra", "", 0, 0).total == 0
    driver.delete(OLD, False)
    restore(driver, record())
    assert driver.search("zebra", "", 0, 0).total == 1


def test_a_restore_is_an_event(driver):
    kinds = ("snippet.created", "snippet.updated")
    driver.store.subscribe({kind: ["seo", "backup"] for kind in kinds})
    restore(driver, record(), origin=Origin("backup", plugin="backup"))
    restore(driver, record(), origin=Origin("backup", plugin="backup"))
    restore(driver, record(version=9), origin=Origin("backup", plugin="backup"))
    seen = []
    while (event := driver.next_event("seo")) is not None:
        seen.append((event.kind, event.snippet_id, event.version))
        driver.store.ack("seo", event.id)
    assert seen == [("snippet.created", OLD, 3), ("snippet.updated", OLD, 9)]
    assert driver.next_event("backup") is None


def test_check_reports_unfit_snippets_page_by_page(driver):
    ids = [driver.create("page", f"p{n}", {"title": "t", "n": n}) for n in range(7)]
    driver.define("page", {"schema": {"properties": {"n": {"maximum": 3}}}})
    whole = json.loads(driver.check("page", "", 0))
    assert (whole["checked"], whole["unfit"], whole["cursor"]) == (7, 3, "")
    assert [(each["id"], each["name"]) for each in whole["first"]] == [(ids[n], f"p{n}") for n in (4, 5, 6)]
    assert "$.n" in whole["first"][0]["problem"]
    cursor, parts = "", []
    while True:
        part = json.loads(driver.check("page", cursor, 3))
        parts.append((part["checked"], part["unfit"]))
        cursor = part["cursor"]
        if not cursor:
            break
    assert parts == [(3, 0), (3, 2), (1, 1)]
    with pytest.raises(NotFound):
        driver.check("nosuch", "", 0)
    with pytest.raises(Malformed):
        driver.check("page", "no-id", 0)


def test_a_second_store_takes_all_records(driver, open_store):
    made = [driver.create("note", f"n{n}", {"n": n}) for n in range(20)]
    other = open_store("other")
    other.define("note", {})
    for snippet_id in reversed(made):  # in any order
        restore(other, driver.get(snippet_id))
    assert other.page("", "", 0).records == driver.page("", "", 0).records


def test_a_restored_snippet_is_in_the_field_indexes_and_cannot_repeat_a_unique_value(driver):
    def found(kind, conditions):
        return [each.id for each in driver.find(kind, conditions, "", 0).records]

    driver.define("page", {"unique": ["slug"]})
    driver.define("note", {"indexed": ["slug"]})
    here = driver.create("page", "", {"slug": "a"})
    taken = record(content=b'{"slug":"a"}')
    for how in ({}, {"dry_run": True}, {"accept_unfit": True}):
        with pytest.raises(Conflict) as caught:
            restore(driver, taken, **how)
        assert here in caught.value.message
    assert found("page", b'{"slug":"a"}') == [here]
    restore(driver, record(content=b'{"slug":"b"}'))
    assert found("page", b'{"slug":"b"}') == [OLD]
    restore(driver, record(content=b'{"slug":"c"}', version=4))
    assert (found("page", b'{"slug":"b"}'), found("page", b'{"slug":"c"}')) == ([], [OLD])
    restore(driver, record(content=b'{"slug":"c"}', version=5, kind="note"))
    assert (found("page", b'{"slug":"c"}'), found("note", b'{"slug":"c"}')) == ([], [OLD])
    driver.create("page", "", {"slug": "c"})
