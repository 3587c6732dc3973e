"""`reed export`: everything that is kept, as JSON lines (see `lines`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from reed.cli.options import connect
from reed.cli.output import Output, counted
from reed.cli.parse import Args
from reed.cli.progress import Progress
from reed.cli.target import target
from reed.client import Client, Request
from reed.errors import CallError, NotFound
from reed.wire import jsonl
from reed.wire.codes import Command
from reed.wire.common import JsonResponse
from reed.wire.schema import SchemaTree

_PAGE = 200


def export(args: Args, output: Output) -> int:
    path, only = args.word("FILE"), args.text("--type") or ""
    with connect(args) as core, target(path) as file:
        progress = Progress(output, "exporting", core.stats()["store"].get("snippets", 0) if not only else 0)
        counts = _write(core, file, only, progress)
        progress.clear()
    if path == "-":
        return 0
    if output.as_json:
        output.json(counts)
    elif output.is_terminal:
        output.say(f"{', '.join(counted(counts[f'{each}s'], each) for each in ('snippet', 'type', 'bond'))} in {path}")
    else:
        output.rows(counts.items())
    return 0


def _write(core: Client, file: BinaryIO, only: str, progress: Progress) -> dict[str, int]:
    """Types, then snippets by the page, then the bonds between those that were written."""
    types = [each for each in core.registry_list() if only in ("", each.type_name)]
    if only and not types:
        core.registry_get(only)  # raises NotFound, with the nearest name
    for each in types:
        file.write(jsonl.of_type(each))
    ids: list[str] = []
    for record in core.snippets(only, _PAGE):
        file.write(jsonl.of_snippet(record))
        ids.append(record.id)
        progress.to(len(ids), len(ids))
    bonds = 0
    for bond in _bonds(core, ids):
        file.write(bond)
        bonds += 1
    return {"snippets": len(ids), "types": len(types), "bonds": bonds}


def _bonds(core: Client, ids: list[str]) -> Iterator[bytes]:
    """The children of each snippet, in their order; one that was deleted meanwhile has none."""
    import json

    known = set(ids)
    questions = (Request(Command.SCHEMA_TREE, SchemaTree(snippet_id, 1).pack(), snippet_id) for snippet_id in ids)
    for request, answer in core.pipelined(questions):
        if isinstance(answer, NotFound):
            continue
        if isinstance(answer, CallError):
            raise answer
        for child in json.loads(bytes(JsonResponse.unpack(answer).json))["children"]:
            if child["id"] in known:
                yield jsonl.of_bond(request.tag, child["id"], child["weight"], child["path"])
