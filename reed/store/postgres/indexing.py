"""The search index: `unindexed` names the snippets whose row in `search` is missing or old; indexers of all cores take
them from there, in a worker.

    claim some (for CLAIM_SECONDS) ── read ── make the vectors ── one statement: write them, delete the marks
      ▲ none left
    `reindex`: mark and claim the next snippets of a range

A snippet that was written meanwhile has another `at`, so its mark is not deleted, and it is indexed again. A claim
ends by itself when its core has died. A snippet that kills the worker (a content too large for its memory) is given up
after MAX_ATTEMPTS, and found no more.

Types are read after the claim: a definition that is committed later marks their snippets again. The oldest marks come
first, so a search waits only for what came before it. Claims need no disk: what a crash of the server takes back is
claimed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from reed.store.postgres.session import Session, row_of, session
from reed.store.postgres.statements import INDEX_CLAIMED
from reed.store.postgres.vectors import labels_of, vector
from reed.store.search_text import texts_by_column
from reed.store.types import columns_of

CLAIM_SECONDS = 3
MAX_ATTEMPTS = 3
_CLAIMED = 200  # at a time
_BYTES = 1024 * 1024  # of content at a time

_UNTIL = f"clock_timestamp() + interval '{CLAIM_SECONDS} s'"
_QUICK = "set_config('synchronous_commit', 'off', true)"
_CLAIM_COLUMNS = "id::text, at::text, attempts, coalesce((SELECT size FROM snippets WHERE id = unindexed.id), 0)"
# ARRAY keeps the planner to the indexes: it has no statistics of a table that was just filled.
_CLAIM = (
    f"WITH quick AS (SELECT {_QUICK})"
    f" UPDATE unindexed SET claimed = {_UNTIL}, attempts = attempts + 1 FROM quick"
    " WHERE id = ANY (ARRAY(SELECT id FROM unindexed WHERE claimed < clock_timestamp() ORDER BY at LIMIT %s"
    f"   FOR UPDATE SKIP LOCKED)) RETURNING {_CLAIM_COLUMNS}"
)
# A range is locked by one statement, and its snippets are read by the next: they are those of this moment.
_LOCK_RANGE = f"SELECT type, after::text, {_QUICK} FROM reindex LIMIT 1 FOR UPDATE SKIP LOCKED"
_MARK = (
    f"INSERT INTO unindexed (id, claimed, attempts) SELECT id, {_UNTIL}, 1 FROM snippets WHERE {{condition}}"
    f" id > %(after)s::uuid ORDER BY id LIMIT %(limit)s {INDEX_CLAIMED} RETURNING {_CLAIM_COLUMNS}"
)
_MARK_ALL, _MARK_TYPE = _MARK.format(condition=""), _MARK.format(condition="type = %(type)s AND")
_MOVE_RANGE = "UPDATE reindex SET after = %s::uuid, remaining = greatest(remaining - %s, 0) WHERE type = %s"
_END_RANGE = "DELETE FROM reindex WHERE type = %s"
_RELEASE = "UPDATE unindexed SET claimed = '-infinity', attempts = 0 WHERE id = ANY (%s::uuid[])"
_CONTENTS = "SELECT id::text, type, version, content FROM snippets WHERE id = ANY (%s::uuid[])"
_TYPES = "SELECT name, definition FROM types WHERE name = ANY (%s)"
# It waits for nobody: a snippet that is being written or deleted keeps its mark.
_PUT = (
    "WITH new AS MATERIALIZED (SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %b::text[])"
    "   AS new (id, at, vector)),"
    " held AS MATERIALIZED (SELECT unindexed.id, vector FROM new JOIN unindexed USING (id, at)"
    "   FOR UPDATE OF unindexed SKIP LOCKED),"
    " kept AS MATERIALIZED (SELECT id, type, version, vector FROM held JOIN snippets USING (id)"
    "   FOR KEY SHARE OF snippets SKIP LOCKED),"
    " done AS (DELETE FROM unindexed WHERE id IN (SELECT id FROM kept))"
    " INSERT INTO search (id, type, version, vector) SELECT id, type, version, vector::tsvector FROM kept"
    " ON CONFLICT (id) DO UPDATE SET type = excluded.type, version = excluded.version, vector = excluded.vector"
    " WHERE (search.type, search.version, search.vector)"
    "   IS DISTINCT FROM (excluded.type, excluded.version, excluded.vector)"
)
_DROP = (
    "DELETE FROM unindexed USING unnest(%s::uuid[], %s::timestamptz[]) AS gone (id, at)"
    " WHERE (unindexed.id, unindexed.at) = (gone.id, gone.at)"
)
_LEFT = (
    "SELECT is_reindexing OR oldest IS NOT NULL, is_reindexing OR coalesce(oldest <= %s::timestamptz, false)"
    " FROM (SELECT EXISTS (SELECT FROM reindex) AS is_reindexing, (SELECT min(at) FROM unindexed) AS oldest) AS marks"
)


class _Claim(NamedTuple):
    id: str
    at: str
    attempts: int
    size: int  # of the content


def run_index(conninfo: str, seconds: float, slice_seconds: float) -> tuple[int, int, bool]:
    """Index for about `slice_seconds`. Gives the batch up to which the index has everything, or 0 if it has not; the
    number of snippets indexed; and whether some are left."""
    until = time.monotonic() + slice_seconds
    count = 0
    with session(conninfo, seconds) as connection:
        head, began = row_of(connection, "SELECT last, clock_timestamp()::text FROM head WHERE what = 'batches'")
        while claimed := _claim(connection):
            count += _index(connection, claimed, until)
            if time.monotonic() >= until:
                break
        left, is_behind = row_of(connection, _LEFT, (began,))
    return (0 if is_behind else int(head)), count, bool(left)


def _claim(connection: Session) -> list[_Claim]:
    rows = connection.execute(_CLAIM, (_CLAIMED,)).fetchall()
    return list(map(_Claim._make, rows)) or _claim_of_range(connection)


def _claim_of_range(connection: Session) -> list[_Claim]:
    with connection.transaction():
        row = connection.execute(_LOCK_RANGE).fetchone()
        if row is None:
            return []
        type_name, after, _ = row
        statement = _MARK_TYPE if type_name else _MARK_ALL
        rows = connection.execute(statement, {"type": type_name, "after": after, "limit": _CLAIMED}).fetchall()
        claimed = list(map(_Claim._make, rows))
        if len(claimed) == _CLAIMED:
            connection.execute(_MOVE_RANGE, (max(claim.id for claim in claimed), len(claimed), type_name))
        else:
            connection.execute(_END_RANGE, (type_name,))
    return claimed


def _index(connection: Session, claimed: list[_Claim], until: float) -> int:
    """As many as there is time for, one at least; the number."""
    count = 0
    for portion in _portions(claimed):
        if count and time.monotonic() >= until:
            connection.execute(_RELEASE, ([claim.id for claim in claimed[count:]],))
            break
        _index_portion(connection, portion)
        count += len(portion)
    return count


def _portions(claimed: list[_Claim]) -> Iterator[list[_Claim]]:
    portion: list[_Claim] = []
    room = _BYTES
    for claim in claimed:
        if portion and claim.size > room:
            yield portion
            portion, room = [], _BYTES
        portion.append(claim)
        room -= claim.size
    yield portion


def _index_portion(connection: Session, portion: list[_Claim]) -> None:
    found: dict[str, Any] = {
        row[0]: row[1:] for row in connection.execute(_CONTENTS, ([claim.id for claim in portion],))
    }
    names = list({type_name for type_name, _, _ in found.values()})
    columns = {name: columns_of(text.encode()) for name, text in connection.execute(_TYPES, (names,))}
    labels = {name: labels_of(each) for name, each in columns.items()}
    done: list[tuple[_Claim, str]] = []
    gone: list[_Claim] = []
    for claim in portion:
        if claim.id not in found:
            gone.append(claim)
            continue
        type_name, _, content = found[claim.id]
        text = ""
        if labels.get(type_name) and claim.attempts <= MAX_ATTEMPTS:
            text = vector(texts_by_column(columns[type_name], content.encode()), labels[type_name])
        done.append((claim, text))
    if done:
        ids, at = [claim.id for claim, _ in done], [claim.at for claim, _ in done]
        connection.execute(_PUT, (ids, at, [text for _, text in done]))
    if gone:
        connection.execute(_DROP, ([claim.id for claim in gone], [claim.at for claim in gone]))
