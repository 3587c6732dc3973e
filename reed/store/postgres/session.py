"""Blocking connections: of commands and of a core's start (`connect`), and of a worker, for its jobs (`session`).

A worker keeps its connection between jobs. A query that takes longer than its job may is ended by the server too
(statement_timeout), since killing a worker does not end what it has asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from reed.errors import CallError, JobTimeout, StoreFailed, StoreUnavailable
from reed.store.postgres.connection import call_error
from reed.store.setting import StoreSetting

Session = psycopg.Connection[tuple[Any, ...]]

# Off, where every statement finds its rows by an index. The planner guesses until a table that was just filled has
# statistics, and its guesses read all rows. Only the owner of a table may ANALYZE it.
OTHER_PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")
_CONNECT_TIMEOUT = 10  # seconds for each host, unless the setting has connect_timeout
_JOB_CONNECT_TIMEOUT = 5
_CANCELED = "57014"
_SET = "SELECT " + ", ".join(f"set_config('{name}', %s, false)" for name in ("statement_timeout", *OTHER_PLANS))
_open: dict[str, Session] = {}


def connect(setting: StoreSetting, application_name: str = "reed") -> Session:
    """In autocommit mode. Raises StoreFailed."""
    try:
        given = conninfo_to_dict(setting.conninfo)
        defaults = {"connect_timeout": _CONNECT_TIMEOUT, "application_name": application_name}
        options = {name: value for name, value in defaults.items() if name not in given}
        return psycopg.connect(setting.conninfo, autocommit=True, **options, client_encoding="UTF8")  # type: ignore[arg-type]
    except (psycopg.Error, UnicodeError) as error:
        raise StoreFailed(
            f"{setting}: {_reason(error)}", hint="check the setting store, PGSERVICEFILE and PGPASSFILE"
        ) from None


def place_of(connection: Session) -> str:
    """Host and database, for messages: `postgres:host=db1 dbname=reed`."""
    info = connection.info
    return f"postgres:host={info.host or info.hostaddr} dbname={info.dbname}"


def _reason(error: Exception) -> str:
    """In one line; with several hosts the reason of each."""
    lines = [line.strip() for line in str(error).splitlines()]
    hosts = [line.removeprefix("- ") for line in lines if line.startswith("- host: ")]
    return "; ".join(filter(None, hosts or lines))


# In a worker.


@contextmanager
def session(
    conninfo: str, seconds: float, setting: str = "timing.job_timeout", *, by_index: bool = True
) -> Iterator[Session]:
    """The connection, in no transaction: each statement is one, unless `transaction()` begins it. `seconds`: that a
    statement may take, the deadline `setting` of reed.yaml. `by_index`: without OTHER_PLANS."""
    try:
        connection = _connection(conninfo)
        plans = "off" if by_index else "on"
        connection.execute(_SET, (str(int(seconds * 1000)), *[plans] * len(OTHER_PLANS)))
        yield connection
    except psycopg.Error as error:
        _discard(conninfo)
        raise _error_of(error, seconds, setting) from error
    except BaseException:
        _discard(conninfo)  # a transaction may be open
        raise


def row_of(connection: Session, sql: str, params: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """The first row of a query that always has one."""
    found = connection.execute(sql, params).fetchone()
    assert found is not None
    return found


def close_sessions() -> None:
    """Those of this process: for programs in which jobs run in the loop's own."""
    for conninfo in list(_open):
        _discard(conninfo)


def _connection(conninfo: str) -> Session:
    found = _open.get(conninfo)
    if found is None or found.closed or found.broken:
        found = _open[conninfo] = psycopg.connect(
            conninfo, autocommit=True, connect_timeout=_JOB_CONNECT_TIMEOUT, application_name="reed"
        )
        found.execute("SET lock_timeout = '2s'")
        found.execute("SET jit = off")  # it takes longer than the queries that it would make faster
    return found


def _discard(conninfo: str) -> None:
    found = _open.pop(conninfo, None)
    if found is not None:
        found.close()


def _error_of(error: psycopg.Error, seconds: float, setting: str) -> CallError:
    if error.sqlstate == _CANCELED:
        return JobTimeout(
            f"the database took more than {seconds:g} s and was stopped",
            hint=f"make it smaller, or raise {setting} in reed.yaml",
        )
    message = str(error).strip().replace("\n", " ")
    full = call_error(error.sqlstate or "", message)
    is_away = error.sqlstate is None or error.sqlstate[:2] in {"08", "57", "25", "53"} or error.sqlstate == "55P03"
    if is_away and isinstance(full, StoreFailed):
        return StoreUnavailable(f"PostgreSQL: {message}", hint="retry")
    return full
