"""core.sock: where people's programs connect.

accept ── the kernel says who it is ─┬─ it connects too often (connect_rate)      429, and closed
                                     ├─ it has ended by now                       closed
                                     ├─ too many connections, of it or of all     429, and closed
                                     └─ else                                      a Connection, as its Caller (identity)
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from reed.core.calls import Caller
from reed.core.connection import Connection
from reed.core.listener import Listener, Peer, is_peer_alive, refuse
from reed.core.quotas import Quotas
from reed.errors import CallError, PluginBusy
from reed.loop.loop import Loop
from reed.peer_log import PeerLog


class ClientListener:
    """The connections of core.sock. Only so many at a time; one too many is told so."""

    def __init__(
        self,
        path: Path,
        group_id: int | None,
        most: int,
        loop: Loop,
        log: PeerLog,
        quotas: Quotas,
        caller_of: Callable[[Peer], Caller],
        connect: Callable[[socket.socket, Caller, Callable[[Connection, str], None]], Connection],
        inherited: int | None = None,
    ) -> None:
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._most = most
        self._log = log
        self._rates = quotas.rates
        self._caller_of = caller_of
        self._connect = connect
        self._listener = Listener(loop, path, self._accept, log, quotas.rates, group_id, inherited)

    def stop_listening(self) -> None:
        self._listener.close()

    def hand_over(self, error: CallError) -> int:
        """Accept and begin nothing any more; the descriptor that listens on. Calls that were begun end as ever."""
        for connection in list(self.connections):
            connection.end(error)
        return self._listener.hand_over()

    def close(self) -> None:
        self._listener.close()
        for connection in list(self.connections):
            connection.close("the core stops")

    def _accept(self, sock: socket.socket, peer: Peer) -> None:
        caller = self._caller_of(peer)
        if refusal := self._rates.connects(caller, peer.pid, peer.uid):
            refuse(sock, refusal)
            return
        is_there = is_peer_alive(sock, peer)
        self.accepted += 1
        if not is_there:
            self._log.warning(
                "refused a connection of pid %d (uid %d), which had ended", peer.pid, peer.uid, peer=caller.name
            )
            sock.close()
            return
        connection = self._connect(sock, caller, self._closed)
        self.connections.add(connection)
        if len(self.connections) > self._most:
            self._log.warning("refused a connection of uid %d: %d are open", peer.uid, self._most, peer=caller.name)
            connection.close_with(
                PluginBusy(f"{self._most} connections are open", hint="limits.connections in reed.yaml")
            )
        elif error := connection.share.too_many_connections():
            self._log.warning("refused a connection of uid %d: %s", peer.uid, error, peer=caller.name)
            connection.close_with(error)

    def _closed(self, connection: Connection, _reason: str) -> None:
        self.connections.discard(connection)
