"""`reed export` (the format is in reed.wire.jsonl)."""

from __future__ import annotations

from typing import BinaryIO

from reed.cli.options import connect
from reed.cli.output import Output
from reed.cli.output_file import replacing
from reed.cli.parse import Args, Option, Subcommand
from reed.cli.progress import ProgressBar
from reed.cli.schema import children
from reed.client import Client
from reed.figures import plurals
from reed.wire import jsonl

_PAGE = 200


def export(args: Args, output: Output) -> None:
    path, only = args.arg("FILE"), args.text("--type") or ""
    with connect(args) as core, replacing(path) as file:
        total = 0 if only else core.stats()["store"].get("snippets", 0)
        with ProgressBar(output, "exporting", total) as progress:
            counts = _write(core, file, only, progress)
    if path == "-":
        return
    output.show(counts, f"{plurals(counts, 'snippet', 'type', 'bond')} exported to {path}", counts.items())


def _write(core: Client, file: BinaryIO, only: str, progress: ProgressBar) -> dict[str, int]:
    """`only` is a type or ""."""
    types = [each for each in core.registry_list() if only in ("", each.type_name)]
    if only and not types:
        core.registry_get(only)  # raises NotFound
    for each in types:
        file.write(jsonl.of_type(each))
    ids: list[str] = []
    for record in core.snippets(only, _PAGE):
        file.write(jsonl.of_snippet(record))
        ids.append(record.id)
        progress.update(len(ids), len(ids))
    bonds, exported = 0, set(ids)
    for parent, child in children(core, ids):
        if child["id"] in exported:
            file.write(jsonl.of_bond(parent, child["id"], child["weight"], child["path"]))
            bonds += 1
    return {"snippets": len(ids), "types": len(types), "bonds": bonds}


SUBCOMMANDS = {
    "export": Subcommand(
        export,
        "FILE",
        "Write all types, snippets and bonds to a file of JSON lines; - is standard output",
        (Option("--type", "T", "only snippets of this type, and the bonds between them"),),
        """
The file appears under its name when it is complete. `reed import FILE` reads it, into this core or another.

  {"kind":"type","name":"page","definition":{…}}
  {"kind":"snippet","id":"…","type":"page","name":"blog/intro","version":1,"created_at":…,"updated_at":…,"content":{…}}
  {"kind":"bond","parent":"…","child":"…","weight":0,"path":""}

Content that spans several lines is written as a string, under "content_text".""",
    ),
}
