"""`reed registry`: types of content."""

from __future__ import annotations

import json
from typing import Any

from reed.cli.options import connect, json_input
from reed.cli.output import Column, JsonContent, Output, print_error
from reed.cli.parse import Args, Option, Subcommand
from reed.client import Client
from reed.errors import PermissionDenied, UnknownCommand
from reed.figures import plural
from reed.text import safe
from reed.wire.json_spans import members

_MAX_NAMED = 10


def define(args: Args, output: Output) -> None:
    name = args.arg("NAME")
    definition = json_input(args, "JSON")
    with connect(args, timeout=None) as core:  # the core may have to build indexes
        is_new = core.registry_define(name, definition)
        unfit = {} if is_new else _unfit(core, name)
    output.done(f"type {name} {'defined' if is_new else 'redefined'}", {"name": name, "is_new": is_new, **unfit})
    if unfit.get("unfit"):
        first = unfit["first"][0]
        print_error(
            f"{unfit['unfit']} of {plural(unfit['checked'], 'snippet')} of type {name} do not fit the new definition "
            f"and stay unchanged; the first is {safe(first['name'] or first['id'])}: {safe(first['problem'])}"
        )


def _unfit(core: Client, name: str) -> dict[str, Any]:
    """Count the snippets that do not fit their type; {} if the user may not, or an older core cannot."""
    total: dict[str, Any] = {"checked": 0, "unfit": 0, "first": []}
    cursor = ""
    while True:
        try:
            part = core.registry_check(name, cursor)
        except (PermissionDenied, UnknownCommand):
            return {}
        total["checked"] += part["checked"]
        total["unfit"] += part["unfit"]
        total["first"] += part["first"][: _MAX_NAMED - len(total["first"])]
        cursor = part["cursor"]
        if not cursor:
            return total


def get(args: Args, output: Output) -> None:
    with connect(args) as core:
        definition = core.registry_get(args.arg("NAME"))
    if output.as_json:
        text = bytes(definition.definition).decode()
        fields = {each.key: JsonContent(text[each.begin : each.end].encode()) for each in members(text)}
        output.json({"name": definition.type_name, **fields})
    else:
        output.text(bytes(definition.definition))


def delete(args: Args, output: Output) -> None:
    name = args.arg("NAME")
    with connect(args) as core:
        core.registry_delete(name)
    output.done(f"type {name} deleted", {"name": name})


def list_types(args: Args, output: Output) -> None:
    with connect(args) as core:
        types = [{"name": name, **json.loads(bytes(text))} for name, text in core.registry_list()]
    output.table(_LIST, types)
    if not types:
        output.info("no types; create one with `reed registry define NAME JSON` or `reed import F --type NAME`")


_LIST = (
    Column("NAME", "name", whole=True),
    Column("DESCRIPTION", "description", shrink=1),
    Column("FIELDS", "schema.properties", ", ".join, shrink=2),
    Column("SEARCHABLE", "searchable", lambda fields: ", ".join(f"{name} {fields[name]}" for name in fields), shrink=3),
)
SUBCOMMANDS = {
    "registry define": Subcommand(
        define,
        "NAME [JSON]",
        "Define or redefine a type",
        (Option("--file", "F", "read the definition from a file (.json, .yaml)"),),
        """
A definition may have: description, schema (a JSON Schema), searchable ({field: weight}), indexed ([field, …]: indexes
for `snippet list --where`), unique ([field, …]: indexed, and no two snippets of the type may share a value),
composed_of ([type, …]), max_depth. Existing snippets stay unchanged; the command reports how many do not fit.
Indexes are built before the command returns; a unique field with duplicate values is refused (409).

  reed registry define page '{"schema": {"required": ["title"]}, "searchable": {"title": 3, "body": 1}}'""",
    ),
    "registry get": Subcommand(get, "NAME", "Print the definition of a type"),
    "registry delete": Subcommand(
        delete,
        "NAME",
        "Delete a type that has no snippets",
        details="""
A type with snippets is refused (409): delete them first.

  reed snippet list --type draft
  reed registry delete draft""",
    ),
    "registry list": Subcommand(list_types, "", "List all types"),
}
