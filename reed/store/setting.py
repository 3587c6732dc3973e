"""The setting `store`: which store a core uses (configuration.md#store).

    sqlite                      content.db in the data folder
    postgres:service=reed       PostgreSQL; after the colon what libpq takes: `keyword=value …`, or a URI
    postgresql://db1,db2/reed   the same, as a URI

libpq reads passwords from a file. The printed form names hosts and database only.
"""

from __future__ import annotations

import re
from string import whitespace  # as libpq has it
from typing import NamedTuple

from reed.errors import ReedError, nearest

KINDS = ("sqlite", "postgres")

_SHOWN = ("service", "host", "hostaddr", "dbname")


class StoreSetting(NamedTuple):
    kind: str = "sqlite"  # of KINDS
    conninfo: str = ""  # of PostgreSQL: a libpq connection string without a password; "" means libpq's environment

    def __str__(self) -> str:
        """For logs: `sqlite`, `postgres:host=db1,db2 dbname=reed`."""
        if self.kind == "sqlite":
            return self.kind
        from reed.store.conninfo import parameters

        found = dict(parameters(self.conninfo))
        return "postgres:" + " ".join(f"{name}={found[name]}" for name in _SHOWN if found.get(name))


SQLITE = StoreSetting()


def parse(text: str) -> StoreSetting:
    """Raises ReedError, whose message never has a part of the text that may be a password."""
    text = text.strip(whitespace)
    kind, colon, rest = text.partition(":")
    if kind == "sqlite":
        if colon:
            raise ReedError("sqlite has no parameters", hint="content.db is in the data folder (data_dir)")
        return SQLITE
    if kind in {"postgres", "postgresql"} and rest.startswith("//"):
        rest = text
    elif kind != "postgres" or not colon:
        found = f"{kind!r}" if re.fullmatch("[a-z0-9]{1,20}", kind) else "something else"
        raise ReedError(f"expected sqlite or postgres:CONNINFO, found {found}", hint=nearest(kind, KINDS))
    from reed.store import conninfo

    conninfo.check(rest)
    return StoreSetting("postgres", rest.strip(whitespace))
