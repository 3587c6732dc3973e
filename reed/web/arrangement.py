"""Bonds that are moved: which to remove and to add, so that a snippet stands where a person put it in the tree.

    siblings    a 0   b 0   c 0          the core sorts children by weight, then by path and age
    move c before b
    steps       unbond c, bond c 10, unbond b, bond b 20

A bond's weight cannot be changed: the bond is removed and added again. As few as possible are. A snippet that goes to
another parent is bonded there first, so that a bond that the core refuses changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from reed.client import Client
from reed.errors import NotFound, ReedError

GAP = 10  # between new weights, so that the next move between two changes only one bond
MIN_WEIGHT, MAX_WEIGHT = -(1 << 31), (1 << 31) - 1


class Place(NamedTuple):
    """A bond, seen from its parent."""

    child: str
    weight: int
    path: str


class Step(NamedTuple):
    """Below `parent` remove the bond `old`, if there is one, then add the bond `new`, if there is one."""

    parent: str
    old: Place | None
    new: Place | None


def places(node: dict[str, Any]) -> list[Place]:
    """The children of a node of SCHEMA_TREE."""
    return [Place(child["id"], child["weight"], child["path"]) for child in node["children"]]


def move(siblings: Sequence[Place], parent: str, moved: Place, before: str, old_parent: str = "") -> list[Step]:
    """The steps that put a snippet among the children of `parent`, before one of them, or last ("").

    `siblings` are those children; `old_parent` is where the snippet is now, if that is another.
    """
    is_here = not old_parent or old_parent == parent
    others = [each for each in siblings if each.child != moved.child]
    at = next((number for number, each in enumerate(others) if each.child == before), len(others))
    order = [*others[:at], moved, *others[at:]]
    if is_here and [each.child for each in order] == [each.child for each in siblings]:
        return []
    known: list[int | None] = [None if each is moved else each.weight for each in order]
    steps: list[Step] = []
    for place, weight in zip(order, _weights(known, at), strict=True):
        if place is moved:
            steps.insert(0, Step(parent, moved if is_here else None, moved._replace(weight=weight)))
        elif place.weight != weight:
            steps.append(Step(parent, place, place._replace(weight=weight)))
    return steps if is_here else [*steps, Step(old_parent, moved, None)]


def _weights(known: Sequence[int | None], at: int) -> list[int]:
    """Weights in rising order; the one at `at` is new, and those after it are raised only as far as necessary."""
    before = [weight for weight in known[:at] if weight is not None]
    after = [weight for weight in known[at + 1 :] if weight is not None]
    if not before:
        new = (after[0] - GAP) if after else 0
    elif not after:
        new = before[-1] + GAP
    elif after[0] - before[-1] > 1:
        new = (before[-1] + after[0]) // 2
    else:
        new = before[-1] + GAP
    found = [*before, new]
    is_free = False  # the rest needs no change, and may have equal weights
    for weight in after:
        found.append(weight if weight > found[-1] or is_free else found[-1] + GAP)
        is_free = is_free or weight > found[-2]
    if found[0] < MIN_WEIGHT or found[-1] > MAX_WEIGHT:
        return [number * GAP for number in range(len(found))]
    return found


def apply(core: Client, steps: Sequence[Step]) -> None:
    """Raises ReedError; a bond that was removed in order to be added again is added as it was."""
    for parent, old, new in steps:
        if old is not None:
            core.schema_unbond(parent, old.child)
        if new is None:
            continue
        try:
            core.schema_bond(parent, new.child, new.weight, new.path)
        except ReedError:
            if old is not None:
                core.schema_bond(parent, old.child, old.weight, old.path)
            raise


def find(tree: dict[str, Any], child: str) -> Place:
    """The place of a child below a node. Raises NotFound if somebody moved it meanwhile."""
    for place in places(tree):
        if place.child == child:
            return place
    raise NotFound(f"{child} is not below {tree['name'] or tree['id']} any more", hint="look at the tree again")


def bonds_of(roots: Sequence[dict[str, Any]], snippet_id: str) -> list[tuple[str, Place]]:
    """All bonds of a snippet in the trees, with their parents, each once."""
    found: dict[tuple[str, str], Place] = {}
    for root in roots:
        for parent, child in _pairs(root):
            if snippet_id in {parent["id"], child["id"]}:
                found[parent["id"], child["id"]] = Place(child["id"], child["weight"], child["path"])
    return [(parent, place) for (parent, _), place in found.items()]


def _pairs(node: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for child in node["children"]:
        yield node, child
        yield from _pairs(child)
