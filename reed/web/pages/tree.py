"""Bonds as a tree, which is rearranged by buttons, by the keyboard and by dragging.

    do = VERB PARENT CHILD [ABOVE or TARGET] [BEFORE]      the value of a button, or what the script of the page sends

    up, down     among the children of the same parent
    in           below the sibling before it
    out          after its parent, below the one ABOVE that
    to           below TARGET, before its child BEFORE, or last
    remove       the bond goes, the snippet stays

Every move is planned with the children as the core has them now.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import CallError, JobMemory, JobTimeout, Malformed, NotFound, TooLarge
from reed.web.arrangement import GAP, MAX_WEIGHT, Step, apply, find, move, places
from reed.web.context import context_of, field_of, form_of, ref_of, wants_json

MAX_NODES = 1000  # on one page; what is below the others is on pages of its own
_TOO_MUCH = (TooLarge, JobTimeout, JobMemory)
Node = dict[str, Any]


class Move(NamedTuple):
    verb: str
    parent: str
    child: str
    target: str = ""
    before: str = ""


class Shown(NamedTuple):
    """A node of the page. `key` tells it from other places of the same snippet."""

    node: Node
    key: str
    parent: str  # id, or "" of a root
    above: str  # id of the parent's parent, or ""
    is_first: bool
    is_last: bool
    children: tuple[Shown, ...]
    hidden: int  # nodes below it that a page of its own shows
    cut: int  # children beyond MAX_NODES


async def show(request: Request) -> Response:
    return await _page(request, ref_of(request.query_params.get("root", "")))


async def change(request: Request) -> Response:
    """A move. The script of the page wants the new tree; without it the page is loaded again."""
    web = context_of(request)
    root = form_of(request).get("root", "")
    said = await web.ask(request, _carry_out, _move_of(field_of(request, "do")))
    if wants_json(request):
        roots = await web.ask(request, _read, root)
        nodes, _ = _shown(roots)
        return web.json({"said": said, "tree": web.fragment(request, "tree-nodes.html", nodes=nodes)})
    return web.redirect(request, _address(root), said)


async def bond(request: Request) -> Response:
    web = context_of(request)
    names = {name: ref_of(field_of(request, name)) for name in ("parent", "child")}
    root = form_of(request).get("root", "")
    try:
        await web.ask(request, _bond, names["parent"], names["child"])
    except CallError as error:
        return await _page(request, root, problem=str(error), given=names)
    said = f"{names['child']} is now below {names['parent']}"
    return web.redirect(request, _address(root), said)


def _address(root: str) -> str:
    return f"/content/tree?{urlencode({'root': root})}" if root else "/content/tree"


async def _page(request: Request, root: str, *, problem: str = "", given: dict[str, str] | None = None) -> Response:
    web = context_of(request)
    roots = await web.ask(request, _read, root)
    nodes, count = _shown(roots)
    root_name = _name(roots[0]) if root else ""
    return web.render(
        request,
        "tree.html",
        status=400 if problem else 200,
        nodes=nodes,
        count=count,
        root=roots[0]["id"] if root else "",
        root_name=root_name,
        problem=problem,
        given=given or {"parent": root_name, "child": ""},
    )


def _name(node: Node) -> str:
    """What a person calls the snippet."""
    return str(node["name"] or node["id"])


def _read(core: Client, root: str) -> list[Node]:
    """The trees: of one root, or of all. Of very large ones only the upper levels."""
    for depth in (0, 4, 1):
        try:
            found = core.schema_tree(root, depth)
            break
        except _TOO_MUCH:
            if depth == 1:
                raise
    return [found] if root else found


def _shown(roots: list[Node]) -> tuple[tuple[Shown, ...], int]:
    """The nodes of the page, and how many there are. Beyond MAX_NODES levels are left out, the lowest first."""
    levels: list[int] = []
    _count(roots, 0, levels)
    room, depth = MAX_NODES, 0
    for count in levels:
        if count > room and depth >= (2 if len(roots) == 1 else 1):
            break
        room -= count
        depth += 1
    return tuple(_nodes(roots, "", "", "", depth)), sum(levels)


def _count(nodes: list[Node], level: int, levels: list[int]) -> None:
    for node in nodes:
        if len(levels) <= level:
            levels.append(0)
        levels[level] += 1
        _count(node["children"], level + 1, levels)


def _nodes(nodes: list[Node], key: str, parent: str, above: str, depth: int) -> list[Shown]:
    found = []
    for number, node in enumerate(nodes[:MAX_NODES]):
        here = f"{key}.{number}" if key else str(number)
        shown: tuple[Shown, ...] = ()
        hidden = 0
        if depth > 1:
            shown = tuple(_nodes(node["children"], here, node["id"], parent, depth - 1))
        else:
            levels: list[int] = []
            _count(node["children"], 0, levels)
            hidden = sum(levels)
        is_last = number == len(nodes) - 1
        cut = max(0, len(node["children"]) - MAX_NODES) if shown else 0
        found.append(Shown(node, here, parent, above, number == 0, is_last, shown, hidden, cut))
    return found


def _move_of(text: str) -> Move:
    parts = text.split(" ")
    if parts[0] not in _PLANS or not 3 <= len(parts) <= 5 or not all(parts[1:3]):
        raise Malformed(f"no such move: {text[:100]!r}", hint="reload the page")
    return Move(*parts)


def _carry_out(core: Client, wanted: Move) -> str:
    """Returns what was done, in words."""
    tree = core.schema_tree(wanted.parent, 1)
    find(tree, wanted.child)
    node = next(child for child in tree["children"] if child["id"] == wanted.child)
    name = _name(node)
    steps, said = _PLANS[wanted.verb](core, wanted, tree)
    apply(core, steps)
    return f"{name}: {said}" if steps else f"{name} stays where it is"


Plan = tuple[list[Step], str]


def _up(_core: Client, wanted: Move, tree: Node) -> Plan:
    siblings, at = _siblings(tree, wanted.child)
    before = siblings[at - 1].child if at else wanted.child
    return (move(siblings, wanted.parent, siblings[at], before) if at else []), "moved up"


def _down(_core: Client, wanted: Move, tree: Node) -> Plan:
    siblings, at = _siblings(tree, wanted.child)
    before = siblings[at + 2].child if at + 2 < len(siblings) else ""
    return move(siblings, wanted.parent, siblings[at], before), "moved down"


def _in(core: Client, wanted: Move, tree: Node) -> Plan:
    siblings, at = _siblings(tree, wanted.child)
    if not at:
        raise NotFound("there is no snippet before it on the same level", hint="look at the tree again")
    parent = core.schema_tree(siblings[at - 1].child, 1)
    steps = move(places(parent), parent["id"], siblings[at], "", wanted.parent)
    return steps, f"moved below {_name(parent)}"


def _out(core: Client, wanted: Move, tree: Node) -> Plan:
    above = core.schema_tree(wanted.target, 1)
    siblings, at = _siblings(above, wanted.parent)
    before = siblings[at + 1].child if at + 1 < len(siblings) else ""
    steps = move(siblings, above["id"], find(tree, wanted.child), before, wanted.parent)
    return steps, f"moved below {_name(above)}"


def _to(core: Client, wanted: Move, tree: Node) -> Plan:
    target = tree if wanted.target == wanted.parent else core.schema_tree(wanted.target, 1)
    steps = move(places(target), target["id"], find(tree, wanted.child), wanted.before, wanted.parent)
    return steps, f"moved below {_name(target)}"


def _remove(_core: Client, wanted: Move, tree: Node) -> Plan:
    return [Step(wanted.parent, find(tree, wanted.child), None)], f"no longer below {_name(tree)}"


_PLANS = {"up": _up, "down": _down, "in": _in, "out": _out, "to": _to, "remove": _remove}


def _siblings(tree: Node, child: str) -> tuple[list[Any], int]:
    """The children of a node, and the index of one of them."""
    place = find(tree, child)
    siblings = places(tree)
    return siblings, siblings.index(place)


def _bond(core: Client, parent: str, child: str) -> None:
    """Below the parent, after its other children."""
    children = places(core.schema_tree(parent, 1))
    weight = min(children[-1].weight + GAP, MAX_WEIGHT) if children else 0
    core.schema_bond(parent, child, weight)


ROUTES = [
    Route("/content/tree", show),
    Route("/content/tree", change, methods=["POST"]),
    Route("/content/tree/bonds", bond, methods=["POST"]),
]
