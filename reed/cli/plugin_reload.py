"""`reed plugin reload`: what it started, renewed, updated and removed, and what failed."""

from __future__ import annotations

from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, Output, complain
from reed.cli.parse import Args
from reed.errors import CallError

_CHANGES = (Column("RESULT", "result"), Column("NAME", "name"), Column("REASON", "reason"))


def reload(args: Args, output: Output) -> int:
    """What changed, plugin by plugin; 1 when one failed."""
    changes: list[dict[str, Any]] = []
    failed = False
    with connect(args, timeout=None) as core:
        for name in args.words("NAME") or [""]:
            try:
                found = core.plugin_reload_report(name)
            except CallError as error:
                if not name:
                    raise
                failed = True
                if output.as_json:
                    changes.append({"name": name, "result": "failed", "reason": str(error)})
                else:
                    complain(str(error))
                continue
            if name and not found:
                output.say(f"{name} is not running: the next start takes its new version")
            changes += found
    if output.is_for_people:
        _show_changes(changes, output)
    else:
        output.table(_CHANGES, changes)
    if not changes and not args.words("NAME"):
        output.say("nothing has changed")
    return 1 if failed or any(change["result"] == "failed" for change in changes) else 0


def _show_changes(changes: list[dict[str, Any]], output: Output) -> None:
    """A line each; a reason is not shortened."""
    for change in changes:
        name, reason = change["name"], change["reason"].removeprefix(f"plugin {change['name']}: ")
        output.result(change["result"], f"{name}: {reason}" if reason else name)
