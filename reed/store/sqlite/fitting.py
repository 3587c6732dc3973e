"""Which snippets do not fit the definition of their type, as after it was defined anew: a part of them at a time.

{"checked": 1000, "unfit": 2, "first": [{"id", "name", "problem"}, …], "cursor": "0190…"}      cursor "": the end
"""

from __future__ import annotations

import sqlite3

from reed.errors import Invalid
from reed.store.sqlite.jobs import Steps
from reed.store.sqlite.types import Type
from reed.wire import strict_json

MAX_SNIPPETS = 1000  # in one part
MAX_BYTES = 8 * 1024 * 1024  # of content in one part (but one snippet at least)
_STEP = 16 * 1024  # bytes between two chances to interrupt
_OVERHEAD = 512  # bytes that a snippet counts beside its content
_NAMED = 10  # that are described in each part

_OF_TYPE = "SELECT id, name, content FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence LIMIT ?"


def check(connection: sqlite3.Connection, kind: Type, after: int, limit: int) -> Steps[bytes]:
    """Of `limit` snippets after this one (0: MAX_SNIPPETS, which is the most)."""
    limit = min(limit or MAX_SNIPPETS, MAX_SNIPPETS)
    rows = connection.execute(_OF_TYPE, (kind.name, after, limit + 1))
    checked = unfit = size = stepped = 0
    cursor = last = ""
    first: list[dict[str, str]] = []
    for snippet_id, name, content in rows:
        if checked == limit or size > MAX_BYTES:
            cursor = last
            rows.close()
            break
        try:
            kind.check(strict_json.loads(content))
        except Invalid as error:
            unfit += 1
            if len(first) < _NAMED:
                first.append({"id": snippet_id, "name": name, "problem": error.message})
        checked, last = checked + 1, snippet_id
        size += len(content) + _OVERHEAD
        if size - stepped > _STEP:
            stepped = size
            yield
    return strict_json.dumps({"checked": checked, "unfit": unfit, "first": first, "cursor": cursor})
