"""What the pages that edit a content share: they read what was submitted, give fields.html its values, and put what the
core says of the content at its fields:

the content does not fit its type 'page': $.keywords[1]: 12 is not of type "string"; $: "title" is a required property
                                          ─ /keywords/1 ──────────────────────────   ─ /title ───────────────────────
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from reed.errors import ReedError
from reed.web.forms import ORIGIN, Field, Problems, content_of, form, rearranged
from reed.wire.exact_json import Json, loads, shown

_UNFIT = re.compile(r"the content does not fit its type '[^']*': (?P<problems>.*)", re.DOTALL)
_HINT = re.compile(r"; `reed registry get [^`]*` shows what is expected\Z")
_NEXT = re.compile(r"; (?=\$[.\[:]|…)")
_REQUIRED = re.compile(r'(?P<name>".*") is a required property', re.DOTALL)
_UNEXPECTED = re.compile(r"Additional properties are not allowed \('(?P<name>.*)' was unexpected\)", re.DOTALL)
_UNIQUE = re.compile(r"(?P<name>.+?) is unique among snippets of type '[^']*': ", re.DOTALL)


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


def placed(form: Field, message: str) -> Problems:
    """The problems that a message names, at the pointers of their fields; "" has those of the whole content."""
    unique = _UNIQUE.match(message)
    if unique:
        field = _child(form, unique["name"])
        return {(field or form).pointer: [message]}
    unfit = _UNFIT.fullmatch(_HINT.sub("", message))
    if unfit is None:
        return {"": [message]}
    found: Problems = {}
    for problem in _NEXT.split(unfit["problems"]):
        field, text = _place(form, problem.removeprefix("$")) if problem.startswith("$") else (form, problem)
        texts = found.setdefault(field.pointer, [])
        if text not in texts:
            texts.append(text)
    return found


def _place(field: Field, rest: str) -> tuple[Field, str]:
    """The field that a path such as `.keywords[1]: …` leads to, as far as there are fields, and the text after it."""
    while not rest.startswith(": "):
        found = _step(field, rest)
        if found is None:
            return field, rest.removeprefix(".")
        field, rest = found
    return _of_member(field, rest.removeprefix(": "))


def _step(field: Field, rest: str) -> tuple[Field, str] | None:
    """A key may hold any character: the longest that fits is taken."""
    fits = []
    for child in field.fields:
        step = f"[{child.key}]" if child.is_item else f".{child.key}"
        if rest.startswith(step) and rest[len(step) : len(step) + 1] in {".", "[", ":"}:
            fits.append((child, step))
    if not fits:
        return None
    child, step = max(fits, key=lambda each: len(each[1]))
    return child, rest[len(step) :]


def _of_member(field: Field, text: str) -> tuple[Field, str]:
    """The problem of an object that is one of its members."""
    required, unexpected = _REQUIRED.fullmatch(text), _UNEXPECTED.fullmatch(text)
    if required:
        child = _child(field, str(loads(required["name"])))
        return (child, "is required") if child else (field, text)
    if unexpected:
        child = _child(field, unexpected["name"])
        return (child, "is not permitted by the type") if child else (field, text)
    return field, text


def _child(field: Field, name: str) -> Field | None:
    return next((child for child in field.fields if child.key == name and not child.is_item), None)
