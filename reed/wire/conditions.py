"""Conditions as people write them, for SNIPPET_FIND.

["draft=false", "path=about"]  ->  {"draft":false,"path":"about"}
"""

from __future__ import annotations

from collections.abc import Iterable

from reed.errors import Malformed
from reed.wire import strict_json


def conditions_of(given: Iterable[str]) -> bytes | None:
    """A JSON object of FIELD=VALUE, where VALUE is JSON, else a string; None if there are none. Raises Malformed."""
    found: dict[str, bytes] = {}
    for condition in given:
        field, equals, value = condition.partition("=")
        if not field or not equals:
            raise Malformed(f"expected FIELD=VALUE, found {condition!r}", hint="write FIELD=VALUE, such as draft=false")
        if field in found:
            raise Malformed(f"field {field} given twice", hint="all conditions must hold")
        found[field] = value.encode("utf-8", "surrogateescape")
        try:
            strict_json.loads(found[field])
        except Malformed:
            found[field] = strict_json.dumps(value)
    pairs = [strict_json.dumps(field) + b":" + value for field, value in found.items()]
    return b"{%b}" % b",".join(pairs) if pairs else None
