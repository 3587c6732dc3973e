"""`reed schema …`: bonds, which put snippets below each other (protocol.md#bonds)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reed.cli.options import connect, ref
from reed.cli.output import Output
from reed.cli.parse import Args, Form, Option


def bond(args: Args, output: Output) -> int:
    parent, child = ref(args.word("PARENT")), ref(args.word("CHILD"))
    with connect(args) as core:
        bond_id = core.schema_bond(parent, child, args.number("--weight"), args.text("--path") or "")
    if output.as_json:
        output.json({"id": bond_id})
    else:
        output.rows([[bond_id]])
    return 0


def unbond(args: Args, output: Output) -> int:
    parent, child = ref(args.word("PARENT")), ref(args.word("CHILD"))
    with connect(args) as core:
        core.schema_unbond(parent, child)
    output.done(f"{child} is no longer below {parent}", {"parent": parent, "child": child})
    return 0


def tree(args: Args, output: Output) -> int:
    root = ref(args.word("REF")) if args.words("REF") else ""
    with connect(args) as core:
        found = core.schema_tree(root, args.number("--depth"))
    roots = found if isinstance(found, list) else [found]
    if output.as_json:
        output.json(found)
    elif output.is_terminal:
        for each in roots:
            output.say("\n".join(_drawn(each)))
        if not roots:
            output.say("no bonds: `reed schema bond PARENT CHILD` makes one")
    else:
        for each in roots:
            output.rows(_listed(each, 0))
    return 0


def _drawn(node: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A line for each snippet, with the lines that join it to its parent."""
    yield _label(node)
    children = node["children"]
    for number, child in enumerate(children):
        is_last = number == len(children) - 1
        lines = _drawn(child)
        yield f"{indent}{'└── ' if is_last else '├── '}{next(lines)}"
        for line in lines:
            yield f"{indent}{'    ' if is_last else '│   '}{line}"


def _label(node: Mapping[str, Any]) -> str:
    name = node["name"] or node["id"]
    path = f"  {node['path']}" if node["path"] else ""
    weight = f"  ({node['weight']})" if node["weight"] else ""
    return f"{name}  {node['type']}{path}{weight}"


def _listed(node: Mapping[str, Any], level: int) -> Iterator[list[Any]]:
    yield [level, node["id"], node["type"], node["name"], node["weight"], node["path"]]
    for child in node["children"]:
        yield from _listed(child, level + 1)


FORMS = {
    "schema bond": Form(
        bond,
        "PARENT CHILD",
        "Put one snippet below another; prints the bond's id",
        (
            Option(
                "--weight", "N", "its place among the children, the lightest first", number=range(-(1 << 31), 1 << 31)
            ),
            Option("--path", "P", "where it is found on the web"),
        ),
    ),
    "schema unbond": Form(unbond, "PARENT CHILD", "Take a bond away"),
    "schema tree": Form(
        tree,
        "[REF]",
        "Show what is below a snippet, or below all that have children",
        (Option("--depth", "N", "only N levels (0, the default: all)", number=range(256)),),
        """
Into a pipe, by tabs: level, id, type, name, weight, path.""",
    ),
}
