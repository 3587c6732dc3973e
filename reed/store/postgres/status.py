"""Figures of the store for `reed store status`, which reads while cores run."""

from __future__ import annotations

from typing import Any

import psycopg

from reed.errors import StoreFailed
from reed.store.copying import Counts
from reed.store.postgres.log_statements import CORE_SEEN
from reed.store.postgres.session import connect, place_of
from reed.store.postgres.tables import VERSION, versions
from reed.store.setting import StoreSetting

# Waiting for a subscriber: the lines of the log behind its last one, of its kinds, that it has not made itself.
WAITING = (
    " FROM subscribers s JOIN batches b ON b.seq >= s.told"
    " JOIN changes c ON c.core = b.core AND c.n = b.n AND c.kind = ANY (s.kinds) AND c.made_by <> s.name"
    " WHERE (b.seq, c.k) > (s.told, s.k)"
)
_SUBSCRIBERS = (
    f"WITH waiting AS (SELECT s.name, count(*) AS total{WAITING} GROUP BY s.name)"
    " SELECT subscribers.name, coalesce(total, 0), lost,"
    " CASE WHEN lease > clock_timestamp() THEN coalesce(cores.name, leader::text) END"
    " FROM subscribers LEFT JOIN waiting USING (name) LEFT JOIN cores ON cores.core = leader"
    " ORDER BY subscribers.name"
)
_CORES = (
    "SELECT name, version, started, extract(epoch FROM clock_timestamp() - seen)::float8,"
    f" seen > clock_timestamp() - interval '{CORE_SEEN}' FROM cores ORDER BY name, started"
)


def status(setting: StoreSetting) -> dict[str, Any]:
    """Raises StoreFailed."""
    with connect(setting, "reed store") as connection:
        place = place_of(connection)
        try:
            found = versions(connection)
            if found is None:
                raise StoreFailed(f"{place}: there are no tables of reed", hint="run `reed store migrate`")
            return _figures(connection) | {"schema": found.version, "schema_known": VERSION}
        except psycopg.Error as error:
            raise StoreFailed(
                f"{place}: {str(error).partition(chr(10))[0]}", hint="see the log of PostgreSQL"
            ) from error


def _figures(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    info, execute = connection.info, connection.execute
    return {
        "kind": "postgres",
        "host": info.host or info.hostaddr,
        "database": info.dbname,
        "server": info.parameter_status("server_version"),
        **counts(connection)._asdict(),
        "unindexed": _number(connection, "SELECT count(*) FROM unindexed"),
        "log": _number(connection, "SELECT count(*) FROM changes"),
        "subscribers": [
            {"name": name, "waiting": waiting, "leader": leader, "lost": lost}
            for name, waiting, lost, leader in execute(_SUBSCRIBERS)
        ],
        "cores": [
            {"name": name, "version": version, "started": started.timestamp(), "seen_s": seen, "running": is_running}
            for name, version, started, seen, is_running in execute(_CORES)
        ],
    }


def counts(connection: psycopg.Connection[Any]) -> Counts:
    return Counts(*(_number(connection, f"SELECT count(*) FROM {table}") for table in Counts._fields))


def _number(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
