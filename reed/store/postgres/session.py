"""A blocking connection, for commands and for the start of a core, before its loop runs."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from reed.errors import StoreFailed
from reed.store.postgres.tables import Connection
from reed.store.setting import StoreSetting

_CONNECT_TIMEOUT = 10  # seconds for each host, unless the setting has connect_timeout


def connect(setting: StoreSetting, application_name: str = "reed") -> Connection:
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


def place_of(connection: Connection) -> str:
    """Host and database, for messages: `postgres:host=db1 dbname=reed`."""
    info = connection.info
    return f"postgres:host={info.host or info.hostaddr} dbname={info.dbname}"


def _reason(error: Exception) -> str:
    """In one line; with several hosts the reason of each."""
    lines = [line.strip() for line in str(error).splitlines()]
    hosts = [line.removeprefix("- ") for line in lines if line.startswith("- host: ")]
    return "; ".join(filter(None, hosts or lines))
