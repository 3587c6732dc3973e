"""The SQL of the connection that follows the log: what other cores have done, who delivers events to a plugin, and
which lines of the log nobody needs any more.

    lines              kept
    of the last 10 min always: other cores read them, and a COMMIT in doubt is looked up among them
    the newest ones    `limits.kept_changes` of them: watchers read them
    older              while they wait for a plugin: its newest `limits.queued_events`; what is beyond counts as lost
"""

from __future__ import annotations

CORE_SEEN = "10 s"  # a running core writes into its row of `cores` more often
HEADS = "SELECT (SELECT last FROM head WHERE what = 'batches'), (SELECT last FROM head WHERE what = 'trimmed')"

# Lines that wait for the subscriber `cursor`.
_WAITING = (
    "SELECT seq, changes.k FROM batches JOIN changes USING (core, n) WHERE (seq, changes.k) > (cursor.told, cursor.k)"
    " AND kind = ANY (cursor.kinds) AND made_by <> cursor.name"
)
# The last batch that is older than ten minutes.
_OLD = (
    "coalesce((SELECT seq - 1 FROM batches WHERE at >= now() - interval '10 min' ORDER BY seq LIMIT 1),"
    " (SELECT last FROM head WHERE what = 'batches'))"
)
# The last batch beyond the newest lines, but for one more than the parameter. A worker asks it, since it looks at each.
KEPT = (
    "SELECT seq - 1 FROM batches JOIN changes USING (core, n) WHERE k >= 0"
    " ORDER BY seq DESC, k DESC OFFSET %s::bigint LIMIT 1"
)
_IDLE_BATCHES = 1000  # a cursor with nothing to deliver is moved only if it is so far behind


def _skip(condition: str) -> str:
    """Move cursors past what is beyond the newest $1 waiting lines, and count that as lost. A cursor that is moved in
    the same moment stays."""
    return (
        "WITH beyond AS (SELECT cursor.name, cursor.told, cursor.k, last.seq, last.k AS last_k,"
        f" (SELECT count(*) FROM ({_WAITING}) AS lines WHERE (lines.seq, lines.k) <= (last.seq, last.k)) AS lines"
        f" FROM subscribers AS cursor CROSS JOIN LATERAL ({_WAITING} ORDER BY seq DESC, changes.k DESC"
        f"   OFFSET $1::bigint LIMIT 1) AS last WHERE {condition})"
        " UPDATE subscribers SET told = seq, k = last_k, lost = lost + lines FROM beyond"
        " WHERE subscribers.name = beyond.name AND (subscribers.told, subscribers.k) = (beyond.told, beyond.k)"
        " RETURNING lines"
    )


def _trim(batches: str) -> str:
    """`batches`: of `old`, up to $1, the last batch that no watcher needs."""
    return (
        f"WITH gone AS (DELETE FROM batches WHERE seq IN ({batches} FOR UPDATE OF old SKIP LOCKED)"
        " RETURNING seq, core, n),"
        " lines AS (DELETE FROM changes USING gone WHERE changes.core = gone.core AND changes.n = gone.n)"
        " UPDATE head SET last = greatest(last, (SELECT max(seq) FROM gone)) WHERE what = 'trimmed'"
        " AND EXISTS (SELECT FROM gone)"
    )


FOLLOWER = {
    "news": (
        "SELECT seq, k, kind, id::text, made_by"
        " FROM batches LEFT JOIN changes USING (core, n)"
        " WHERE seq > $1::bigint AND seq <= $1::bigint + 500 AND core <> $2::uuid"
        " ORDER BY seq, k"
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
    "waiting": (
        f"SELECT name, (SELECT count(*) FROM ({_WAITING} LIMIT $2::int) AS lines), lost"
        " FROM subscribers AS cursor WHERE name = ANY ($1::text[])"
    ),
    "figures": (
        "SELECT (SELECT count(*) FROM (SELECT FROM unindexed LIMIT 100000) AS behind),"
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
    "skip": _skip("cursor.name = $2"),
    # The log, every two seconds.
    "skip_all": _skip(f"cursor.told < {_OLD}"),
    "advance": (
        "UPDATE subscribers AS cursor SET told = head.last, k = 2147483647 FROM head"
        f" WHERE what = 'batches' AND cursor.told < head.last - {_IDLE_BATCHES} AND NOT EXISTS"
        f" ({_WAITING} AND seq <= head.last)"
    ),
    "trim": _trim(
        f"SELECT old.seq FROM batches AS old WHERE old.seq <= least({_OLD}, $1::bigint)"
        " AND old.seq < coalesce((SELECT min(told) FROM subscribers), old.seq + 1) ORDER BY old.seq LIMIT 2000"
    ),
    # Every ten seconds: what lies between lines that wait.
    "thin": _trim(
        "SELECT old.seq FROM batches AS old WHERE old.seq >= (SELECT min(told) FROM subscribers)"
        f" AND old.seq <= least({_OLD}, $1::bigint) AND NOT EXISTS (SELECT FROM changes JOIN subscribers AS cursor"
        "   ON kind = ANY (kinds) AND made_by <> cursor.name AND (old.seq, changes.k) > (told, cursor.k)"
        "   WHERE changes.core = old.core AND changes.n = old.n) ORDER BY old.seq LIMIT 20000"
    ),
}
