"""The socket that `reed web` listens on: a port of this machine, or a Unix socket."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterable
from typing import NamedTuple

from reed.errors import ReedError
from reed.runtime_paths import Address

_BACKLOG = 128
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Listening(NamedTuple):
    socket: socket.socket
    origin: str  # what a browser on this machine opens
    hosts: frozenset[str]  # values of Host that name it
    path: str = ""  # of a Unix socket

    @property
    def port(self) -> int:
        return 0 if self.path else int(self.socket.getsockname()[1])


def listen(address: str, names: Iterable[str], *, group: str = "", behind_proxy: bool = False) -> Listening:
    """`address` is HOST:PORT or unix:PATH; `names` are further values of Host; `group` may open the Unix socket too.

    Raises ReedError, also for an address that other machines reach, unless it is behind a proxy.
    """
    given = frozenset(name.lower() for name in names)
    if address.startswith("unix:"):
        path = os.path.abspath(address.removeprefix("unix:"))
        return Listening(_unix_socket(path, group), "http://localhost", given | {"localhost"}, path)
    if group:
        raise ReedError("--socket-group needs --listen unix:PATH")
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdecimal() or int(port) > 65535 or not host:
        hint = "--listen 127.0.0.1:PORT, or unix:PATH"
        raise ReedError(f"invalid address to listen on: {address!r}", hint=hint)
    if host not in _LOCAL and not behind_proxy:
        hint = "listen on 127.0.0.1 or unix:PATH, and let a web server with TLS be its proxy"
        raise ReedError(f"other machines reach {host}, and anybody between could read along", hint=hint)
    sock = _tcp_socket(address, host, int(port))
    number = sock.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    hosts = {f"{name}:{number}" for name in ("127.0.0.1", "localhost", "[::1]")}
    if number == 80:
        hosts |= {"127.0.0.1", "localhost", "[::1]"}
    return Listening(sock, f"http://{shown}:{number}", given | hosts)


def _tcp_socket(address: str, host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio sets TCP_NODELAY only then: without it each page takes 40 ms longer.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        hint = "--listen 127.0.0.1:0 takes any free port"
        raise ReedError(f"cannot listen on {address}: {error.strerror or error}", hint=hint) from None
    return sock


def _unix_socket(path: str, group: str) -> socket.socket:
    """Only the user of this process, root and `group` can connect to it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        _remove_unused(path)
        with Address(path) as address:
            sock.bind(address)
        if group:
            shutil.chown(path, group=group)
            os.chmod(path, 0o660)
        sock.listen(_BACKLOG)
    except (OSError, LookupError) as error:
        sock.close()
        problem = error.strerror if isinstance(error, OSError) else error
        raise ReedError(f"cannot listen on {path}: {problem or error}") from None
    finally:
        os.umask(mask)
    return sock


def _remove_unused(path: str) -> None:
    """A socket that was left by a process that was killed."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            with Address(path) as address:
                probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(path)
