"""monitor.sock: streams every frame of the core to watchers (`reed monitor`).

Only the group admin may watch, since frames contain data of all permissions. A slow watcher is disconnected.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from reed.core.calls import Caller
from reed.core.listener import Listener, Peer
from reed.core.plugin_endpoint import CoreContext
from reed.loop.stream import Stream
from reed.wire import monitor
from reed.wire.structs import Bytes


class Monitor:
    def __init__(self, context: CoreContext, path: Path, caller_of: Callable[[Peer], Caller]) -> None:
        self.watched = False
        self._max_queued = context.config.limits.queued_bytes
        self._loop = context.loop
        self._log = context.log
        self._caller_of = caller_of
        self._watchers: list[Stream] = []
        self._scratch = memoryview(bytearray(64))
        self._listener = Listener(self._loop, path, self._accept, self._log, context.quotas.rates)

    def on_frame(self, direction: int, connection: int, peer: str, *frame: Bytes) -> None:
        head = monitor.head(time.time_ns() // 1000, direction, connection, peer)
        record = b"".join((head, *frame))  # copied, since views end with the turn
        for watcher in list(self._watchers):
            watcher.send(record)

    def close(self) -> None:
        self._listener.close()
        for watcher in list(self._watchers):
            watcher.close("the core stops")

    def _accept(self, sock: socket.socket, peer: Peer) -> None:
        caller = self._caller_of(peer)
        if not self._listener.admits(sock, peer, caller):
            return
        if not caller.is_admin:
            self._log.warning("%s may not monitor: only the group admin may", caller.name, peer=caller.name)
            sock.close()
            return
        watcher = Stream(
            self._loop, sock, lambda reason: self._closed(watcher, caller, reason), max_queued=self._max_queued
        )
        self._watchers.append(watcher)
        self.watched = True
        watcher.watch(lambda: self._on_readable(watcher))
        self._log.info("%s started monitoring", caller.name, peer=caller.name)

    def _on_readable(self, watcher: Stream) -> None:
        if watcher.receive(self._scratch) >= 0:
            watcher.close("it closed the connection")

    def _closed(self, watcher: Stream, caller: Caller, reason: str) -> None:
        self._watchers.remove(watcher)
        self.watched = bool(self._watchers)
        self._log.info("%s stopped monitoring: %s", caller.name, reason, peer=caller.name)
