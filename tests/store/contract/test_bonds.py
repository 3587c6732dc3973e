"""Bonds and trees (protocol.md#bonds)."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from reed.errors import Conflict, Invalid, Malformed, NotFound, TooLarge


@pytest.fixture
def family(driver):
    """a, b, c, d: four notes without bonds."""
    for name in "abcd":
        driver.create("note", name, {})
    return driver


def shape(node):
    """A tree as {name: shape of its children}."""
    if isinstance(node, list):
        return {part["name"]: shape(part["children"]) for part in node}
    return {node["name"]: shape(node["children"])}


def tree(driver, root="", depth=0):
    return json.loads(driver.tree(root, depth))


def test_children_are_sorted_by_weight_then_path(family):
    bond_id = family.bond("a", "b", 5, "second")
    assert len(bond_id) == 36
    family.bond("a", "c", -5, 'fi"rst\nü')
    family.bond("a", "d", 5, "")
    whole = tree(family, "a")
    assert whole == {
        "id": family.get("a").id,
        "type": "note",
        "name": "a",
        "weight": 0,
        "path": "",
        "children": [
            {"id": family.get("c").id, "type": "note", "name": "c", "weight": -5, "path": 'fi"rst\nü', "children": []},
            {"id": family.get("d").id, "type": "note", "name": "d", "weight": 5, "path": "", "children": []},
            {"id": family.get("b").id, "type": "note", "name": "b", "weight": 5, "path": "second", "children": []},
        ],
    }
    assert tree(family) == [whole]


def test_roots_have_children_and_no_parent(family):
    assert tree(family) == []
    family.bond("c", "d", 0, "")
    family.bond("b", "c", 0, "")
    assert shape(tree(family)) == {"b": {"c": {"d": {}}}}
    assert shape(tree(family, "a")) == {"a": {}}
    family.bond("a", "c", 0, "")
    assert shape(tree(family)) == {"a": {"c": {"d": {}}}, "b": {"c": {"d": {}}}}


def test_depth_counts_the_levels_below_a_root(family):
    for parent, child in ("ab", "bc", "cd"):
        family.bond(parent, child, 0, "")
    assert shape(tree(family, "a", 1)) == {"a": {"b": {}}}
    assert shape(tree(family, "", 2)) == {"a": {"b": {"c": {}}}}
    assert shape(tree(family, "a", 3)) == shape(tree(family, "a", 0)) == {"a": {"b": {"c": {"d": {}}}}}


def test_a_cycle_is_refused_and_shown(family):
    for parent, child in ("ab", "bc", "cd"):
        family.bond(parent, child, 0, "")
    with pytest.raises(Conflict):
        family.bond("d", "a", 0, "")
    with pytest.raises(Conflict):
        family.bond("b", "a", 0, "")
    with pytest.raises(Conflict):
        family.bond("a", "a", 0, "")
    assert family.store.stats()["bonds"] == 3


def test_a_pair_is_bonded_once(family):
    family.bond("a", "b", 1, "x")
    with pytest.raises(Conflict):
        family.bond("a", "b", 2, "y")
    family.unbond("a", "b")
    family.bond("a", "b", 2, "y")
    family.unbond("a", "b")
    with pytest.raises(NotFound):
        family.unbond("a", "b")
    with pytest.raises(NotFound):
        family.bond("a", "zz", 0, "")


def test_paths_and_weights_beyond_their_fields(family):
    family.bond("a", "b", -(2**31), "ü" * 32767)
    for weight, path in ((2**31, ""), (0, "ü" * 32768), (0, "a\0b")):
        with pytest.raises(Malformed):
            family.bond("a", "c", weight, path)


def test_deleting_a_bonded_snippet_requires_cascade(family):
    family.bond("a", "b", 0, "")
    family.bond("b", "c", 0, "")
    for ref in "abc":
        with pytest.raises(Conflict):
            family.delete(ref, False)
    family.delete("b", True)
    assert tree(family) == []
    assert family.store.stats()["bonds"] == 0
    family.delete("a", False)


def test_deleting_with_cascade_removes_hundreds_of_bonds_as_one_change(family):
    hub = family.create("note", "hub", {})
    family.bond("a", "hub", 0, "")
    children = [family.start("create", "note", "", {}) for _ in range(700)]
    family.settle()
    ids = [child.value for child in children]
    for child in ids:
        family.start("bond", "hub", child, 0, "")
    family.settle()
    record = family.get("hub")
    family.bond(ids[0], "b", 0, "")
    family.delete("hub", True)
    assert tree(family, "a")["children"] == []
    assert [root["id"] for root in tree(family)] == [ids[0]]
    family.bond(ids[1], "a", 0, "")  # through the deleted hub this would be a cycle
    family.delete(ids[-1], False)
    with pytest.raises(NotFound):
        family.unbond("hub", ids[5])
    family.settle()
    assert family.store.stats()["bonds"] == 2
    assert family.restore(record).outcome == "created"
    assert tree(family, hub)["children"] == []


def test_composed_of_restricts_the_types_of_children(driver):
    driver.define("folder", {"composed_of": ["page", "folder"]})
    driver.define("leaf", {"composed_of": []})
    for name, kind in (("f", "folder"), ("g", "folder"), ("n", "note"), ("l", "leaf")):
        driver.create(kind, name, {})
    driver.bond("f", "g", 0, "")
    driver.bond("n", "l", 0, "")
    with pytest.raises(Invalid):
        driver.bond("f", "n", 0, "")
    with pytest.raises(Invalid):
        driver.bond("l", "f", 0, "")


def test_max_depth_limits_the_levels_below_each_snippet_of_the_type(driver):
    driver.define("book", {"max_depth": 2})
    driver.create("book", "book", {})
    for name in "abcde":
        driver.create("note", name, {})
    driver.bond("a", "b", 0, "")
    driver.bond("book", "a", 0, "")
    with pytest.raises(Invalid):
        driver.bond("b", "c", 0, "")
    driver.bond("c", "d", 0, "")
    driver.bond("d", "e", 0, "")
    with pytest.raises(Invalid):
        driver.bond("book", "c", 0, "")
    driver.bond("book", "d", 0, "")
    driver.create("note", "above", {})
    driver.bond("above", "book", 0, "")  # levels above it do not count
    driver.define("tip", {"max_depth": 0})
    driver.create("tip", "tip", {})
    with pytest.raises(Invalid):
        driver.bond("tip", "a", 0, "")


def test_random_bonds_never_form_a_cycle(family):
    random.seed(5)
    names = [f"n{n}" for n in range(12)]
    for name in names:
        family.create("note", name, {})
    below = {name: set() for name in names}

    def reaches(start, end):
        return start == end or any(reaches(child, end) for child in below[start])

    for _ in range(300):
        parent, child = random.sample(names, 2)
        if child in below[parent]:
            family.unbond(parent, child)
            below[parent].discard(child)
        elif reaches(child, parent):
            with pytest.raises(Conflict):
                family.bond(parent, child, 0, "")
        else:
            family.bond(parent, child, random.randrange(3), "")
            below[parent].add(child)
    roots = {name for name in names if below[name]} - {child for children in below.values() for child in children}
    assert {node["name"] for node in tree(family)} == roots


def chain(driver, length):
    """The ids of a chain of bonded snippets, root first."""
    ids = [driver.start("create", "note", "", {}) for _ in range(length)]
    driver.settle()
    ids = [answer.value for answer in ids]
    bonds = [driver.start("bond", parent, child, 0, "") for parent, child in itertools.pairwise(ids)]
    driver.settle()
    assert all(bond.value for bond in bonds)
    return ids


def test_a_very_deep_tree(driver):
    ids = chain(driver, 5_000)
    with pytest.raises(TooLarge):
        driver.tree(ids[0], 0)
    with pytest.raises(TooLarge):
        driver.tree("", 0)
    text = driver.tree(ids[0], 31)
    assert text.count(b'"id"') == 32
    assert json.loads(driver.tree(ids[-32], 0))["id"] == ids[-32]
    with pytest.raises(Conflict):
        driver.bond(ids[-1], ids[0], 0, "")


def test_a_tree_too_large_for_a_payload_is_refused(driver):
    above = [driver.create("note", "", {})]
    root = above[0]
    for _ in range(25):
        level = [driver.create("note", "", {}) for _ in range(2)]
        for parent in above:
            for child in level:
                driver.start("bond", parent, child, 0, "p" * 2000)
        above = level
    driver.settle()
    with pytest.raises(TooLarge):
        driver.tree(root, 0)
