"""Where the database is. libpq looks up names with a call that blocks, so the loop's connections only get addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from reed.errors import StoreFailed


class Server:
    """Where the database is: what libpq needs to connect to each host without looking up a name."""

    def __init__(self, conninfo: str) -> None:
        """Connects once, blocking, to find out what a service file says. Raises StoreFailed."""
        self.conninfo = conninfo
        try:
            first = pq.PGconn.connect(make_conninfo(conninfo, connect_timeout=10).encode())
        except psycopg.Error as error:
            raise StoreFailed(f"PostgreSQL: {error}", hint="see `store` in reed.yaml") from error
        try:
            if first.status != pq.ConnStatus.OK:
                raise StoreFailed(f"PostgreSQL: {message_of(first)}", hint="is the server up? see `store` in reed.yaml")
            found = {option.keyword.decode(): (option.val or b"").decode() for option in first.info}
            self.database = first.db.decode()
        finally:
            first.finish()
        self.hosts = list(zip(found["host"].split(","), _padded(found["port"], found["host"]), strict=True))
        self.addresses: dict[str, str] = {}
        self.resolve(resolve([host for host, _ in self.hosts]))
        self._given = {key: value for key, value in conninfo_to_dict(conninfo).items() if key not in _REPLACED}

    def resolve(self, addresses: Mapping[str, str]) -> None:
        """Take new addresses of hosts; those that were not found keep their last one."""
        self.addresses.update(addresses)

    def target(self, number: int) -> bytes:
        """The conninfo for one host."""
        host, port = self.hosts[number % len(self.hosts)]
        options = {**self._given, "host": host, "port": port, "application_name": "reed", **_KEEPALIVE}
        if host in self.addresses:
            options["hostaddr"] = self.addresses[host]
        return make_conninfo("", **options).encode()

    def __str__(self) -> str:
        return f"{','.join(host for host, _ in self.hosts)} {self.database}"


_REPLACED = frozenset({"host", "hostaddr", "port", "application_name", "connect_timeout"})
_KEEPALIVE = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "10000"}


def resolve(hosts: Iterable[str]) -> dict[str, str]:
    """The address of each host that has a name, blocking: at the start, and in a worker."""
    addresses = {}
    for host in hosts:
        if host and not host.startswith(("/", "@")):
            with suppress(OSError):
                addresses[host] = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    return addresses


def _padded(ports: str, hosts: str) -> list[str]:
    found = ports.split(",")
    return found * len(hosts.split(",")) if len(found) == 1 else found


def message_of(connection: pq.abc.PGconn) -> str:
    return connection.error_message.decode("utf-8", "replace").strip()
