"""Several writes at once: each is answered, in the order in which they were begun."""

from __future__ import annotations

import json

import pytest

from reed.errors import Conflict, Invalid, NotFound
from reed.store.base import Overtaken
from reed.store.workers import Origin


def test_writes_of_one_turn_see_each_other(driver):
    created = driver.start("create", "note", "a", {"n": 1})
    updated = driver.start("update", "a", 1, {"n": 2})
    late = driver.start("update", "a", 1, {"n": 3})
    other = driver.start("create", "note", "b", {})
    bonded = driver.start("bond", "a", "b", 0, "")
    kept = driver.start("delete", "b", False)
    driver.settle()
    assert created.value == updated.value
    assert other.value
    assert bonded.value
    assert driver.get("a").content == b'{"n": 2}'
    for answer in (late, kept):
        with pytest.raises(Conflict):
            _ = answer.value


def test_a_refused_write_does_not_affect_others(driver):
    good = [driver.start("create", "note", f"n{n}", {}) for n in range(3)]
    bad = [
        driver.start("create", "note", "n1", {}),
        driver.start("create", "page", "", {}),
        driver.start("update", "zzz", 0, {}),
        driver.start("bond", "n0", "n0", 0, ""),
        driver.start("define", "x", {"y": 1}),
    ]
    good.append(driver.start("create", "note", "n3", {}))
    driver.settle()
    for answer, error in zip(bad, (Conflict, Invalid, NotFound, Conflict, Invalid), strict=True):
        with pytest.raises(error):
            _ = answer.value
    assert [record.id for record in driver.page("", "", 0).records] == [answer.value for answer in good]


def test_a_callback_may_write_again(driver):
    seen: list[str] = []

    def again(snippet_id: str) -> None:
        driver.store.update(snippet_id, 1, b'{"n":2}', seen.append, lambda error: None)

    driver.store.create("note", "a", b'{"n":1}', again, lambda error: None)
    driver.run_until(lambda: seen)
    assert driver.get("a").content == b'{"n":2}'
    assert seen == [driver.get("a").id]


def test_writes_of_an_origin_take_effect_in_their_order_whatever_others_write(driver):
    origins = [Origin("alice", number) for number in range(3)]
    for number in range(3):
        driver.create("note", f"n{number}", {"steps": []})
    for step in range(20):
        for number, origin in enumerate(origins):
            driver.start("update", f"n{number}", step + 1, {"steps": list(range(step + 1))}, origin=origin)
    driver.settle()
    for number in range(3):
        record = driver.get(f"n{number}")
        assert (record.version, json.loads(record.content)) == (21, {"steps": list(range(20))})


def test_a_version_is_changed_once_whoever_is_first(driver):
    driver.create("note", "a", {"n": 0})
    answers = [driver.start("update", "a", 1, {"n": n}, origin=Origin("caller", n)) for n in range(1, 6)]
    driver.settle()
    winners = [n for n, answer in enumerate(answers, 1) if not answer.errors]
    assert len(winners) == 1
    assert all(isinstance(answer.error, Overtaken) for n, answer in enumerate(answers, 1) if n not in winners)
    assert json.loads(driver.get("a").content) == {"n": winners[0]}


def test_a_name_is_given_once_whoever_is_first(driver):
    answers = [driver.start("create", "note", "a", {}, origin=Origin("caller", n)) for n in range(5)]
    driver.settle()
    assert sorted(bool(answer.errors) for answer in answers) == [False, True, True, True, True]
    assert driver.get("a").id in [answer.values[0] for answer in answers if answer.values]


def test_a_name_that_a_later_write_makes_free_was_not_free(driver):
    """Writes of one connection take effect in their order, also when one is refused."""
    driver.define("page", {})
    driver.settle()
    answers = [
        driver.start("create", "page", "same/name", {"n": 1}),
        driver.start("create", "page", "same/name", {"n": 2}),
        driver.start("delete", "same/name", False),
    ]
    driver.settle()
    assert answers[0].value == answers[2].value
    assert isinstance(answers[1].error, Conflict)


def test_a_unique_value_that_a_later_write_makes_free_was_not_free(driver):
    driver.define("page", {"unique": ["slug"]})
    driver.create("page", "old", {"slug": "s"})
    driver.settle()
    new, renamed = driver.start("create", "page", "new", {"slug": "s"}), driver.start("delete", "old", False)
    driver.settle()
    assert renamed.value
    assert isinstance(new.error, Conflict)
