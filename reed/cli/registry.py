"""`reed registry …`: the types that content may have (protocol.md#types)."""

from __future__ import annotations

import json
from typing import Any

from reed.cli.json_content import JsonContent
from reed.cli.options import connect, json_input
from reed.cli.output import Column, Output, complain, counted
from reed.cli.parse import Args, Form, Option
from reed.client import Client
from reed.errors import PermissionDenied, UnknownCommand
from reed.text import safe
from reed.wire.json_spans import members

_NAMED = 10


def define(args: Args, output: Output) -> int:
    name = args.word("NAME")
    definition = json_input(args, "JSON")
    with connect(args, timeout=None) as core:  # it may have indexes to build
        is_new = core.registry_define(name, definition)
        unfit = {} if is_new else _unfit(core, name)
    told = {"name": name, "is_new": is_new, **unfit}
    output.done(f"type {name} was {'defined' if is_new else 'redefined'}", told)
    if unfit.get("unfit"):
        first = unfit["first"][0]
        complain(
            f"{unfit['unfit']} of {counted(unfit['checked'], 'snippet')} of type {name} do not fit the new definition, "
            f"and stay as they are; the first is {safe(first['name'] or first['id'])}: {safe(first['problem'])}"
        )
    return 0


def _unfit(core: Client, name: str) -> dict[str, Any]:
    """How many snippets do not fit what their type is now; nothing where that may not be asked."""
    total: dict[str, Any] = {"checked": 0, "unfit": 0, "first": []}
    cursor = ""
    while True:
        try:
            part = core.registry_check(name, cursor)
        except (PermissionDenied, UnknownCommand):
            return {}
        total["checked"] += part["checked"]
        total["unfit"] += part["unfit"]
        total["first"] += part["first"][: _NAMED - len(total["first"])]
        cursor = part["cursor"]
        if not cursor:
            return total


def get(args: Args, output: Output) -> int:
    with connect(args) as core:
        definition = core.registry_get(args.word("NAME"))
    if output.as_json:
        text = bytes(definition.definition).decode()
        fields = {each.key: JsonContent(text[each.begin : each.end].encode()) for each in members(text)}
        output.json({"name": definition.type_name, **fields})
    else:
        output.text(bytes(definition.definition))
    return 0


def list_types(args: Args, output: Output) -> int:
    with connect(args) as core:
        types = [{"name": name, **json.loads(bytes(text))} for name, text in core.registry_list()]
    output.table(_LIST, types)
    if not types:
        output.say("no types: `reed registry define NAME JSON` makes one, `reed import F --type NAME` too")
    return 0


_LIST = (
    Column("NAME", "name", whole=True),
    Column("DESCRIPTION", "description", shrink=1),
    Column("FIELDS", "schema.properties", ", ".join, shrink=2),
    Column("SEARCHABLE", "searchable", lambda fields: ", ".join(f"{name} {fields[name]}" for name in fields), shrink=3),
)
FORMS = {
    "registry define": Form(
        define,
        "NAME [JSON]",
        "Define a type, or define it anew",
        (Option("--file", "F", "read the definition from a file (.json, .yaml)"),),
        """
A definition may have: description, schema (a JSON Schema), searchable ({field: weight}), indexed ([field, …]: found
at once by `snippet list --where`), unique ([field, …]: indexed, and no two snippets of the type have the same value),
composed_of ([type, …]), max_depth, routable. Snippets that are there already stay as they are; it says how many do not
fit the new definition. Their indexes are built before the command returns, and it is refused (409) if a unique field
has a value twice.

  reed registry define page '{"schema": {"required": ["title"]}, "searchable": {"title": 3, "body": 1}}'""",
    ),
    "registry get": Form(get, "NAME", "Show the definition of a type"),
    "registry list": Form(list_types, "", "All types"),
}
