"""JSON Merge Patch (RFC 7396) on JSON text: members that the patch does not name keep their exact text.

    merge('{"a": 1.50, "b": 2}', '{"b": null, "c": 1E2}')  ->  '{"a": 1.50,"c":1E2}'

Keys keep their order; new ones come last. `strict_json` bounds the nesting, so recursion is safe.
"""

from __future__ import annotations

from reed.wire.json_spans import Member, members
from reed.wire.strict_json import Json


def merge(target: str, patch: str) -> tuple[str, dict[str, Json]]:
    """Text and value of the object `target` after applying the object `patch`. Both texts must be valid JSON."""
    changes = {member.key: member for member in members(patch)}
    before = list(members(target))
    parts: list[str] = []
    merged: dict[str, Json] = {}
    for member in before:
        change = changes.pop(member.key, None)
        if change is None:
            parts.append(target[member.lead : member.end])
            merged[member.key] = member.value
        elif change.value is not None:
            old = target[member.begin : member.end] if isinstance(member.value, dict) else "{}"
            text, merged[member.key] = _merge_member(old, patch, change)
            parts.append(target[member.lead : member.begin] + text)
    spaces = target[before[0].lead : before[0].start] if before else ""
    for change in changes.values():
        if change.value is not None:
            text, merged[change.key] = _merge_member("{}", patch, change)
            parts.append(f"{spaces}{patch[change.start : change.begin].rstrip()}{text}")
    tail = target[before[-1].end : target.rindex("}")] if before else ""
    return f"{{{','.join(parts)}{tail}}}", merged


def _merge_member(old: str, patch: str, change: Member) -> tuple[str, Json]:
    """Text and value of one changed member; `old` is the text of the object it replaces, or `{}`."""
    new = patch[change.begin : change.end]
    return merge(old, new) if isinstance(change.value, dict) else (new, change.value)
