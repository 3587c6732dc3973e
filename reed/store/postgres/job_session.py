"""A blocking connection to PostgreSQL, for workers: one for each process, kept between jobs.

A query that takes longer than its job may is ended by the server too (statement_timeout), since killing a worker does
not end what it has asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from reed.errors import CallError, JobTimeout, StoreFailed, StoreFull, StoreUnavailable

Session = psycopg.Connection[tuple[Any, ...]]

_CONNECT_SECONDS = 5
_CANCELED = "57014"
_open: dict[str, Session] = {}


@contextmanager
def session(conninfo: str, seconds: float, setting: str = "timing.job_timeout") -> Iterator[Session]:
    """The connection, in no transaction: each statement is one, unless `transaction()` begins it. `seconds`: that a
    statement may take, the deadline `setting` of reed.yaml."""
    try:
        connection = _connection(conninfo)
        connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
        yield connection
    except psycopg.Error as error:
        _discard(conninfo)
        raise error_of(error, seconds, setting) from error
    except BaseException:
        _discard(conninfo)  # a transaction may be open
        raise


def _connection(conninfo: str) -> Session:
    found = _open.get(conninfo)
    if found is None or found.closed or found.broken:
        found = _open[conninfo] = psycopg.connect(
            conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name="reed"
        )
        found.execute("SET lock_timeout = '2s'")
        found.execute("SET jit = off")  # it takes longer than the queries that it would make faster
    return found


def _discard(conninfo: str) -> None:
    found = _open.pop(conninfo, None)
    if found is not None:
        found.close()


def error_of(error: psycopg.Error, seconds: float, setting: str) -> CallError:
    if error.sqlstate == _CANCELED:
        return JobTimeout(
            f"the database took more than {seconds:g} s and was stopped",
            hint=f"make it smaller, or raise {setting} in reed.yaml",
        )
    message = str(error).strip().replace("\n", " ")
    if error.sqlstate in {"53100", "53200"}:
        return StoreFull(f"PostgreSQL: {message}", hint="free space on the database's disk; nothing was written")
    if error.sqlstate is None or error.sqlstate[:2] in {"08", "57", "25", "53"} or error.sqlstate == "55P03":
        return StoreUnavailable(f"PostgreSQL: {message}", hint="retry")
    return StoreFailed(f"PostgreSQL: {message} ({error.sqlstate})", hint="see the core's log and the server's")


def close_sessions() -> None:
    """Those of this process: for programs in which jobs run in the loop's own."""
    for conninfo in list(_open):
        _discard(conninfo)
