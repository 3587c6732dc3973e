"""A filter's answer (events.md#filters): {} or null, {"content": {…}}, or {"refuse": ["…", …]}."""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import CallError, Malformed, nearest
from reed.wire import strict_json
from reed.wire.json_spans import member_text
from reed.wire.strict_json import Json
from reed.wire.structs import Bytes

_RESULT_KEYS = ("content", "refuse")
_MAX_REASONS = 10
_MAX_REASON_LENGTH = 300  # characters


class FilterResult(NamedTuple):
    content: bytes | None = None  # None: unchanged
    reasons: tuple[str, ...] = ()  # of a refusal


def filter_result(status: int, body: Bytes) -> FilterResult:
    """Raises CallError for an invalid answer."""
    if status != 200:
        raise CallError(f"it answered {status}; a filter answers 200", status=status)
    answer = strict_json.loads(body, strict_json.MAX_DEPTH + 1) if body else None
    if answer is None or answer == []:  # Lua's empty table may be encoded as either
        return FilterResult()
    if not isinstance(answer, dict):
        raise Malformed(f"it answered {strict_json.describe(answer)}; a filter answers an object")
    for key in answer:
        if key not in _RESULT_KEYS:
            raise Malformed(
                f"it answered with an unknown key {key!r}",
                hint=nearest(key, _RESULT_KEYS) or "a filter answers content or refuse",
            )
    reasons = _reasons(answer.get("refuse"))
    if reasons or "content" not in answer:
        return FilterResult(reasons=reasons)
    content = answer["content"]
    if not isinstance(content, dict):
        raise Malformed(f"its content is {strict_json.describe(content)}, not an object")
    text = member_text(str(body, "utf-8"), "content")  # numbers keep their digits
    return FilterResult(content=text.encode() if text is not None else None)


def _reasons(value: Json) -> tuple[str, ...]:
    if value is None or value in ([], {}):
        return ()
    if not isinstance(value, list) or not all(isinstance(reason, str) for reason in value):
        raise Malformed("its refuse is not a list of strings")
    more = [f"… and {len(value) - _MAX_REASONS} more"] if len(value) > _MAX_REASONS else []
    return tuple(reason[:_MAX_REASON_LENGTH] for reason in value[:_MAX_REASONS]) + tuple(more)
