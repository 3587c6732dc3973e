"""`reed plugin`: the subcommands of this noun, and those that need no module of their own.

The other modules are imported by the subcommand that needs them: `reed plugin list` is to start fast.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from reed.cli.options import connect, ref, standard_input
from reed.cli.output import Column, Output, error_as_json, print_error
from reed.cli.parse import LOG_OPTIONS, Args, Option, Subcommand, UsageError, suggest
from reed.cli.plugin_author import AUTHOR_SUBCOMMANDS
from reed.cli.plugin_install import INSTALL_SUBCOMMANDS
from reed.client import Client
from reed.errors import CallError, PermissionDenied
from reed.wire.codes import Signal

SIGNALS = {
    "wake": Signal.WAKE_UP,
    "reload": Signal.RELOAD_CONFIG,
    "health": Signal.HEALTH_CHECK,
    "shutdown": Signal.SHUTDOWN_GRACEFUL,
}


def list_plugins(args: Args, output: Output) -> int:
    if args.has("--available"):
        from reed.cli.plugin_package import list_available

        return list_available(args, output)
    with connect(args) as core:
        plugins = core.plugin_list()
    output.table(_LIST, plugins)
    if not plugins:
        output.info("no plugins; `reed plugin list --available` lists those that can be added")
    return 0


_LIST = (
    Column("NAME", "name", whole=True),
    Column("TYPE", "type"),
    Column("VERSION", "version"),
    Column("STATE", "state", whole=True, coloured=True),
    Column("AUTO", "auto_start"),
    Column("ACTIONS", "actions", ", ".join, shrink=2),
    Column("DESCRIPTION", "description", shrink=1),
)


def show_status(args: Args, output: Output) -> int:
    from reed.cli import plugin_status

    return plugin_status.show_status(args, output)


def show_health(args: Args, output: Output) -> int:
    from reed.cli import plugin_status

    return plugin_status.show_health(args, output)


def explain(args: Args, output: Output) -> int:
    from reed.cli import plugin_explain

    return plugin_explain.explain(args, output)


def logs(args: Args, output: Output) -> int:
    from reed.cli import plugin_logs

    return plugin_logs.logs(args, output)


def run_schedule(args: Args, output: Output) -> int:
    from reed.cli import plugin_schedules

    return plugin_schedules.run_schedule(args, output)


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


def send(args: Args, output: Output) -> int:
    from reed.cli.plugin_answer import print_answer, with_origin

    if args.has("--all"):
        return _send_all(args.arg("ACTION"), args, output)
    name, action = args.arg("NAME"), args.arg("ACTION")
    with connect(args, timeout=None) as core:
        data = _action_input(core, name, action, args.arg_list("INPUT"))
        try:
            answer = core.plugin_send(name, action, data)
        except CallError as error:
            raise with_origin(error, name, f"action {action}") from None
    return print_answer(answer, output, f"plugin {name}, action {action}")


def _send_all(action: str, args: Args, output: Output) -> int:
    with connect(args, timeout=None) as core:
        answers = core.plugin_send_all(action, _action_input(core, "", action, args.arg_list("INPUT")))
    output.text(json.dumps(answers, ensure_ascii=False).encode())
    if not answers:
        print_error(f"no running plugin has the action {action}")
    return 1 if any(answer["status"] >= 400 for answer in answers.values()) else 0


def _action_input(core: Client, name: str, action: str, given: list[str]) -> bytes:
    """As the action declares: a ref as a JSON string, JSON, or bytes."""
    from reed.cli.plugin_answer import is_json

    kind = _declared_input(core, name, action)
    if not given:
        if kind == "snippet":
            usage = f"reed plugin send {name or '--all'} {action} REF"
            raise UsageError(f"action {action} requires a snippet", hint=usage)
        return b""
    data = standard_input().read() if given[0] == "-" else os.fsencode(given[0])
    if kind == "bytes":
        return data
    if kind != "snippet" and is_json(data):
        return data
    return json.dumps(ref(os.fsdecode(data).strip()), ensure_ascii=False).encode("utf-8", "replace")


def _declared_input(core: Client, name: str, action: str) -> str:
    """snippet, json, bytes, or "" if unknown. Without a name that of the first plugin with the action."""
    try:
        plugins = core.plugin_list()
    except PermissionDenied:  # plugin_send does not imply the permission to list
        return ""
    for plugin in plugins:
        if plugin["name"] == name or (not name and action in plugin["actions"]):
            return str(plugin["actions"].get(action, {}).get("input", ""))
    return ""


def signal(args: Args, output: Output) -> int:
    name, signal_name = args.arg("NAME"), args.arg("SIGNAL")
    if signal_name not in SIGNALS:
        raise UsageError(f"unknown signal {signal_name!r}", hint=suggest(signal_name, SIGNALS))
    with connect(args) as core:
        core.plugin_signal(name, SIGNALS[signal_name])
    output.done(f"signal {signal_name} sent to {name or 'all running plugins'}", {"name": name, "signal": signal_name})
    return 0


_ALL = Option("--all", help="all running plugins, instead of NAME", replaces="NAME")
SUBCOMMANDS = {
    "plugin list": Subcommand(
        list_plugins,
        "",
        "List the plugins of the registry, with state and actions",
        (Option("--available", help="list the bundled plugins and those in plugins/, and what they ask for"),),
    ),
    "plugin status": Subcommand(
        show_status, "[NAME]", "Print state, memory, calls, latency and schedules of plugins, and why one failed"
    ),
    "plugin health": Subcommand(
        show_health, "[NAME]", "Print time to READY, uptime, errors, restarts and last error of plugins"
    ),
    "plugin explain": Subcommand(
        explain,
        "NAME [COMMAND]",
        "Print what a plugin may do and why; with COMMAND whether it may (0 yes, 1 no), and what to change",
        details="""
COMMAND is a command of the protocol, a permission, or network.

  reed plugin explain simple-seo
  reed plugin explain simple-seo SNIPPET_GET
  reed plugin explain simple-seo file_write
  reed plugin explain ai-core network""",
    ),
    "plugin start": Subcommand(start, "NAME…", "Start plugins; returns when they are ready"),
    "plugin stop": Subcommand(stop, "NAME…", "Stop plugins after they have finished their calls"),
    "plugin restart": Subcommand(
        restart,
        "NAME…",
        "Restart plugins, or start those that are stopped",
        details="""
The new process of a running plugin takes over when it is ready; until then the old one works. No call is lost.""",
    ),
    "plugin send": Subcommand(
        send,
        "NAME ACTION [INPUT]",
        "Call an action of a plugin and print its answer",
        (Option("--all", help="all running plugins with the action, instead of NAME", replaces="NAME"),),
        details="""
INPUT is the REF of a snippet for an action with `input: snippet`, otherwise JSON or bytes; - reads it from standard
input. With --all the answer is {NAME: {"status", "answer" or "error"}}.

  reed plugin send simple-seo validate blog/intro
  reed plugin send simple-seo validate '$blog/intro'
  reed plugin send form-validator validate '{"form": "contact", "data": {"email": "x"}}'
  reed plugin send --all validate blog/intro""",
    ),
    "plugin run-schedule": Subcommand(
        run_schedule,
        "NAME SCHEDULE",
        "Run a schedule of a plugin now, and print the answer of its action",
        details="""
Its next due time stays. A schedule that is off can be run; one that is running cannot.

  reed plugin run-schedule backup nightly""",
    ),
    "plugin signal": Subcommand(
        signal,
        "NAME SIGNAL",
        f"Send a plugin a signal: {', '.join(SIGNALS)}",
        (_ALL,),
        "wake starts a stopped plugin; with --all it wakes the sleeping ones.",
    ),
    "plugin logs": Subcommand(
        logs,
        "NAME",
        "Print the log of a plugin",
        LOG_OPTIONS,
    ),
    "plugin reload": Subcommand(
        reload,
        "[NAME…]",
        "Apply changes of plugin-registry.csv and of plugins' folders; with NAME that plugin, changed or not",
        details="""
A changed plugin starts in a new process while the old one works, and takes over when it is ready; the old process
finishes its calls. An invalid change is refused with the reason, and the old process keeps working.

Prints what was added, started, renewed, updated or removed, and what failed and why (exit code 1). Into a pipe,
separated by tabs: result, name, reason.""",
    ),
    **INSTALL_SUBCOMMANDS,
    **AUTHOR_SUBCOMMANDS,
}
