"""`reed web`: the one-time link, and uvicorn until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

import uvicorn

from reed.web.app import application
from reed.web.connections import Connections
from reed.web.listening import Listening
from reed.web.proxy import Proxy
from reed.web.security import Access
from reed.web.sessions import Sessions

_LAST_SECONDS = 1  # for answers that are being sent when the server stops


def serve(
    listening: Listening,
    core_socket: str,
    announce: Callable[[str], None],
    proxy: Proxy | None = None,
    metrics_token: str = "",
) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is given each one-time link, at first and on SIGUSR1; with a proxy,
    which signs people in, the address.
    """
    sessions = Sessions(time.monotonic)
    connections = Connections(core_socket)
    cookie = f"reed-{listening.port}" if listening.port else "reed"  # a browser sends a cookie to all ports
    app = application(connections, sessions, Access(listening.hosts, cookie, proxy, metrics_token))
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
        announce(f"{listening.origin}/" if proxy else f"{listening.origin}/sign-in/{sessions.new_link()}")

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
