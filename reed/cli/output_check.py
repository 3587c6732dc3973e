"""Compare an answer with `output` of plugin.yaml, an example of which only the kinds of values count.

declared              matches
{"words": 420}        an object with a number `words`, and any other fields
[{"keyword": ""}]     an array whose elements all match the first one declared; [] matches any array
"…", 420, true        any string, any number, any boolean
null                  anything
"""

from __future__ import annotations

import json
from typing import Any


def difference(declared: Any, answered: Any, place: str = "") -> str:
    """A description of the first difference, or ""."""
    if declared is None:
        return ""
    expected, found = _kind(declared), _kind(answered)
    if expected != found:
        return f"{place or 'the answer'}: declared {expected}, answered {found}{_shown(answered)}"
    if isinstance(declared, dict):
        for key, value in declared.items():
            inner = f"{place}.{key}" if place else key
            if key not in answered:
                return f"{inner}: declared, but missing in the answer, which has: {', '.join(answered) or 'nothing'}"
            if found := difference(value, answered[key], inner):
                return found
    elif isinstance(declared, list) and declared:
        for number, value in enumerate(answered):
            if found := difference(declared[0], value, f"{place}[{number}]"):
                return found
    return ""


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    return {str: "a string", list: "an array", dict: "an object", type(None): "null"}[type(value)]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f", {text}" if value is not None and len(text) <= 60 else ""
