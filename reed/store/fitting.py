"""Which snippets do not fit their type, which may have been redefined:

{"checked": 1000, "unfit": 2, "first": [{"id", "name", "problem"}, …], "cursor": "0190…"}      cursor "": the end
"""

from __future__ import annotations

from collections.abc import Iterable

from reed.errors import Invalid
from reed.store.types import Type
from reed.wire import strict_json

MAX_SNIPPETS = 1000  # in one page
MAX_BYTES = 8 * 1024 * 1024  # of content in one page; it has one snippet at least
_OVERHEAD = 512  # bytes counted for a snippet besides its content
_MAX_DESCRIBED = 10  # snippets in each page


def check(snippets: Iterable[tuple[str, str, bytes]], type_: Type, limit: int) -> bytes:
    """Check up to `limit` of the snippets (id, name, content); 0 means MAX_SNIPPETS, which is also the most."""
    limit = min(limit or MAX_SNIPPETS, MAX_SNIPPETS)
    checked = unfit = size = 0
    cursor = last = ""
    first: list[dict[str, str]] = []
    for snippet_id, name, content in snippets:
        if checked == limit or size > MAX_BYTES:
            cursor = last
            break
        try:
            type_.check(strict_json.loads(content))
        except Invalid as error:
            unfit += 1
            if len(first) < _MAX_DESCRIBED:
                first.append({"id": snippet_id, "name": name, "problem": error.message})
        checked, last = checked + 1, snippet_id
        size += len(content) + _OVERHEAD
    return strict_json.dumps({"checked": checked, "unfit": unfit, "first": first, "cursor": cursor})
