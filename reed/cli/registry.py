"""`reed registry …`: the types that content may have (protocol.md#types)."""

from __future__ import annotations

import json

from reed.cli.output import Column, Output
from reed.cli.parse import Args, Form, Option
from reed.cli.site import connect, json_input


def define(args: Args, output: Output) -> int:
    name = args.word("NAME")
    definition = json_input(args, "JSON")
    with connect(args, timeout=None) as core:  # it may have indexes to build
        is_new = core.registry_define(name, definition)
    output.done(f"type {name} was {'defined' if is_new else 'redefined'}", {"name": name, "is_new": is_new})
    return 0


def get(args: Args, output: Output) -> int:
    with connect(args) as core:
        definition = core.registry_get(args.word("NAME"))
    if output.as_json:
        output.json({"name": definition.type_name, **json.loads(bytes(definition.definition))})
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
composed_of ([type, …]), max_depth, routable. Snippets that are there already stay as they are; their indexes are built
before the command returns, and it is refused (409) if a unique field has a value twice.

  reed registry define page '{"schema": {"required": ["title"]}, "searchable": {"title": 3, "body": 1}}'""",
    ),
    "registry get": Form(get, "NAME", "Show the definition of a type"),
    "registry list": Form(list_types, "", "All types"),
}
