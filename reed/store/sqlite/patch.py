"""JSON Merge Patch (RFC 7396): an object merges key by key, null takes a key away, anything else replaces.

    merge({"a": {"b": 1, "c": 2}}, {"a": {"b": null, "d": 3}})  ->  {"a": {"c": 2, "d": 3}}

Keys keep their order; new ones come last. Nesting is bounded by `strict_json`, so this may recurse.
"""

from __future__ import annotations

from reed.wire.strict_json import Json


def merge(target: Json, patch: Json) -> Json:
    """`target` with `patch` merged into it; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
