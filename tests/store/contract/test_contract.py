"""The contract (reed.store.base) itself: every member is documented, and the store has all of them."""

from __future__ import annotations

import inspect

from reed.store.base import Store


def public(names):
    return {name for name in names if not name.startswith("_")}


METHODS = public(vars(Store))
MEMBERS = METHODS | public(Store.__annotations__)


def test_each_member_is_documented():
    assert {name for name in METHODS if not inspect.getdoc(getattr(Store, name))} == set()


def test_a_store_has_the_members_of_the_contract_with_their_signatures(driver):
    for name in MEMBERS:
        member = getattr(driver.store, name)
        if callable(member) and inspect.isfunction(getattr(type(driver.store), name, None)):
            expected = list(inspect.signature(getattr(Store, name)).parameters)[1:]
            assert list(inspect.signature(member).parameters) == expected, name


def test_the_figures_of_every_store(driver):
    driver.create("note", "a", {})
    driver.create("note", "b", {})
    driver.bond("a", "b", 0, "")
    driver.settle()
    expected = {"snippets": 2, "types": 2, "bonds": 1, "events": 0, "unindexed": 0}
    stats = driver.store.stats()
    assert {name: stats[name] for name in expected} == expected
    assert driver.store.fsync_seconds >= 0


def test_changes_differs_when_a_read_may_give_something_else(driver):
    seen = driver.store.changes
    driver.create("note", "a", {})
    assert driver.store.changes != seen
