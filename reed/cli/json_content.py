"""JSON that is printed with a stored JSON text inside: laid out like the rest, while its numbers keep their digits.

dumps({"id": "0190…", "content": JsonContent(b'{"price": 1.50}')}, …)     {"id":"0190…","content":{"price":1.50}}
"""

from __future__ import annotations

import json
import os
from typing import Any


class JsonContent:
    """A JSON text as a value."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


def dumps(value: Any, indent: int | None, separators: tuple[str, str] | None) -> str:
    """The JSON text of a value in which JsonContent may stand. A number of it travels as a marked string meanwhile."""
    mark = os.urandom(8).hex()

    def parsed(content: Any) -> Any:
        if not isinstance(content, JsonContent):
            raise TypeError(f"{type(content).__name__} is no JSON")
        return json.loads(content.text, parse_int=marked, parse_float=marked)

    def marked(digits: str) -> str:
        return f"{mark}{digits}{mark}"

    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=parsed)
    return text.replace(f'"{mark}', "").replace(f'{mark}"', "")
