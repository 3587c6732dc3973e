"""libpq's connection strings: their parameters, and none that holds a password. Imported only if one is configured.

keyword=value keyword='a value'        postgresql://USER@HOST:PORT,HOST/DATABASE?NAME=VALUE
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import whitespace  # as libpq has it
from urllib.parse import unquote

from reed.errors import ReedError

_SECRETS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"})
_NO_PASSWORD = (
    "put it into the file that PGPASSFILE names (~/.pgpass; a line is HOST:PORT:DATABASE:USER:PASSWORD), "
    "or into a service of the file that PGSERVICEFILE names (postgres:service=NAME)"
)
_SYNTAX = "expected `keyword=value …`, as postgres:service=reed, or postgresql://USER@HOST/DATABASE"
_URI = re.compile(r"(?:postgresql|postgres)://(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?:(?P<user>[^@/]*)@)?+(?P<hosts>[^/?@]*)(?:/(?P<dbname>[^?/]*))?(?:\?(?P<query>.*))?")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]*)?")
_KEYWORD = re.compile(r"([^\s=]+)\s*=\s*", re.ASCII)
_VALUE = re.compile(r"'((?:[^'\\]|\\.)*)'(?=\s|$)|((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)(?=\s|$)", re.DOTALL | re.ASCII)


def check(conninfo: str) -> None:
    """Raises ReedError, whose message never has a part of the text that may be a password."""
    if "\0" in conninfo:
        raise ReedError("NUL in the connection string", hint=_SYNTAX)
    for name, value in parameters(conninfo):
        if name.lower() in _SECRETS:
            raise ReedError(f"{name} is not allowed in the connection string", hint=_NO_PASSWORD)
        if name == "dbname" and ("=" in value or "://" in value):
            raise ReedError("dbname is a connection string", hint="expected the name of a database")
        if name in {"host", "hostaddr"} and "@" in value[1:]:
            raise ReedError(f"{name} contains @", hint="expected the names of hosts; user=NAME names the user")


def parameters(conninfo: str) -> Iterator[tuple[str, str]]:
    """The parameters of a connection string, as libpq reads it."""
    uri = _URI.fullmatch(conninfo.strip(whitespace))
    return _parameters_of_uri(uri[1]) if uri else _keywords(conninfo)


def _keywords(conninfo: str) -> Iterator[tuple[str, str]]:
    rest = conninfo
    while rest := rest.lstrip(whitespace):
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
    return unquote(text).strip(whitespace)
