"""The search index: `unindexed` names the snippets whose row in `search` is missing or old; indexers of all cores take
them from there, in a worker.

    claim some (for CLAIM_SECONDS) ── read ── make the vectors ── one transaction: write them, delete the claims

A snippet that was written meanwhile has another `at`, so its claim is not deleted, and it is indexed again. A claim
ends by itself when its core has died. A snippet that kills the worker (a content too large for its memory) is given up
after MAX_ATTEMPTS, and found no more.
"""

from __future__ import annotations

import time
from typing import Any

from reed.store.postgres.session import Session, row_of, session
from reed.store.postgres.vectors import labels_of, vector
from reed.store.search_text import Columns, texts_by_column
from reed.store.types import columns_of

CLAIM_SECONDS = 3
MAX_ATTEMPTS = 3
_CLAIMED = 20  # at a time
_BYTES = 1024 * 1024  # of content at a time

_CLAIM = (
    "UPDATE unindexed SET claimed = clock_timestamp() + make_interval(secs => %s), attempts = attempts + 1 WHERE id IN"
    " (SELECT id FROM unindexed WHERE claimed < clock_timestamp() ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED)"
    " RETURNING id::text, at::text, attempts"
)
_CONTENT = "SELECT type, version, content FROM snippets WHERE id = %s::uuid"
_RELEASE = "UPDATE unindexed SET claimed = '-infinity', attempts = 0 WHERE id = ANY (%s::uuid[])"
_PUT = (
    "WITH done AS (DELETE FROM unindexed WHERE id = %(id)s::uuid AND at = %(at)s::timestamptz RETURNING id)"
    " INSERT INTO search (id, type, version, vector) SELECT snippets.id, type, version, %(vector)s::tsvector"
    " FROM snippets JOIN done USING (id) WHERE version = %(version)s"
    " ON CONFLICT (id) DO UPDATE SET type = excluded.type, version = excluded.version, vector = excluded.vector"
)
_DROP = "DELETE FROM unindexed WHERE id = %s::uuid AND at = %s::timestamptz"


def run_index(conninfo: str, seconds: float, slice_seconds: float) -> tuple[int, int, bool]:
    """Index for about `slice_seconds`. Gives the batch up to which the index has everything, or 0 if it has not; the
    number of snippets indexed; and whether some are left."""
    until = time.monotonic() + slice_seconds
    count = 0
    with session(conninfo, seconds) as connection:
        head, began = row_of(connection, "SELECT last, clock_timestamp()::text FROM head WHERE what = 'batches'")
        columns = {
            name: columns_of(text.encode()) for name, text in connection.execute("SELECT name, definition FROM types")
        }
        while claimed := connection.execute(_CLAIM, (CLAIM_SECONDS, _CLAIMED)).fetchall():
            count += _index(connection, claimed, columns)
            if time.monotonic() >= until:
                break
        left, is_behind = row_of(
            connection, "SELECT count(*) > 0, coalesce(min(at) <= %s::timestamptz, false) FROM unindexed", (began,)
        )
    return (0 if is_behind else int(head)), count, bool(left)


def _index(connection: Session, claimed: list[tuple[Any, ...]], columns: dict[str, Columns]) -> int:
    found: list[dict[str, Any]] = []
    gone: list[tuple[str, str]] = []
    room = _BYTES
    for number, (snippet_id, at, attempts) in enumerate(claimed):
        if room < 0:
            connection.execute(_RELEASE, ([row[0] for row in claimed[number:]],))
            claimed = claimed[:number]
            break
        row = connection.execute(_CONTENT, (snippet_id,)).fetchone()
        if row is None:
            gone.append((snippet_id, at))
            continue
        type_name, version, content = row
        room -= len(content)
        labels = labels_of(columns.get(type_name, ()))
        text = ""
        if labels and attempts <= MAX_ATTEMPTS:
            text = vector(texts_by_column(columns[type_name], content.encode()), labels)
        found.append({"id": snippet_id, "at": at, "version": version, "vector": text})
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_PUT, found)
        cursor.executemany(_DROP, gone)
    return len(claimed)
