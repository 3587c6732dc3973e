"""Which lines of the log are deleted, by a worker of each core every few seconds.

    lines              kept
    of the last 10 min always: other cores read them, and a COMMIT in doubt is looked up among them
    the newest ones    `limits.kept_changes` of them: watchers read them
    older              while they wait for a plugin: its newest `limits.queued_events`; what is beyond counts as lost

A cursor with nothing to deliver is moved on, since the log stays from the last cursor on. Each statement is a
transaction of its own; the time of all of them grows with the lines that wait for a plugin.
"""

from __future__ import annotations

import time

from reed.store.postgres.log_statements import ALL_LINES, IS_FOR_CURSOR, lines_of
from reed.store.postgres.session import row_of, session

_MAX_TRIMMED = 2000  # batches at a time
_MAX_THINNED = 20000
# Off, but for `_SKIP`: else the planner reads all of the log for a part of it. Subscribers are few, and scanned.
_OTHER_PLANS = ("enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")
_IDLE_BATCHES = 1000  # a cursor with nothing to deliver is moved only if it is so far behind

# The last batch that is older than ten minutes; the last one.
_OLD = (
    "SELECT coalesce((SELECT seq - 1 FROM batches WHERE at >= now() - interval '10 min' ORDER BY seq LIMIT 1), last),"
    " last FROM head WHERE what = 'batches'"
)
# The last batch beyond the newest lines, but for one more than the parameter.
_KEPT = f"SELECT seq - 1 FROM {lines_of('batches')} WHERE k >= 0 ORDER BY seq DESC OFFSET %s::bigint LIMIT 1"
# Lines that wait for the subscriber `cursor`: all of them, by whatever plan; or the first one, by index.
_ALL_WAITING = (
    "SELECT seq, line.k FROM batches JOIN changes AS line USING (core, n)"
    f" WHERE (seq, line.k) > (cursor.told, cursor.k) AND seq >= cursor.told AND {IS_FOR_CURSOR}"
)
_IS_WAITING = (
    f"EXISTS (SELECT FROM {lines_of('(SELECT * FROM batches WHERE seq BETWEEN cursor.told AND %(last)s ORDER BY seq)')}"
    f" WHERE (seq > cursor.told OR line.k > cursor.k) AND {IS_FOR_CURSOR})"
)
# Move cursors past what is beyond the newest waiting lines, and count that as lost. A cursor that is moved in the same
# moment stays.
_SKIP = (
    "WITH beyond AS (SELECT cursor.name, cursor.told, cursor.k, last.seq, last.k AS last_k,"
    f" (SELECT count(*) FROM ({_ALL_WAITING}) AS lines WHERE (lines.seq, lines.k) <= (last.seq, last.k)) AS lines"
    f" FROM subscribers AS cursor CROSS JOIN LATERAL ({_ALL_WAITING} ORDER BY seq DESC, line.k DESC"
    "   OFFSET %(most)s::bigint LIMIT 1) AS last WHERE cursor.told < %(old)s)"
    " UPDATE subscribers SET told = seq, k = last_k, lost = lost + lines FROM beyond"
    " WHERE subscribers.name = beyond.name AND (subscribers.told, subscribers.k) = (beyond.told, beyond.k)"
)
_ADVANCE = (
    f"UPDATE subscribers AS cursor SET told = %(last)s, k = {ALL_LINES}"
    f" WHERE cursor.told < %(last)s - {_IDLE_BATCHES} AND NOT {_IS_WAITING}"
)
_TRIM = (
    "WITH gone AS (DELETE FROM batches WHERE seq IN ({batches} FOR UPDATE OF old SKIP LOCKED)"
    " RETURNING seq, core, n),"
    " lines AS (DELETE FROM changes USING gone WHERE changes.core = gone.core AND changes.n = gone.n)"
    " UPDATE head SET last = greatest(last, (SELECT max(seq) FROM gone)) WHERE what = 'trimmed'"
    " AND EXISTS (SELECT FROM gone)"
)
_TRIM_OLD = _TRIM.format(
    batches="SELECT old.seq FROM batches AS old WHERE old.seq <= %(old)s"
    f" AND old.seq < coalesce((SELECT min(told) FROM subscribers), old.seq + 1) ORDER BY old.seq LIMIT {_MAX_TRIMMED}"
)
# What lies between lines that wait.
_THIN = _TRIM.format(
    batches="SELECT old.seq FROM batches AS old WHERE old.seq >= (SELECT min(told) FROM subscribers)"
    " AND old.seq <= %(old)s AND NOT EXISTS (SELECT FROM changes AS line JOIN subscribers AS cursor"
    f"   ON {IS_FOR_CURSOR} AND (old.seq, line.k) > (told, cursor.k)"
    f"   WHERE line.core = old.core AND line.n = old.n) ORDER BY old.seq LIMIT {_MAX_THINNED}"
)


def trim(conninfo: str, seconds: float, max_events: int, kept_after: int, thins: bool) -> float:
    """`kept_after`: the last batch that no watcher needs. `thins`: also between lines that wait. Gives the seconds that
    it took."""
    began = time.monotonic()
    with session(conninfo, seconds, by_index=False) as connection:
        old, last = row_of(connection, _OLD)
        connection.execute(_SKIP, {"most": max_events, "old": old})
        for plan in _OTHER_PLANS:
            connection.execute(f"SET {plan} = off")
        connection.execute(_ADVANCE, {"last": last})
        unwanted = {"old": min(old, kept_after)}
        connection.execute(_TRIM_OLD, unwanted)
        if thins:
            connection.execute(_THIN, unwanted)
    return time.monotonic() - began


def kept_after(conninfo: str, seconds: float, max_changes: int) -> int:
    """The last batch that is older than the newest `max_changes` lines of the log; 0: there are not so many."""
    with session(conninfo, seconds) as connection:
        row = connection.execute(_KEPT, (max_changes - 1,)).fetchone()
    return int(row[0]) if row else 0
