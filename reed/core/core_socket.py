"""core.sock: where people's programs connect, and who they are.

accept ── SO_PEERCRED ─┬─ a plugin's process, or a child of one    that plugin's permissions, never its user's
                       ├─ what a plugin left behind                nothing
                       ├─ who is dead by now                       closed
                       └─ anyone else                              the groups that reed.yaml gives the user
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from reed.core.calls import Caller
from reed.core.connection import Connection
from reed.core.server import Listener, Peer, is_out_of_resources, peer_lives
from reed.errors import CallError, PluginBusy
from reed.loop.loop import Loop


class CoreSocket:
    """The connections of core.sock. Only so many at a time; one too many is told so."""

    def __init__(
        self,
        path: Path,
        group_id: int | None,
        most: int,
        loop: Loop,
        log: logging.Logger,
        caller_of: Callable[[Peer], Caller],
        connect: Callable[[socket.socket, Caller, Callable[[Connection, str], None]], Connection],
        inherited: int | None = None,
    ) -> None:
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._most = most
        self._log = log
        self._caller_of = caller_of
        self._connect = connect
        self._listener = Listener(loop, path, self._accept, log, group_id, inherited)

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
        is_there = peer_lives(sock, peer)
        self.accepted += 1
        if not is_there:
            self._log.warning("refused a connection of pid %d (uid %d), which had ended", peer.pid, peer.uid)
            sock.close()
            return
        connection = self._connect(sock, caller, self._closed)
        self.connections.add(connection)
        if len(self.connections) > self._most:
            self._log.warning("refused a connection of uid %d: %d are open", peer.uid, self._most)
            connection.close_with(
                PluginBusy(f"{self._most} connections are open", hint="limits.connections in reed.yaml")
            )
        elif error := connection.share.too_many_connections():
            self._log.warning("refused a connection of uid %d: %s", peer.uid, error)
            connection.close_with(error)

    def _closed(self, connection: Connection, _reason: str) -> None:
        self.connections.discard(connection)


STRAY = ""  # a process below the core that belongs to no plugin any more


def plugin_above(pid: int, plugin_of: Callable[[int], str | None], core_pid: int) -> str | None:
    """The plugin that `pid` belongs to: it is its process, or a descendant of it. None: it is a person's.

    The core is a subreaper: what a plugin forked twice and left behind becomes the core's own child. Such a process is
    STRAY; taken for a person's it would pass for the user who runs the core.
    """
    if pid == core_pid:
        return None
    while pid > 1:
        name = plugin_of(pid)
        if name is not None:
            return name
        try:
            pid = _parent(pid)
        except OSError as error:
            if is_out_of_resources(error):
                raise
            return STRAY  # it, or one above it, ended meanwhile
        if pid == core_pid:
            return STRAY
    return None


def _parent(pid: int) -> int:
    """The parent's pid. Raises OSError when the process is gone."""
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # open() would ask four things more of the kernel
    try:
        return int(os.read(fd, 4096).rpartition(b")")[2].split()[1])
    finally:
        os.close(fd)
