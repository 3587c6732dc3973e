"""The answer of a plugin's action, printed by `reed plugin send` and `run-schedule`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reed.cli.output import Output, print_error
from reed.errors import CallError

if TYPE_CHECKING:
    from reed.wire.plugins import PluginAnswer


def print_answer(answer: PluginAnswer, output: Output, what: str) -> int:
    """Returns the exit code: 1 for a status of 400 or more."""
    body = bytes(answer.body)
    if output.as_json and not is_json(body):
        output.json(body.decode("utf-8", "replace") if body else None)
    elif body:
        output.text(body)
    if answer.status >= 400:
        print_error(f"{what}: status {answer.status}")
        return 1
    return 0


def with_origin(error: CallError, name: str, what: str) -> CallError:
    """Prefix the error with plugin and action or schedule, unless it starts with the plugin."""
    import re

    message = error.message.removeprefix(f"{name}.{what.rpartition(' ')[2]}: ")  # of errors in Lua code
    named = message if re.match(rf"(plugin )?{re.escape(name)}\b", message) else f"plugin {name}, {what}: {message}"
    return type(error)(named, hint=error.hint, status=error.status, error_code=error.error_code)


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
