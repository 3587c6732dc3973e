"""Moves of bonds: after the steps the core's order is the one that was asked for."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.errors import Conflict, NotFound
from reed.web.arrangement import GAP, Place, Step, apply, bonds_of, find, move

WEIGHTS = st.integers(-3, 3) | st.sampled_from([-(1 << 31), (1 << 31) - 1])
PLACES = st.lists(st.tuples(WEIGHTS, st.sampled_from(["", "a", "b"])), min_size=1, max_size=6)


class Bonds:
    """The bonds as the core sorts them, and refuses them."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Place]] = []
        self.refused: set[tuple[str, str, int]] = set()

    def schema_bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        if (parent, child, weight) in self.refused:
            raise Conflict("this bond would close a cycle")
        if any(row[0] == parent and row[1].child == child for row in self.rows):
            raise Conflict("already bonded")
        assert -(1 << 31) <= weight < 1 << 31
        self.rows.append((parent, Place(child, weight, path)))
        return "id"

    def schema_unbond(self, parent: str, child: str) -> None:
        before = len(self.rows)
        self.rows = [row for row in self.rows if (row[0], row[1].child) != (parent, child)]
        if len(self.rows) == before:
            raise NotFound("not bonded")

    def below(self, parent: str) -> list[Place]:
        found = [place for above, place in self.rows if above == parent]
        return sorted(found, key=lambda place: (place.weight, place.path, place.child))


def bonds(given_places: list[tuple[int, str]], parent: str = "top") -> Bonds:
    found = Bonds()
    for number, (weight, path) in enumerate(given_places):
        found.schema_bond(parent, f"{parent}-{number}", weight, path)
    return found


@given(PLACES, st.data())
def test_a_child_goes_before_another_and_the_others_keep_their_order(
    given_places: list[tuple[int, str]], data: st.DataObject
) -> None:
    core = bonds(given_places)
    siblings = core.below("top")
    names = [place.child for place in siblings]
    moved = data.draw(st.sampled_from(siblings))
    before = data.draw(st.sampled_from([*(name for name in names if name != moved.child), ""]))
    apply(core, move(siblings, "top", moved, before))  # type: ignore[arg-type]
    names.remove(moved.child)
    names.insert(names.index(before) if before else len(names), moved.child)
    assert [place.child for place in core.below("top")] == names
    assert {place.child: place.path for place in siblings} == {p.child: p.path for p in core.below("top")}


@given(PLACES, PLACES, st.data())
def test_a_child_goes_to_another_parent(
    here: list[tuple[int, str]], there: list[tuple[int, str]], data: st.DataObject
) -> None:
    core = bonds(here)
    core.rows += bonds(there, "other").rows
    moved = data.draw(st.sampled_from(core.below("top")))
    others = [place.child for place in core.below("other")]
    before = data.draw(st.sampled_from([*others, ""]))
    apply(core, move(core.below("other"), "other", moved, before, "top"))  # type: ignore[arg-type]
    others.insert(others.index(before) if before else len(others), moved.child)
    assert [place.child for place in core.below("other")] == others
    assert moved.child not in [place.child for place in core.below("top")]


def test_a_move_between_weights_changes_one_bond() -> None:
    siblings = [Place(name, number * GAP, "") for number, name in enumerate("abcd")]
    assert move(siblings, "top", siblings[3], "b") == [Step("top", siblings[3], Place("d", 5, ""))]
    assert move(siblings, "top", siblings[1], "c") == []  # it is there


def test_equal_weights_far_behind_stay() -> None:
    siblings = [Place("a", 0, ""), Place("b", 0, ""), Place("c", 50, ""), Place("d", 50, "")]
    steps = move(siblings, "top", siblings[1], "a")
    assert steps == [Step("top", siblings[1], Place("b", -10, ""))]
    steps = move([*siblings[:2], *siblings[2:]], "top", Place("x", 3, "p"), "b", "old")
    assert steps == [
        Step("top", None, Place("x", 10, "p")),
        Step("top", siblings[1], Place("b", 20, "")),
        Step("old", Place("x", 3, "p"), None),
    ]


def test_a_refused_bond_changes_nothing() -> None:
    core = bonds([(0, ""), (0, "")])
    before = core.below("top")
    core.refused = {("top-0", "top-1", 0), ("top", "top-1", -10)}
    for steps in (move([], "top-0", before[1], "", "top"), move(before, "top", before[1], "top-0")):
        with pytest.raises(Conflict):
            apply(core, steps)  # type: ignore[arg-type]
        assert core.below("top") == before


def node(name: str, *children: dict[str, object]) -> dict[str, object]:
    return {"id": name, "name": "", "type": "page", "weight": 1, "path": "", "children": list(children)}


def test_the_bonds_of_a_snippet_are_found_on_both_sides_and_once() -> None:
    shared = node("s", node("below"))
    roots = [node("a", shared), node("b", node("c", shared))]
    assert bonds_of(roots, "s") == [("a", Place("s", 1, "")), ("s", Place("below", 1, "")), ("c", Place("s", 1, ""))]
    assert find(roots[0], "s") == Place("s", 1, "")
    with pytest.raises(NotFound, match="any more"):
        find(roots[0], "below")


def test_new_weights_rise() -> None:
    siblings = [Place(name, 0, "") for name in "abcd"]
    new = [step.new.weight for step in move(siblings, "top", siblings[0], "c") if step.new]
    assert all(low < high for low, high in pairwise(new))
