"""`reed plugin start`, `stop`, `restart`, `reload` and `signal`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, Output, error_as_json, print_error
from reed.cli.parse import Args, UsageError, suggest
from reed.cli.plugin import SIGNALS
from reed.client import Client
from reed.errors import CallError


def start(args: Args, output: Output) -> int:
    return _each(args, output, Client.plugin_start, "ready")


def stop(args: Args, output: Output) -> int:
    return _each(args, output, Client.plugin_stop, "stopped")


def restart(args: Args, output: Output) -> int:
    def reload_and_start(core: Client, name: str) -> None:
        core.plugin_reload(name)  # no effect on a stopped plugin
        core.plugin_start(name)

    return _each(args, output, reload_and_start, "restarted")


def _each(args: Args, output: Output, do: Callable[[Client, str], None], done: str) -> int:
    """Exit code 1 if one plugin failed; the others are still done."""
    results: list[dict[str, Any]] = []
    with connect(args, timeout=None) as core:
        for name in args.arg_list("NAME"):
            try:
                do(core, name)
                results.append({"name": name, "result": done})
                output.info(f"{name} is {done}")
            except CallError as error:
                results.append({"name": name, "result": "failed", "error": error_as_json(error)})
                if not output.as_json:
                    print_error(str(error))
    if output.as_json:
        output.json(results)
    return 1 if any(each["result"] == "failed" for each in results) else 0


def reload(args: Args, output: Output) -> int:
    changes: list[dict[str, Any]] = []
    failed = False
    with connect(args, timeout=None) as core:
        for name in args.arg_list("NAME") or [""]:
            try:
                found = core.plugin_reload_report(name)
            except CallError as error:
                if not name:
                    raise
                failed = True
                if output.as_json:
                    changes.append({"name": name, "result": "failed", "reason": str(error)})
                else:
                    print_error(str(error))
                continue
            if name and not found:
                output.info(f"{name} is not running; its next start uses the new version")
            changes += found
    if output.is_interactive:
        for change in changes:
            name, reason = change["name"], change["reason"].removeprefix(f"plugin {change['name']}: ")
            output.result(change["result"], f"{name}: {reason}" if reason else name)
    else:
        output.table(_CHANGES, changes)
    if not changes and not args.arg_list("NAME"):
        output.info("no changes")
    return 1 if failed or any(change["result"] == "failed" for change in changes) else 0


_CHANGES = (Column("RESULT", "result"), Column("NAME", "name"), Column("REASON", "reason"))


def signal(args: Args, output: Output) -> None:
    name, signal_name = args.arg("NAME"), args.arg("SIGNAL")
    if signal_name not in SIGNALS:
        raise UsageError(f"unknown signal {signal_name!r}", hint=suggest(signal_name, SIGNALS))
    with connect(args) as core:
        core.plugin_signal(name, SIGNALS[signal_name])
    output.done(f"signal {signal_name} sent to {name or 'all running plugins'}", {"name": name, "signal": signal_name})
