"""`reed plugin send` and `run-schedule`: calls of a plugin's actions, and their answers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

from reed.cli.options import connect, read_all, ref, standard_input
from reed.cli.output import Output, print_error
from reed.cli.parse import Args, UsageError
from reed.client import Client
from reed.errors import CallError, PermissionDenied
from reed.wire.plugins import PluginAnswer


def send(args: Args, output: Output) -> int:
    if args.has("--all"):
        return _send_all(args.arg("ACTION"), args, output)
    name, action = args.arg("NAME"), args.arg("ACTION")
    with connect(args, timeout=None) as core:
        data = _action_input(core, name, action, args.arg_list("INPUT"))
        return _call(output, name, f"action {action}", lambda: core.plugin_send(name, action, data))


def _send_all(action: str, args: Args, output: Output) -> int:
    with connect(args, timeout=None) as core:
        answers = core.plugin_send_all(action, _action_input(core, "", action, args.arg_list("INPUT")))
    output.text(json.dumps(answers, ensure_ascii=False).encode())
    if not answers:
        print_error(f"no running plugin has the action {action}")
    return 1 if any(answer["status"] >= 400 for answer in answers.values()) else 0


def _action_input(core: Client, name: str, action: str, given: list[str]) -> bytes:
    """As the action declares: a ref as a JSON string, JSON, or bytes."""
    kind = _declared_input(core, name, action)
    if not given:
        if kind == "snippet":
            usage = f"reed plugin send {name or '--all'} {action} REF"
            raise UsageError(f"action {action} requires a snippet", hint=usage)
        return b""
    data = read_all(standard_input(), "standard input") if given[0] == "-" else os.fsencode(given[0])
    if kind == "bytes":
        return data
    if kind != "snippet" and _is_json(data):
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


def run_schedule(args: Args, output: Output) -> int:
    name, schedule = args.arg("NAME"), args.arg("SCHEDULE")
    with connect(args, timeout=None) as core:
        return _call(output, name, f"schedule {schedule}", lambda: core.plugin_run_schedule(name, schedule))


def _call(output: Output, name: str, what: str, call: Callable[[], PluginAnswer]) -> int:
    """Print the answer; the exit code is 1 for a status of 400 or more. An error names the plugin and `what`."""
    try:
        answer = call()
    except CallError as error:
        message = error.message.removeprefix(f"{name}.{what.rpartition(' ')[2]}: ")  # of errors in Lua code
        if not re.match(rf"(plugin )?{re.escape(name)}\b", message):
            message = f"plugin {name}, {what}: {message}"
        raise type(error)(message, hint=error.hint, status=error.status, error_code=error.error_code) from None
    body = bytes(answer.body)
    if output.as_json and not _is_json(body):
        output.json(body.decode("utf-8", "replace") if body else None)
    elif body:
        output.text(body)
    if answer.status >= 400:
        print_error(f"plugin {name}, {what}: status {answer.status}")
        return 1
    return 0


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
