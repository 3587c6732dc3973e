"""Short reads are made in the loop, long ones by a worker."""

from __future__ import annotations

import json

from reed.store.sqlite.reads import MAX_SMALL_TREE


def test_a_wide_tree_is_read_elsewhere_from_one_snapshot(open_store):
    driver = open_store(late=1)
    driver.define("note", {"composed_of": ["note"], "max_depth": 100})
    root = driver.create("note", "root", {})
    children = [driver.start("create", "note", "", {}) for _ in range(3000)]
    driver.turn()
    for number, child in enumerate(children):
        driver.start("bond", root, child.value, number % 7, "")
    driver.settle()
    answer = driver.start("tree", "root", 0)
    assert not answer.is_there, "3,000 snippets are too many for the loop"
    driver.settle()
    nodes = json.loads(answer.value)["children"]
    assert len(nodes) == 3000
    driver.delete(children[0].value, True)
    keys = [(node["weight"], node["id"]) for node in nodes]
    assert keys == sorted(keys)
    assert len(json.loads(driver.tree("root", 0))["children"]) == 2999


def test_a_root_that_is_deleted_before_its_tree_is_walked_is_not_found(open_store) -> None:
    driver = open_store(late=1)
    driver.define("note", {"composed_of": ["note"]})
    root = driver.create("note", "root", {})
    for child in [driver.create("note", "", {}) for _ in range(MAX_SMALL_TREE + 1)]:
        driver.bond(root, child, 0, "")
    tree = driver.start("tree", root, 0)
    driver.start("delete", root, True)
    driver.store.commit()
    driver.settle()
    assert [error.status for error in tree.errors] == [404]
    assert tree.values == []


def test_a_scan_is_made_elsewhere(open_store):
    driver = open_store(late=1)
    driver.define("page", {})
    for number in range(300):
        driver.start("create", "page", "", {"a": number % 2})
    driver.turn()
    answer = driver.start("find", "page", b'{"a":1}', "", 1000)
    assert not answer.is_there
    driver.settle()
    assert len(answer.value.records) == 150


def test_a_long_page_is_read_elsewhere(open_store, tmp_path):
    driver = open_store(tmp_path / "reed.db", late=1)
    driver.define("page", {})
    for number in range(300):
        driver.start("create", "page", "", {"number": number})
    driver.turn()
    assert driver.start("page", "", "", 100).is_there
    answer = driver.start("page", "", "", 1000)
    assert not answer.is_there
    driver.settle()
    assert len(answer.value.records) == 300
