"""The action of a plugin: a form made from its declared input, and its answer.

input: snippet    a REF, with the names of snippets
input: json       a field for each key of the `example` in plugin.yaml, or the JSON itself
input: bytes      text
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import ActionNotFound, CallError, Malformed, nearest
from reed.supervision.explain import plugin_named
from reed.web.context import Context, Form, context_of, form_of, pretty, ref_of
from reed.wire import strict_json

_MAX_NAMES = 200  # offered for a REF
_PREFIX = "field."  # of the fields that are made from the example


class Field(NamedTuple):
    """`kind` is text, number, boolean or json."""

    name: str
    kind: str
    value: str


class Outcome(NamedTuple):
    is_error: bool
    status: int
    took: str
    text: str  # the answer, or the error's message
    hint: str = ""


async def show(request: Request) -> Response:
    action = await context_of(request).ask(request, _action, *_path(request))
    return await _page(request, action, _example(action), None)


async def run(request: Request) -> Response:
    web, form = context_of(request), form_of(request)
    name, action_name = _path(request)
    action = await web.ask(request, _action, name, action_name)
    try:
        data = _input(action, form)
    except Malformed as error:
        outcome = Outcome(True, 400, "", f"the input is not valid: {error.message}", error.hint)
        return await _page(request, action, form.get("input", ""), outcome, form)
    began = time.monotonic()
    try:
        answer = await web.ask(request, Client.plugin_send, name, action_name, data)
    except CallError as error:
        outcome = Outcome(True, error.status, _took(began), error.message, error.hint)
    else:
        outcome = Outcome(answer.status >= 400, answer.status, _took(began), pretty(answer.body))
    return await _page(request, action, data.decode("utf-8", "replace"), outcome, form)


def _path(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params["action"]


def _action(core: Client, name: str, action: str) -> dict[str, Any]:
    """Of PLUGIN_LIST, with the name of its plugin."""
    plugin = plugin_named(name, core.plugin_list())
    found = plugin["actions"]
    if action not in found:
        hint = nearest(action, found) or f"there are: {', '.join(found) or 'none'}"
        raise ActionNotFound(f"{name} has no action {action}", hint=hint)
    return {**found[action], "name": action, "plugin": name, "state": plugin["state"]}


async def _page(
    request: Request, action: dict[str, Any], given: str, outcome: Outcome | None, form: Form | None = None
) -> Response:
    web = context_of(request)
    names = await _names(web, request) if action["input"] == "snippet" else []
    return web.render(
        request,
        "action.html",
        status=outcome.status if outcome and outcome.is_error and outcome.status < 600 else 200,
        action=action,
        given=_ref(given) if action["input"] == "snippet" else given,
        fields=_fields(action, form) if action["input"] == "json" else [],
        names=names,
        outcome=outcome,
    )


async def _names(web: Context, request: Request) -> list[str]:
    try:
        return await web.ask(request, Client.snippet_names, "", _MAX_NAMES)
    except CallError:  # plugin_send does not imply snippet_read
        return []


def _example(action: dict[str, Any]) -> str:
    example = action.get("example")
    if example is None:
        return "{}" if action["input"] == "json" else ""
    return example if isinstance(example, str) and action["input"] != "json" else pretty(example)


def _ref(given: str) -> str:
    """A JSON string as its text."""
    try:
        value = json.loads(given)
    except ValueError:
        return given
    return value if isinstance(value, str) else given


def _fields(action: dict[str, Any], form: Form | None) -> list[Field]:
    """One for each key of the example, with what was sent, else with the example's value."""
    example = action.get("example")
    sent = form if form is not None and "fields" in form else None
    fields = []
    for name, value in example.items() if isinstance(example, dict) else ():
        kind = _kind(value)
        text = value if isinstance(value, str) else pretty(value)
        if sent is not None:
            text = sent.get(_PREFIX + name, "false" if kind == "boolean" else "")
        fields.append(Field(name, kind, text))
    return fields


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "json"


def _input(action: dict[str, Any], form: Form) -> bytes:
    """What is sent to the action. Raises Malformed."""
    if action["input"] == "snippet":
        return strict_json.dumps(ref_of(form.get("input", "")))
    if action["input"] == "bytes":
        return form.get("input", "").encode()
    if "fields" not in form:
        data = form.get("input", "").strip().encode()
        if data:
            strict_json.loads(data)
        return data
    given = {field.name: _value(field) for field in _fields(action, form)}
    return strict_json.dumps({name: value for name, value in given.items() if value is not None})


def _value(field: Field) -> Any:
    """None for a field that was left empty, and is not text."""
    if field.kind == "boolean":
        return field.value == "true"
    if field.kind == "text":
        return field.value
    if not field.value.strip():
        return None
    try:
        return strict_json.loads(field.value.strip().encode())
    except Malformed as error:
        raise Malformed(f"{field.name}: {error.message}") from None


def _took(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.1f} ms"


ROUTES = [
    Route("/plugins/{name}/actions/{action}", show),
    Route("/plugins/{name}/actions/{action}", run, methods=["POST"]),
]
