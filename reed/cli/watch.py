"""`reed watch`: print each change after its commit, a JSON object in a line, until Ctrl-C."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from reed.cli.options import connect
from reed.cli.output import Output
from reed.cli.parse import U32, Args, Option, Subcommand
from reed.errors import CallError, ReedError, nearest

if TYPE_CHECKING:
    from reed.client import Client


def watch(args: Args, output: Output) -> None:
    types, count = args.texts("--type"), args.number("--count")
    with connect(args) as core, core.watch(types, args.text("--from") or "", reconnect=True) as watching:
        _warn_of_unknown(core, types)
        _note(f"watching from {watching.cursor}; Ctrl-C ends it")
        try:
            for number, change in enumerate(watching, 1):
                output.stream.write(json.dumps(change.json_fields(), ensure_ascii=False) + "\n")
                output.stream.flush()
                if number == count:
                    break
        except KeyboardInterrupt:
            _note(f"\ngo on with: reed watch --from {watching.cursor}")
            raise
        except ReedError as error:
            if watching.cursor not in str(error):
                _note(f"the last cursor was {watching.cursor}")
            raise


def _warn_of_unknown(core: Client, types: list[str]) -> None:
    """A type may be defined later, so that is no error."""
    try:
        known = [definition.type_name for definition in core.registry_list()]
    except CallError:  # not permitted
        return
    for name in types:
        if name not in known:
            _note(f"type {name} is not defined yet; {nearest(name, known) or '`reed registry list` shows all'}")


def _note(text: str) -> None:
    """Not among the lines of JSON."""
    print(text, file=sys.stderr, flush=True)


SUBCOMMANDS = {
    "watch": Subcommand(
        watch,
        "",
        "Print each change of content after its commit, as lines of JSON",
        (
            Option("--type", "T", "only snippets of this type, their bonds and the type itself", many=True),
            Option("--from", "CURSOR", "begin after this change, not at the present"),
            Option("--count", "N", "stop after N changes (0, the default: never)", number=U32),
        ),
        """
Each line has the cursor of its change. When the core restarts, the command goes on from there by itself.

  reed watch --type page
  reed watch --from 5f3a9c01-1042 | while read -r change; do …; done""",
    ),
}
