"""The SQL of the connection that follows the log: what other cores have done, who delivers events to a plugin, and how
many wait for it. Lines that nobody needs any more are deleted by a worker (`trimming`).

The log is read in the order of the commits: by the key of `batches`, and for each batch by the key of `changes`. The
subquery with OFFSET 0 keeps the planner to that; a join of both tables, or a condition on columns of both, would read
all of them. No statement looks at more than a page of batches, since others of its connection wait meanwhile.
"""

from __future__ import annotations

CORE_SEEN = "10 s"  # a running core writes into its row of `cores` more often
HEADS = "SELECT (SELECT last FROM head WHERE what = 'batches'), (SELECT last FROM head WHERE what = 'trimmed')"
MAX_BEHIND = 100_000  # snippets to index are counted up to here
PAGE_BATCHES = 500
ALL_LINES = 2147483647  # as `k`: behind every line of a batch


def lines_of(batches: str) -> str:
    """FROM: `batch`, the rows of the table or subquery `batches`, and `line`, the lines of each."""
    return (
        f"{batches} AS batch CROSS JOIN LATERAL (SELECT * FROM changes"
        " WHERE changes.core = batch.core AND changes.n = batch.n ORDER BY changes.k OFFSET 0) AS line"
    )


def _page(condition: str) -> str:
    return f"(SELECT seq, core, n FROM batches WHERE {condition} ORDER BY seq LIMIT {PAGE_BATCHES})"


def _page_end(condition: str) -> str:
    """The last batch of a page; NULL: there are no more than it has."""
    return f"(SELECT seq FROM batches WHERE {condition} ORDER BY seq OFFSET {PAGE_BATCHES} - 1 LIMIT 1)"


IS_FOR_CURSOR = "line.kind = ANY (cursor.kinds) AND line.made_by <> cursor.name"

# Of each subscriber: $1 name, $2 and $3 the place behind which its lines are counted, $4 up to which batch, or -1: up
# to its cursor. The last column: the batch with which the page, and the count, ended before that.
_RANGE = "seq BETWEEN from_seq AND until_seq"
_WAITING = (
    "SELECT cursor.name, told, cursor.k, head.last,"
    f" (SELECT count(*) FROM {lines_of(_page(_RANGE))}"
    "   WHERE (seq, line.k) > (from_seq, from_k) AND (seq, line.k) <= (until_seq, until_k)"
    f"   AND {IS_FOR_CURSOR}),"
    f" {_page_end(_RANGE)}"
    " FROM unnest($1::text[], $2::bigint[], $3::int[], $4::bigint[]) AS known (name, seq, k, until)"
    " JOIN subscribers AS cursor USING (name) JOIN head ON what = 'batches'"
    " CROSS JOIN LATERAL (SELECT until >= 0 AND (told, cursor.k) > (known.seq, known.k) AS is_beyond) AS compared"
    " CROSS JOIN LATERAL (SELECT CASE WHEN is_beyond THEN told ELSE known.seq END AS from_seq,"
    "   CASE WHEN is_beyond THEN cursor.k ELSE known.k END AS from_k,"
    "   CASE WHEN until < 0 THEN told ELSE least(until, head.last) END AS until_seq,"
    f"   CASE WHEN until < 0 THEN cursor.k ELSE {ALL_LINES} END AS until_k) AS range"
)
# Up to $1 of the lines that wait for $2 count as lost, the oldest of the next page. $3 and $4: under this lease; $5 and
# $6: if the cursor is still there, since it is asked again if the answer was lost.
_SKIP = (
    "WITH cursor AS (SELECT name, told, k, kinds FROM subscribers"
    "   WHERE name = $2 AND leader = $3::uuid AND generation = $4::bigint"
    "   AND (told, k) = ($5::bigint, $6::int) FOR UPDATE),"
    " page AS (SELECT batch.* FROM cursor"
    f" CROSS JOIN LATERAL {_page('seq >= cursor.told')} AS batch),"
    f" beyond AS (SELECT seq, line.k FROM cursor CROSS JOIN {lines_of('page')}"
    f"   WHERE (seq, line.k) > (cursor.told, cursor.k) AND {IS_FOR_CURSOR} ORDER BY seq, line.k LIMIT $1::int),"
    " found AS (SELECT count(*) AS lines FROM beyond),"
    f" ends AS (SELECT seq, k FROM beyond WHERE (SELECT lines FROM found) = $1::int UNION ALL"
    f"   SELECT max(seq), {ALL_LINES} FROM page HAVING (SELECT lines FROM found) < $1::int"
    "   ORDER BY seq DESC, k DESC LIMIT 1)"
    " UPDATE subscribers SET told = ends.seq, k = ends.k, lost = lost + found.lines FROM ends, found, cursor"
    " WHERE subscribers.name = cursor.name AND ends.seq IS NOT NULL"
    " RETURNING found.lines, subscribers.told, subscribers.k, lost"
)

# The first line of the next page that waits for $4, of the kinds $3, behind the place $1 and $2; without one the last
# column is the batch that ends the page, or NULL if there are no more.
NEXT_EVENT = (
    "SELECT seq, line.k, kind, id::text, type, name, version, line.at, deleted.content, deleted.bonds,"
    f" CASE WHEN seq IS NULL THEN {_page_end('seq >= $1::bigint')} END FROM (VALUES (1)) AS always"
    f" LEFT JOIN LATERAL (SELECT seq, line.* FROM {lines_of(_page('seq >= $1::bigint'))}"
    "   WHERE (seq > $1::bigint OR line.k > $2::int) AND line.kind = ANY ($3::text[]) AND line.made_by <> $4"
    "   ORDER BY seq LIMIT 1) AS line ON true LEFT JOIN deleted USING (core, n, k)"
)

FOLLOWER = {
    "news": (
        "SELECT seq, line.k, kind, id::text, made_by FROM (SELECT seq, core, n FROM batches"
        f"   WHERE seq > $1::bigint AND seq <= $1::bigint + {PAGE_BATCHES} AND core <> $2::uuid) AS batch"
        " LEFT JOIN LATERAL (SELECT k, kind, id, made_by FROM changes"
        "   WHERE changes.core = batch.core AND changes.n = batch.n OFFSET 0) AS line ON true ORDER BY seq, line.k"
    ),
    "heads": HEADS,
    "lead": (
        "UPDATE subscribers SET leader = $2::uuid,"
        " generation = generation + (leader IS DISTINCT FROM $2::uuid)::int,"
        " lease = clock_timestamp() + make_interval(secs => $3::float)"
        " WHERE name = $1 AND (leader = $2::uuid OR lease < clock_timestamp() OR leader IS NULL)"
        " RETURNING generation, told, k, lost, kinds::text"
    ),
    # A plugin that no core has any more.
    "forget": (
        "DELETE FROM subscribers WHERE name = $1 AND NOT EXISTS (SELECT FROM cores WHERE core <> $2::uuid"
        f" AND seen > now() - interval '{CORE_SEEN}' AND registry ? $1)"
    ),
    "yield": "UPDATE subscribers SET leader = NULL, lease = '-infinity' WHERE name = $1 AND leader = $2::uuid",
    "waiting": _WAITING,
    "skip": _SKIP,
    "figures": (
        f"SELECT (SELECT count(*) FROM (SELECT FROM unindexed LIMIT {MAX_BEHIND}) AS behind)"
        " + (SELECT coalesce(sum(remaining), 0) FROM reindex),"
        " (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reed' AND datname = current_database()),"
        " pg_database_size(current_database())"
    ),
    "cores": (
        "SELECT core::text, name, version, extract(epoch FROM now() - started)::bigint, registry::text"
        f" FROM cores WHERE seen > now() - interval '{CORE_SEEN}' AND core <> $1::uuid ORDER BY name, core"
    ),
    # News wait meanwhile, so it does not wait for the disk: the next one comes in two seconds.
    "appear": (
        "WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))"
        " INSERT INTO cores (core, name, version, started, seen, registry)"
        " SELECT $1::uuid, $2::text, $3::text, now(), now(), $4::jsonb FROM quick"
        " ON CONFLICT (core) DO UPDATE SET seen = now(), registry = excluded.registry"
    ),
    "leave": "DELETE FROM cores WHERE core = $1::uuid OR seen < now() - interval '1 day'",
}
