"""A proxy in front of `reed web` that signs users in, and names them in a header.

    browser ── TLS ── proxy ── HTTP, X-User: anna ── reed web ── CONNECTION_ASSUME anna, editor ── core

Whoever can reach `reed web` without the proxy could name any user, so only the proxy's address is believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from reed.errors import ReedError
from reed.web.sessions import User

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX = "unix"  # whoever can open the Unix socket


class Refused(ReedError):
    """Guard rejects the request, and no page handles it."""

    def __init__(self, status: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Proxy:
    user_header: str
    group_header: str  # "": every user is of `group`
    group: str  # of users that the proxy names no group for
    trusted: tuple[Network | str, ...]  # its addresses, or UNIX

    @classmethod
    def of(cls, user_header: str, group_header: str, group: str, trusted: Sequence[str], *, is_unix: bool) -> Proxy:
        """Raises ReedError unless the options are complete and possible."""
        if not trusted:
            hint = "--trusted-proxy unix" if is_unix else "--trusted-proxy 127.0.0.1"
            raise ReedError("--user-header requires the address of the proxy that sends it", hint=hint)
        if not (group or group_header):
            hint = "--group NAME for all of them, or --group-header HEADER"
            raise ReedError("--user-header requires the group of the users", hint=hint)
        if (UNIX in trusted) != is_unix:
            hint = "--listen unix:PATH needs --trusted-proxy unix, HOST:PORT an IP address or network"
            raise ReedError("--trusted-proxy and --listen do not fit each other", hint=hint)
        return cls(user_header, group_header, group, tuple(_network(each) for each in trusted))

    def user_of(self, request: Request) -> User:
        """Raises Refused."""
        if not self._trusts(request.client.host if request.client else None):
            raise Refused(403, "this address is not that of the proxy", hint="reed web --trusted-proxy ADDRESS")
        name = _single(request, self.user_header)
        if not name:
            raise Refused(401, f"the proxy named no user in {self.user_header}", hint="sign in at the proxy")
        group = (_single(request, self.group_header) if self.group_header else "") or self.group
        if not group:
            raise Refused(403, f"the proxy named no group of {name} in {self.group_header}")
        return User(name, group)

    def _trusts(self, address: str | None) -> bool:
        """`address` is None for a Unix socket."""
        if address is None:
            return UNIX in self.trusted
        peer = ipaddress.ip_address(address)
        return any(peer in each for each in self.trusted if not isinstance(each, str))


def _network(text: str) -> Network | str:
    if text == UNIX:
        return text
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        hint = "an IP address, a network such as 10.0.0.0/24, or unix"
        raise ReedError(f"--trusted-proxy {text}: {error}", hint=hint) from None


def _single(request: Request, name: str) -> str:
    """The header's value as UTF-8; "" if there is none. Raises Refused."""
    found = request.headers.getlist(name)
    if len(found) > 1:
        hint = "the proxy must remove the one that its client sends"
        raise Refused(400, f"the header {name} was sent more than once", hint=hint)
    try:
        return found[0].encode("latin-1").decode().strip() if found else ""
    except UnicodeDecodeError:
        raise Refused(400, f"the header {name} is not UTF-8") from None
