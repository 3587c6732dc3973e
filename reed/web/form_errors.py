"""Puts what the core says of a content at the fields of its form.

the content does not fit its type 'page': $.keywords[1]: 12 is not of type "string"; $: "title" is a required property
                                          ─ /keywords/1 ──────────────────────────   ─ /title ───────────────────────
"""

from __future__ import annotations

import re

from reed.web.forms import Field, Problems
from reed.wire.exact_json import loads

_UNFIT = re.compile(r"the content does not fit its type '[^']*': (?P<problems>.*)", re.DOTALL)
_HINT = re.compile(r"; `reed registry get [^`]*` shows what is expected\Z")
_NEXT = re.compile(r"; (?=\$[.\[:]|…)")
_REQUIRED = re.compile(r'(?P<name>".*") is a required property', re.DOTALL)
_UNEXPECTED = re.compile(r"Additional properties are not allowed \('(?P<name>.*)' was unexpected\)", re.DOTALL)
_UNIQUE = re.compile(r"(?P<name>.+?) is unique among snippets of type '[^']*': ", re.DOTALL)


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
