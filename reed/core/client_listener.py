"""core.sock: where clients connect.

accept ── identify the caller ─┬─ connects too often, or too many connections     429, closed
                               ├─ process has ended                               closed
                               └─ else                                            a Connection
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from reed.core.calls import Caller
from reed.core.connection import Connection
from reed.core.listener import Listener, Peer
from reed.core.plugin_endpoint import CoreContext
from reed.errors import CallError, PluginBusy
from reed.wire.frames import Frame


class ClientListener:
    def __init__(
        self,
        context: CoreContext,
        path: Path,
        group_id: int | None,
        caller_of: Callable[[Peer], Caller],
        on_signal: Callable[[Connection, Frame], None],
        inherited: int | None = None,
    ) -> None:
        """`inherited`: a descriptor that listens already."""
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._context = context
        self._max_connections = context.config.limits.connections
        self._log = context.log
        self._caller_of = caller_of
        self._on_signal = on_signal
        self._listener = Listener(
            context.loop, path, self._accept, self._log, context.quotas.rates, group_id, inherited
        )

    def stop_listening(self) -> None:
        self._listener.close()

    def hand_over(self, error: CallError) -> int:
        """Refuse requests with `error`; calls in flight still finish. Returns the listening descriptor."""
        for connection in list(self.connections):
            connection.stop_accepting(error)
        return self._listener.hand_over()

    def close(self) -> None:
        self._listener.close()
        for connection in list(self.connections):
            connection.close("the core stops")

    def _accept(self, sock: socket.socket, peer: Peer) -> None:
        caller = self._caller_of(peer)
        if not self._listener.admits(sock, peer, caller):
            return
        self.accepted += 1
        connection = Connection(
            self._context,
            sock,
            caller,
            self._context.dispatcher,
            on_signal=self._on_signal,
            on_closed=self._closed,
        )
        self.connections.add(connection)
        error = connection.usage.too_many_connections()
        if len(self.connections) > self._max_connections:
            limit = self._max_connections
            self._context.quotas.refused["limits.connections"] += 1
            error = PluginBusy(f"{limit} connections are open", hint="limits.connections in reed.yaml")
        if error:
            self._log.warning("refused a connection of uid %d: %s", peer.uid, error, peer=caller.name)
            connection.reject(error)

    def _closed(self, connection: Connection, _reason: str) -> None:
        self.connections.discard(connection)
