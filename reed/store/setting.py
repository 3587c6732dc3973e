"""The setting `store`: which store a core uses (configuration.md#store).

    sqlite                      content.db in the data folder; the default
    postgres:service=reed       PostgreSQL; behind the colon what libpq takes: `keyword=value …`, or a URI
    postgresql://db1,db2/reed   the same as a URI only

A setting holds no password: libpq reads it from a file. The printed form names hosts and database only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from reed.errors import ReedError, nearest

KINDS = ("sqlite", "postgres")

_SECRETS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"})
_SHOWN = ("service", "host", "hostaddr", "dbname")
_NO_PASSWORD = (
    "put it into the file that PGPASSFILE names (~/.pgpass; a line is HOST:PORT:DATABASE:USER:PASSWORD), "
    "or into a service of the file that PGSERVICEFILE names (postgres:service=NAME)"
)
_SYNTAX = "expected `keyword=value …`, as postgres:service=reed, or postgresql://USER@HOST/DATABASE"
_URI = re.compile(r"(?:postgresql|postgres)://(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?:(?P<user>[^@/]*)@)?+(?P<hosts>[^/?@]*)(?:/(?P<dbname>[^?/]*))?(?:\?(?P<query>.*))?")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]*)?")
_BLANKS = " \t\n\r\v\f"
_KEYWORD = re.compile(r"([^\s=]+)\s*=\s*", re.ASCII)
_VALUE = re.compile(r"'((?:[^'\\]|\\.)*)'(?=\s|$)|((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)(?=\s|$)", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class StoreSetting:
    kind: str = "sqlite"  # of KINDS
    conninfo: str = ""  # of PostgreSQL: a libpq connection string without a password; "" means libpq's environment

    def __str__(self) -> str:
        """For logs: `sqlite`, `postgres:host=db1,db2 dbname=reed`."""
        if self.kind == "sqlite":
            return self.kind
        found = dict(_parameters(self.conninfo))
        return "postgres:" + " ".join(f"{name}={found[name]}" for name in _SHOWN if found.get(name))


SQLITE = StoreSetting()


def parse(text: str) -> StoreSetting:
    """Raises ReedError, whose message never has a part of the text that may be a password."""
    text = text.strip(_BLANKS)
    kind, colon, rest = text.partition(":")
    if kind == "sqlite":
        if colon:
            raise ReedError("sqlite has no parameters", hint="content.db is in the data folder (data_dir)")
        return SQLITE
    if _URI.fullmatch(text):
        rest = text
    elif kind != "postgres" or not colon:
        found = f"{kind!r}" if re.fullmatch("[a-z0-9]{1,20}", kind) else "something else"
        raise ReedError(f"expected sqlite or postgres:CONNINFO, found {found}", hint=nearest(kind, KINDS))
    _check(rest)
    return StoreSetting("postgres", rest.strip(_BLANKS))


def _check(conninfo: str) -> None:
    if "\0" in conninfo:
        raise ReedError("NUL in the connection string", hint=_SYNTAX)
    for name, value in _parameters(conninfo):
        if name.lower() in _SECRETS:
            raise ReedError(f"{name} is not allowed in the connection string", hint=_NO_PASSWORD)
        if name == "dbname" and ("=" in value or "://" in value):
            raise ReedError("dbname is a connection string", hint="expected the name of a database")
        if name in {"host", "hostaddr"} and "@" in value[1:]:
            raise ReedError(f"{name} contains @", hint="expected the names of hosts; user=NAME names the user")


def _parameters(conninfo: str) -> Iterator[tuple[str, str]]:
    """The parameters of a connection string, as libpq reads it."""
    uri = _URI.fullmatch(conninfo.strip(_BLANKS))
    return _parameters_of_uri(uri[1]) if uri else _keywords(conninfo)


def _keywords(conninfo: str) -> Iterator[tuple[str, str]]:
    rest = conninfo
    while rest := rest.lstrip(_BLANKS):
        keyword = _KEYWORD.match(rest)
        value = _VALUE.match(rest, keyword.end()) if keyword else None
        if keyword is None or value is None:
            position = len(conninfo) - len(rest) + 1
            raise ReedError(f"the connection string is malformed at its character {position}", hint=_SYNTAX)
        yield keyword[1], re.sub(r"\\(.)", r"\1", value[1] if value[2] is None else value[2], flags=re.DOTALL)
        rest = rest[value.end() :]


def _parameters_of_uri(rest: str) -> Iterator[tuple[str, str]]:
    found = _AUTHORITY.fullmatch(rest)
    hosts = [_HOST.fullmatch(host) for host in found["hosts"].split(",")] if found else []
    if found is None or not all(hosts):
        raise ReedError("the URI is malformed", hint="expected postgresql://USER@HOST:PORT,HOST/DATABASE?NAME=VALUE")
    user, colon, _ = (found["user"] or "").partition(":")
    if colon:
        yield "password", ""
    if user:
        yield "user", _decoded(user)
    yield "host", ",".join(_decoded(host["host"].strip("[]")) for host in hosts if host)
    yield "dbname", _decoded(found["dbname"] or "")
    for parameter in filter(None, (found["query"] or "").split("&")):
        name, _, value = parameter.partition("=")
        yield _decoded(name), _decoded(value)


def _decoded(text: str) -> str:
    """A part of a URI. libpq ignores blanks around it from version 17 on."""
    return unquote(text).strip(_BLANKS)
