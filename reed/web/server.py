"""`reed web`: the listening socket, the one-time link, and uvicorn until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

import uvicorn

from reed.errors import ReedError
from reed.runtime_paths import Address
from reed.web.app import application
from reed.web.connections import Connections
from reed.web.security import Access
from reed.web.sessions import Sessions

_BACKLOG = 128
_LAST_SECONDS = 2  # for answers that are being sent when the server stops


class Listening(NamedTuple):
    socket: socket.socket
    origin: str  # what a browser on this machine opens
    hosts: frozenset[str]  # values of Host that name it
    path: str = ""  # of a Unix socket


def listen(address: str, names: list[str]) -> Listening:
    """`address` is HOST:PORT of this machine or unix:PATH; `names` are further values of Host. Raises ReedError."""
    given = {name.lower() for name in names}
    if address.startswith("unix:"):
        path = os.path.abspath(address.removeprefix("unix:"))
        return Listening(_unix_socket(path), "http://localhost", frozenset({"localhost", *given}), path)
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdecimal() or int(port) > 65535 or not host:
        hint = "--listen 127.0.0.1:PORT, or unix:PATH"
        raise ReedError(f"invalid address to listen on: {address!r}", hint=hint)
    if host not in {"127.0.0.1", "localhost", "::1"}:
        hint = "listen on 127.0.0.1 or unix:PATH, and let a web server with TLS be its proxy"
        raise ReedError(f"{host} can be reached by other machines, which could read along", hint=hint)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, int(port)))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        hint = "--listen 127.0.0.1:0 takes any free port"
        raise ReedError(f"cannot listen on {address}: {error.strerror}", hint=hint) from None
    number = sock.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    hosts = {f"{name}:{number}" for name in ("127.0.0.1", "localhost", "[::1]")}
    if number == 80:
        hosts |= {"127.0.0.1", "localhost", "[::1]"}
    return Listening(sock, f"http://{shown}:{number}", frozenset(hosts | given))


def serve(listening: Listening, core_socket: str, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is given each one-time link: at first, and on SIGUSR1."""
    sessions = Sessions(time.monotonic)
    connections = Connections(core_socket)
    port = listening.origin.rpartition(":")[2]
    access = Access(listening.hosts, f"reed-{port}" if port.isdecimal() else "reed")  # cookies are of all ports
    app = application(connections, sessions, access)
    config = uvicorn.Config(
        app,
        access_log=False,
        lifespan="off",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_SECONDS,
        ws="none",
    )

    def new_link() -> None:
        announce(f"{listening.origin}/sign-in/{sessions.new_link()}")

    try:
        asyncio.run(_serve(uvicorn.Server(config), listening.socket, new_link))
    finally:
        connections.close()
        listening.socket.close()
        if listening.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(listening.path)


async def _serve(server: uvicorn.Server, sock: socket.socket, new_link: Callable[[], None]) -> None:
    """The handlers of Unix signals are set before the link is printed: who reads it may send one."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, new_link)
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, server.handle_exit, each, None)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # it has them already
    new_link()
    await server.serve([sock])


def _unix_socket(path: str) -> socket.socket:
    """Only the user of this process, and root, can connect to it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode) and not _is_served(path):
            os.unlink(path)  # left by a process that was killed
    except FileNotFoundError:
        pass
    mask = os.umask(0o177)
    try:
        with Address(path) as address:
            sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ReedError(f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.umask(mask)
    return sock


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            with Address(path) as address:
                probe.connect(address)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
