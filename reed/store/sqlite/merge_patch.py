"""JSON Merge Patch (RFC 7396) on the text of a content: what the patch does not name stays as it was written.

    merge('{"a": 1.50, "b": 2}', '{"b": null, "c": 1E2}')  ->  '{"a": 1.50,"c":1E2}'

An object merges key by key, null takes a key away, anything else replaces. Keys keep their order; new ones come last.
Nesting is bounded by `strict_json`, so this may recurse.
"""

from __future__ import annotations

from reed.wire.json_spans import Member, members
from reed.wire.strict_json import Json


def merge(target: str, patch: str) -> tuple[str, dict[str, Json]]:
    """The text and the value of the object `target` with the object `patch` merged into it."""
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
            text, merged[member.key] = _changed(old, patch, change)
            parts.append(target[member.lead : member.begin] + text)
    spaces = target[before[0].lead : before[0].start] if before else ""
    for change in changes.values():
        if change.value is not None:
            text, merged[change.key] = _changed("{}", patch, change)
            parts.append(f"{spaces}{patch[change.start : change.begin].rstrip()}{text}")
    tail = target[before[-1].end : target.rindex("}")] if before else ""
    return f"{{{','.join(parts)}{tail}}}", merged


def _changed(old: str, patch: str, change: Member) -> tuple[str, Json]:
    """The text and the value of one key; `old` is the object that is there, or an empty one."""
    new = patch[change.begin : change.end]
    return merge(old, new) if isinstance(change.value, dict) else (new, change.value)
