"""What the pages that edit a content share: they read what was submitted, and give fields.html its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from reed.errors import ReedError
from reed.web.forms import ORIGIN, Field, Problems, content_of, form, rearranged
from reed.wire.exact_json import Json, shown


class Filled(NamedTuple):
    """A form that was sent. `focus`: a button changed an array, so this control is shown next and nothing is saved."""

    form: Field
    content: Json
    problems: Problems
    focus: str


def filled(definition: Json, content: Json, sent: Mapping[str, str]) -> Filled:
    """`definition` and `content` are those that the form was made from."""
    submitted = {name: value for name, value in sent.items() if name.startswith(("/", ORIGIN))}
    focus, action = "", sent.get("action", "save")
    if action != "save":
        submitted, focus = rearranged(submitted, action)
    found = form(definition, content, submitted)
    return Filled(found, *content_of(found), focus)


def values_of(shown_form: Field | None, problems: Problems, focus: str) -> dict[str, Any]:
    """What fields.html needs; `shown_form` is None on a page that edits JSON."""
    return {
        "form": shown_form,
        "problems": problems,
        "summary": _summary(shown_form, problems),
        "focus": focus,
        "control_id": _control_id,
        "origin": ORIGIN,
    }


def json_problem(error: ReedError) -> Problems:
    """At the control that has the whole content as JSON."""
    return {"content": [error.message.removeprefix("JSON: ")]}


def _control_id(pointer: str) -> str:
    return "f" + re.sub(r"[^A-Za-z0-9]", lambda match: f"-{ord(match[0]):x}-", pointer)


def _summary(shown_form: Field | None, problems: Problems) -> list[tuple[str, str, str]]:
    """(pointer, label, problem) of each problem, in the order of the form; without a control the pointer is ""."""
    labels = {field.pointer: field.label for field in shown_form.walk()} if shown_form else {}
    order = {pointer: number for number, pointer in enumerate(labels)}
    found = []
    for pointer in sorted(problems, key=lambda each: order.get(each, -1)):
        label = (labels.get(pointer) or shown(pointer)) if pointer else ""
        has_control = (pointer in labels and pointer) or not pointer.startswith("/")
        found += [(pointer if has_control else "", label, text) for text in problems[pointer]]
    return found
