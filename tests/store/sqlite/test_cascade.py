"""DELETE with cascade of a snippet with many bonds: deleted in slices, and nothing sees them meanwhile."""

from __future__ import annotations

import json

import pytest

from reed.errors import Conflict, NotFound
from reed.store.sqlite import bonds

MANY = 3 * bonds.MAX_DELETED


@pytest.fixture
def children(driver):
    """MANY children of `hub`, which is a child of `top`, and has `grandchild` below the first child."""
    driver.define("node", {})
    for name in ("top", "hub", "grandchild"):
        driver.create("node", name, {})
    answers = [driver.start("create", "node", "", {"n": number}) for number in range(MANY)]
    driver.store.commit()
    ids = [answer.values[0] for answer in answers]
    for child in ids:
        driver.start("bond", "hub", child, 0, "")
    driver.start("bond", "top", "hub", 0, "")
    driver.start("bond", ids[0], "grandchild", 0, "")
    driver.store.commit()
    return ids


def delete_hub(driver):
    """Without the slices that follow."""
    answer = driver.start("delete", "hub", True)
    driver.store.commit()
    assert answer.values
    assert driver.store.has_work


def test_bonds_left_behind_are_invisible(driver, children):
    delete_hub(driver)
    assert json.loads(driver.tree("top", 0))["children"] == []
    roots = json.loads(driver.tree("", 0))
    assert [root["id"] for root in roots] == [children[0]], "the only one with a child and no parent"
    driver.start("bond", children[1], "top", 0, "")  # through the deleted hub this would be a cycle
    driver.store.commit()
    assert json.loads(driver.tree(children[1], 0))["children"][0]["name"] == "top"


def test_they_are_deleted_at_the_end(driver, children):
    delete_hub(driver)
    while driver.turn():
        pass
    assert driver.store.stats()["bonds"] == 1
    with pytest.raises(NotFound):
        driver.unbond("top", children[5])


def test_a_child_that_lost_its_parent_is_deleted_without_cascade(driver, children):
    delete_hub(driver)
    driver.start("delete", children[-1], False)
    driver.store.commit()
    with pytest.raises(NotFound):
        driver.get(children[-1])


def test_its_id_is_not_restored_meanwhile(driver, children):
    record = driver.get("hub")
    delete_hub(driver)
    answer = driver.start("restore", record)
    driver.store.commit()
    assert isinstance(answer.errors[0], Conflict)
    while driver.turn():
        pass
    assert driver.restore(record).outcome == "created"
    assert json.loads(driver.tree("hub", 0))["children"] == []
