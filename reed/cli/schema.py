"""`reed schema`: bonds between snippets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reed.cli.options import connect, ref
from reed.cli.output import Output
from reed.cli.parse import Args, Option, Subcommand
from reed.client import Client, Request
from reed.errors import CallError, NotFound
from reed.wire.codes import Command
from reed.wire.common import JsonResponse
from reed.wire.schema import SchemaTree


def bond(args: Args, output: Output) -> None:
    parent, child = ref(args.arg("PARENT")), ref(args.arg("CHILD"))
    with connect(args) as core:
        bond_id = core.schema_bond(parent, child, args.number("--weight"), args.text("--path") or "")
    output.show({"id": bond_id}, bond_id, [[bond_id]])


def unbond(args: Args, output: Output) -> None:
    parent, child = ref(args.arg("PARENT")), ref(args.arg("CHILD"))
    with connect(args) as core:
        core.schema_unbond(parent, child)
    output.done(f"bond of {parent} and {child} removed", {"parent": parent, "child": child})


def tree(args: Args, output: Output) -> None:
    root = ref(args.arg("REF")) if args.arg_list("REF") else ""
    with connect(args) as core:
        found = core.schema_tree(root, args.number("--depth"))
    roots = found if isinstance(found, list) else [found]
    lines = [line for each in roots for line in _drawing(each)]
    text = "\n".join(lines) or "no bonds; create one with `reed schema bond PARENT CHILD`"
    output.show(found, text, (row for each in roots for row in _rows(each, 0)))


def _drawing(node: Mapping[str, Any]) -> Iterator[str]:
    yield _label(node)
    children = node["children"]
    for number, child in enumerate(children):
        is_last = number == len(children) - 1
        lines = _drawing(child)
        yield f"{'└── ' if is_last else '├── '}{next(lines)}"
        for line in lines:
            yield f"{'    ' if is_last else '│   '}{line}"


def _label(node: Mapping[str, Any]) -> str:
    name = node["name"] or node["id"]
    path = f"  {node['path']}" if node["path"] else ""
    weight = f"  ({node['weight']})" if node["weight"] else ""
    return f"{name}  {node['type']}{path}{weight}"


def _rows(node: Mapping[str, Any], level: int) -> Iterator[list[Any]]:
    yield [level, node["id"], node["type"], node["name"], node["weight"], node["path"]]
    for child in node["children"]:
        yield from _rows(child, level + 1)


def children(core: Client, parents: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each parent with each of its children, by pipelined requests. A parent that does not exist has none."""
    requests = (Request(Command.SCHEMA_TREE, SchemaTree(parent, 1).pack(), parent) for parent in parents)
    for request, response in core.pipelined(requests):
        if isinstance(response, NotFound):
            continue
        if isinstance(response, CallError):
            raise response
        for child in json.loads(bytes(JsonResponse.unpack(response).json))["children"]:
            yield request.tag, child


I32 = range(-(1 << 31), 1 << 31)
SUBCOMMANDS = {
    "schema bond": Subcommand(
        bond,
        "PARENT CHILD",
        "Put one snippet below another and print the bond's id",
        (
            Option("--weight", "N", "position among the children, lowest first", number=I32),
            Option("--path", "P", "path of the child on the web"),
        ),
    ),
    "schema unbond": Subcommand(unbond, "PARENT CHILD", "Remove a bond"),
    "schema tree": Subcommand(
        tree,
        "[REF]",
        "Print what is below a snippet, or below all roots",
        (Option("--depth", "N", "at most N levels (0, the default: all)", number=range(256)),),
        """
Into a pipe, separated by tabs: level, id, type, name, weight, path.""",
    ),
}
