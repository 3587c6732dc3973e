"""Is an answer what plugin.yaml declares? `output` is an example of it: what counts is the kind of every value.

declared                     answered may be
{"words": 420}               an object with `words`, a number; more fields are fine
[{"keyword": ""}]            an array whose every element is as the first one declared; [] is any array
"…"  420  true               any string, any number, true or false
null                         anything
"""

from __future__ import annotations

import json
from typing import Any


def difference(declared: Any, answered: Any, place: str = "") -> str:
    """The first place where the answer is not as declared, in words; "" when there is none."""
    if declared is None:
        return ""
    wanted, found = _kind(declared), _kind(answered)
    if wanted != found:
        return f"{place or 'the answer'}: declared {wanted}, answered {found}{_shown(answered)}"
    if isinstance(declared, dict):
        for key, value in declared.items():
            inner = f"{place}.{key}" if place else key
            if key not in answered:
                return f"{inner}: declared, and not in the answer (it has: {', '.join(answered) or 'nothing'})"
            if told := difference(value, answered[key], inner):
                return told
    elif isinstance(declared, list) and declared:
        for number, value in enumerate(answered):
            if told := difference(declared[0], value, f"{place}[{number}]"):
                return told
    return ""


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return {str: "a string", list: "an array", dict: "an object", type(None): "null"}[type(value)]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f", {text}" if value is not None and len(text) <= 60 else ""
