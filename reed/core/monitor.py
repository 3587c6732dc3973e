"""monitor.sock: every frame as it passes, for who may see everything (`reed monitor`).

    Connection ── saw(direction, …) ── a record to each watcher      nobody watches: one look at `watched`, and no more
    a watcher that is too slow is closed: the core waits for nobody

Only the group admin may watch: frames hold what permissions keep apart.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from reed.core.calls import Caller
from reed.core.listener import Listener, Peer, is_peer_alive, refuse
from reed.core.quotas import Quotas
from reed.loop.loop import Loop
from reed.loop.stream import Stream
from reed.peer_log import PeerLog
from reed.wire import monitor
from reed.wire.structs import Bytes


class Monitor:
    """The socket and its watchers."""

    def __init__(
        self,
        path: Path,
        most_queued: int,
        loop: Loop,
        log: PeerLog,
        quotas: Quotas,
        caller_of: Callable[[Peer], Caller],
    ) -> None:
        """`most_queued`: bytes that may wait for a watcher."""
        self.watched = False
        self._most_queued = most_queued
        self._loop = loop
        self._log = log
        self._caller_of = caller_of
        self._watchers: list[Stream] = []
        self._scratch = memoryview(bytearray(64))
        self._rates = quotas.rates
        self._listener = Listener(loop, path, self._accept, log, quotas.rates)

    def saw(self, direction: int, connection: int, peer: str, *frame: Bytes) -> None:
        """A frame passed, whole, in one part or several."""
        head = monitor.head(time.time_ns() // 1000, direction, connection, peer)
        record = b"".join((head, *frame))  # a copy: a view does not outlive its turn, a slow watcher might
        for watcher in list(self._watchers):
            watcher.send(record)

    def close(self) -> None:
        self._listener.close()
        for watcher in list(self._watchers):
            watcher.close("the core stops")

    def _accept(self, sock: socket.socket, peer: Peer) -> None:
        caller = self._caller_of(peer)
        if refusal := self._rates.connects(caller, peer.pid, peer.uid):
            refuse(sock, refusal)
            return
        if not caller.is_admin or not is_peer_alive(sock, peer):
            self._log.warning("%s may not monitor: that is for the group admin", caller.name, peer=caller.name)
            sock.close()
            return
        watcher = Stream(
            self._loop, sock, lambda reason: self._gone(watcher, caller, reason), max_queued=self._most_queued
        )
        self._watchers.append(watcher)
        self.watched = True
        watcher.watch(lambda: self._on_readable(watcher))
        self._log.info("%s monitors the frames", caller.name, peer=caller.name)

    def _on_readable(self, watcher: Stream) -> None:
        if watcher.receive(self._scratch) >= 0:
            watcher.close("it closed the connection")

    def _gone(self, watcher: Stream, caller: Caller, reason: str) -> None:
        self._watchers.remove(watcher)
        self.watched = bool(self._watchers)
        self._log.info("%s monitors no more: %s", caller.name, reason, peer=caller.name)
