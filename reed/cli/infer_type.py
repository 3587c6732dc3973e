"""A definition for a type that nobody has defined, from the first contents of it.

All its text is made searchable; what looks like a title weighs most, then what sums the content up, then the rest.
The schema asks for an object and no more: what the first lines have, a later one may lack.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from reed.cli.output import Output
from reed.client import Client
from reed.errors import NotFound

Numbered = Iterator[tuple[int, bytes]]

_SAMPLE = 100  # lines
_WEIGHTS = {
    5: ("title", "name", "heading", "headline", "subject"),
    4: ("keywords", "tags", "categories"),
    3: ("description", "summary", "abstract", "excerpt", "subtitle", "teaser", "intro"),
}
_REFERENCES = ("id", "path", "url", "slug", "href", "link", "uuid", "date", "created", "updated", "image")


def define_if_missing(
    core: Client, kind: str, numbered: Numbered, path: str, output: Output, *, dry_run: bool
) -> tuple[Numbered, bool]:
    """Define the type unless it is; gives all lines on, and whether it is a new one."""
    try:
        core.registry_get(kind)
    except NotFound:
        sample = list(islice(numbered, _SAMPLE))
        definition = infer([line for _, line in sample], path)
        if not dry_run:
            core.registry_define(kind, definition)
        weights = ", ".join(f"{field} {weight}" for field, weight in definition["searchable"].items())
        output.say(f"type {kind} was not defined: any object, searchable: {weights or 'nothing'}")
        return chain(sample, numbered), True
    return numbered, False


def infer(sample: list[bytes], path: str) -> dict[str, Any]:
    """The definition; lines that are no JSON objects say nothing."""
    fields: dict[str, None] = {}
    for line in sample:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            fields.update(dict.fromkeys(field for field, value in content.items() if _is_text(field, value)))
    return {
        "description": f"Imported from {path.rpartition('/')[2]}" if path != "-" else "Imported",
        "schema": {"type": "object"},
        "searchable": {field: _weight(field) for field in fields if field.lower() not in _REFERENCES},
    }


def _is_text(field: str, value: Any) -> bool:
    """A string or an array of them; an empty one under a name that promises words."""
    if value == [] and _weight(field) > 1:
        return True
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )


def _weight(field: str) -> int:
    return next((weight for weight, names in _WEIGHTS.items() if field.lower() in names), 1)
