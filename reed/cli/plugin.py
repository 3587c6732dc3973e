"""`reed plugin …`: which plugins there are, how they do, and using them (command-line.md#commands)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from reed.cli.author import FORMS as OF_AUTHORS
from reed.cli.explain import explain
from reed.cli.options import connect, ref, standard_input
from reed.cli.output import Column, Output, complain, error_as_json, size, span
from reed.cli.parse import COUNT, Args, Form, Option, UsageError
from reed.cli.sandbox import in_words
from reed.client import Client
from reed.errors import CallError, PermissionDenied, nearest
from reed.text import safe
from reed.wire.codes import Signal

SIGNALS = {
    "wake": Signal.WAKE_UP,
    "reload": Signal.RELOAD_CONFIG,
    "health": Signal.HEALTH_CHECK,
    "shutdown": Signal.SHUTDOWN_GRACEFUL,
}


def list_plugins(args: Args, output: Output) -> int:
    with connect(args) as core:
        plugins = core.plugin_list()
    output.table(_LIST, plugins)
    if not plugins:
        output.say("no plugins: a row of plugin-registry.csv lets one run, then `reed plugin reload`")
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
    """The table, and what the sandbox of all plugins holds; with --json both are in each entry."""
    with connect(args) as core:
        sandbox = core.stats()["sandbox"]
        plugins = [{**plugin, "sandbox": sandbox} for plugin in core.plugin_health(args.word("NAME"))]
    _show(plugins, output, _STATUS, [*(column.key for column in _STATUS), "reason", "error_data"])
    output.say(f"\nsandbox {sandbox['mode']}: {in_words(sandbox)}")
    for missing in sandbox["missing"] if sandbox["mode"] != "off" else ():
        output.say(f"    missing: {missing}")
    return 0


def show_health(args: Args, output: Output) -> int:
    with connect(args) as core:
        _show(core.plugin_health(args.word("NAME")), output, _HEALTH, None)
    return 0


def _show(plugins: list[dict[str, Any]], output: Output, columns: tuple[Column, ...], piped: list[str] | None) -> None:
    """The figures as a table; for people also why one failed, with its error, and what it said with ERROR."""
    output.table(columns, plugins, piped)
    for plugin in plugins:
        if plugin.get("reason") and plugin["state"] in {"failed", "backoff"}:
            reason = plugin["reason"].removeprefix(f"{plugin['name']}: ")
            output.say(f"\n{plugin['name']} is {plugin['state']}: {reason}")
            for line in plugin.get("error_lines") or ():
                output.say(f"    {line}")
            if plugin.get("error_lines"):
                output.say(f"    all of it: reed plugin logs {plugin['name']}")
        if plugin.get("events_slowed"):
            output.say(f"\n{plugin['name']} gets its events slowly: {plugin['events_slowed']}")
        if plugin.get("error_data"):
            output.say(f"\n{plugin['name']} said ERROR: {safe(plugin['error_data'])}")


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def _uptime(seconds: float) -> str:
    return span(seconds) if seconds else "-"


def _memory(count: int) -> str:
    return size(count) if count else "-"


_STATUS = (
    Column("NAME", "name", whole=True),
    Column("STATE", "state", whole=True, coloured=True),
    Column("PID", "pid", right=True),
    Column("UPTIME", "uptime_s", _uptime, right=True),
    Column("MEMORY", "memory_bytes", _memory, right=True),
    Column("CALLS", "calls", right=True),
    Column("ERRORS", "errors", right=True),
    Column("P50", "latency_ms.p50", _milliseconds, right=True),
    Column("P99", "latency_ms.p99", _milliseconds, right=True),
    Column("RESTARTS", "restarts", right=True),
)
_HEALTH = (
    Column("NAME", "name", whole=True),
    Column("STATE", "state", whole=True, coloured=True),
    Column("READY IN", "ready_ms", _milliseconds, right=True),
    Column("UPTIME", "uptime_s", _uptime, right=True),
    Column("CALLS", "calls", right=True),
    Column("ERRORS", "errors", right=True),
    Column("RESTARTS", "restarts", right=True),
    Column("EVENTS", "events_waiting", right=True),
    Column("LAST ERROR", "last_error", shrink=1),
)


def start(args: Args, output: Output) -> int:
    return _each(args, output, Client.plugin_start, "ready")


def stop(args: Args, output: Output) -> int:
    return _each(args, output, Client.plugin_stop, "stopped")


def restart(args: Args, output: Output) -> int:
    def again(core: Client, name: str) -> None:
        core.plugin_reload(name)  # does nothing where none runs
        core.plugin_start(name)

    return _each(args, output, again, "restarted")


def _each(args: Args, output: Output, do: Callable[[Client, str], None], done: str) -> int:
    """Every plugin that is named, whatever becomes of the others; a failure of one is exit code 1."""
    results: list[dict[str, Any]] = []
    with connect(args, timeout=None) as core:
        for name in args.words("NAME"):
            try:
                do(core, name)
                results.append({"name": name, "result": done})
                output.say(f"{name} is {done}")
            except CallError as error:
                results.append({"name": name, "result": "failed", "error": error_as_json(error)})
                if not output.as_json:
                    complain(str(error))
    if output.as_json:
        output.json(results)
    return 1 if any(each["result"] == "failed" for each in results) else 0


def reload(args: Args, output: Output) -> int:
    from reed.cli.plugin_reload import reload as run

    return run(args, output)


def send(args: Args, output: Output) -> int:
    """The answer goes to stdout as it came; a status of failure that the plugin chose is exit code 1."""
    if args.has("--all"):
        return _send_all(args.word("ACTION"), args, output)
    name, action = args.word("NAME"), args.word("ACTION")
    with connect(args, timeout=None) as core:
        data = _action_input(core, name, action, args.words("INPUT"))
        try:
            answer = core.plugin_send(name, action, data)
        except CallError as error:
            raise _naming(error, name, action) from None
    body = bytes(answer.body)
    if output.as_json and not _is_json(body):
        output.json(body.decode("utf-8", "replace") if body else None)
    elif body:
        output.text(body)
    if answer.status >= 400:
        complain(f"plugin {name}, action {action}: answered with status {answer.status}")
        return 1
    return 0


def _naming(error: CallError, name: str, action: str) -> CallError:
    """The error with plugin and action, unless its text begins with them already."""
    import re

    where = f"plugin {name}, action {action}: "
    message = error.message.removeprefix(f"{name}.{action}: ")  # as an error of a Lua plugin begins
    named = message if re.match(rf"(plugin )?{re.escape(name)}\b", message) else where + message
    return type(error)(named, hint=error.hint, status=error.status, error_code=error.error_code)


def _send_all(action: str, args: Args, output: Output) -> int:
    """What each running plugin that has the action answered, by its name; a failure of one is exit code 1."""
    with connect(args, timeout=None) as core:
        answers = core.plugin_send_all(action, _action_input(core, "", action, args.words("INPUT")))
    output.text(json.dumps(answers, ensure_ascii=False).encode())
    if not answers:
        complain(f"no plugin that runs has the action {action}")
    return 1 if any(answer["status"] >= 400 for answer in answers.values()) else 0


def _action_input(core: Client, name: str, action: str, given: list[str]) -> bytes:
    """What travels, by what the action declares: a ref as a JSON string, a JSON text, or bytes."""
    kind = _declared_input(core, name, action)
    if not given:
        if kind == "snippet":
            hint = f"reed plugin send {name or '--all'} {action} REF"
            raise UsageError(f"the action {action} takes a snippet", hint=hint)
        return b""
    data = standard_input().read() if given[0] == "-" else os.fsencode(given[0])
    if kind == "bytes":
        return data
    if kind != "snippet" and _is_json(data):
        return data
    return json.dumps(ref(os.fsdecode(data).strip()), ensure_ascii=False).encode("utf-8", "replace")


def _declared_input(core: Client, name: str, action: str) -> str:
    """What the action takes: snippet, json or bytes; "" when it is not known, then the input speaks for itself.

    Without a name: of the first plugin that has it.
    """
    try:
        plugins = core.plugin_list()
    except PermissionDenied:  # who may send need not be allowed to list
        return ""
    for plugin in plugins:
        if plugin["name"] == name or (not name and action in plugin["actions"]):
            return str(plugin["actions"].get(action, {}).get("input", ""))
    return ""


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def signal(args: Args, output: Output) -> int:
    name, word = args.word("NAME"), args.word("SIGNAL")
    if word not in SIGNALS:
        raise UsageError(f"no signal {word!r}", hint=nearest(word, SIGNALS) or f"one of {', '.join(SIGNALS)}")
    with connect(args) as core:
        core.plugin_signal(name, SIGNALS[word])
    output.done(f"{name or 'every running plugin'} was sent {word}", {"name": name, "signal": word})
    return 0


def logs(args: Args, output: Output) -> int:
    from reed.cli.logs import show

    return show(args, output)


_ALL = Option("--all", help="every running plugin, instead of NAME", instead="NAME")
_WAKE = "wake starts a plugin that is stopped; with --all it wakes those that sleep."
FORMS = {
    "plugin list": Form(list_plugins, "", "All plugins of the registry, with their state and actions"),
    "plugin status": Form(
        show_status, "[NAME]", "How plugins do: state, memory, calls, latency; why one failed, and its last lines"
    ),
    "plugin health": Form(show_health, "[NAME]", "How plugins do: time to READY, uptime, errors, restarts, last error"),
    "plugin explain": Form(
        explain,
        "NAME [COMMAND]",
        "What a plugin may do and why; of one COMMAND or permission: yes (0) or no (1), and what to change",
        details="""
  reed plugin explain simple-seo
  reed plugin explain simple-seo SNIPPET_GET
  reed plugin explain simple-seo file_write
  reed plugin explain ai-core network""",
    ),
    "plugin start": Form(start, "NAME…", "Start plugins; returns when they are ready"),
    "plugin stop": Form(stop, "NAME…", "Stop plugins: they finish their calls first"),
    "plugin restart": Form(
        restart,
        "NAME…",
        "Start plugins anew, whether they run or not",
        details="""
Of one that runs, the new process starts beside the old one and takes over when it is ready: no call is lost.""",
    ),
    "plugin send": Form(
        send,
        "NAME ACTION [INPUT]",
        "Call an action of a plugin and print its answer",
        (Option("--all", help="every running plugin that has the action, instead of NAME", instead="NAME"),),
        details="""
INPUT is the REF of a snippet where the action takes one, else JSON; - reads it from standard input. With --all the
answer is {NAME: {"status", "answer" or "error"}}.

  reed plugin send simple-seo validate blog/intro
  reed plugin send simple-seo validate '$blog/intro'
  reed plugin send form-validator validate '{"form": "contact", "data": {"email": "x"}}'
  reed plugin send --all validate blog/intro""",
    ),
    "plugin signal": Form(signal, "NAME SIGNAL", f"Send a plugin a signal: {', '.join(SIGNALS)}", (_ALL,), _WAKE),
    "plugin logs": Form(
        logs,
        "NAME",
        "What a plugin wrote",
        (
            Option("--follow", help="go on as it writes more", short="-f"),
            Option("--lines", "N", "how many of the last lines (100; 0: none)", number=COUNT, short="-n"),
        ),
    ),
    "plugin reload": Form(
        reload,
        "[NAME…]",
        "Take up changes of plugin-registry.csv and of the plugins' folders; of NAME alone, changed or not",
        details="""
What changed in code, settings, manifest or row is started beside the process that runs, and takes over when it is
ready; the old one finishes its calls. What is broken is refused with the reason, and the old one goes on.

Prints what was added, started, renewed, updated or removed, and what failed and why (exit code 1); into a pipe, by
tabs: result, name, reason.""",
    ),
    **OF_AUTHORS,
}
