"""The core's side of the nursery: it asks for plugin processes and reads who was born.

    nursery.start()
    ticket = nursery.request(spec, output_fd)         at once; the fd may be closed then
    …fileno() becomes readable…
    for ticket, result in nursery.read(): …           a pid, or the text of an error

Its process is `nursery_process`. When that died, `read` gives an error for each ticket that waits, and `alive` is
false: start it again.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any

from reed.errors import ReedError
from reed.lua.launch import LaunchSpec
from reed.wire import strict_json

MAX_REQUEST = 131072  # bytes of one launch request, as the nursery reads it
_STOP_SECONDS = 2.0


class Nursery:
    """One nursery process. Start it before the core opens anything; the core must be a child subreaper."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._tickets = 0
        self._waiting: set[int] = set()
        self._unsent: deque[tuple[bytes, int]] = deque()

    def start(self) -> None:
        """Starts the process; requests wait in its socket until it is ready (some 100 ms)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "reed.lua.nursery"], stdin=theirs.fileno(), start_new_session=True
            )
        self._socket = ours

    @property
    def alive(self) -> bool:
        return self._socket is not None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def fileno(self) -> int:
        """Readable when `read` has something to tell."""
        return self._running().fileno()

    def request(self, spec: Mapping[str, Any], output_fd: int) -> int:
        """Asks for a process of this launch spec (see launch.LaunchSpec.of); gives the ticket of its answer."""
        self._running()
        self._tickets += 1
        message = LaunchSpec.of(spec).pack(self._tickets)
        if len(message) > MAX_REQUEST:
            raise ReedError(f"a launch spec of {len(message)} bytes", hint=f"settings may take some {MAX_REQUEST}")
        self._waiting.add(self._tickets)
        self._unsent.append((message, os.dup(output_fd)))
        self._send()
        return self._tickets

    def read(self) -> list[tuple[int, int | str]]:
        """The answers that have come: (ticket, pid), or (ticket, text) when the nursery died."""
        results: list[tuple[int, int | str]] = []
        while self._socket is not None:
            try:
                message = self._socket.recv(MAX_REQUEST)
            except BlockingIOError:
                break
            except ConnectionResetError:
                message = b""
            if not message:
                lost = sorted(self._waiting)
                self.stop()
                return results + [(ticket, "the nursery died") for ticket in lost]
            answer = strict_json.load_object(message)
            self._waiting.discard(answer["ticket"])
            results.append((answer["ticket"], answer["pid"]))
        self._send()
        return results

    def stop(self) -> None:
        """Closes the socket, upon which the process ends; plugins that were forked from it live on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for _, descriptor in self._unsent:
            os.close(descriptor)
        self._unsent.clear()
        self._waiting.clear()
        if self._process is not None:
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
            self._process = None

    def _running(self) -> socket.socket:
        if self._socket is None:
            raise ReedError("the nursery does not run", hint="start() it")
        return self._socket

    def _send(self) -> None:
        """Sends what waits, as far as the socket takes it: the core never blocks here."""
        while self._socket is not None and self._unsent:
            message, descriptor = self._unsent[0]
            try:
                socket.send_fds(self._socket, [message], [descriptor])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                return  # `read` will see it
            self._unsent.popleft()
            os.close(descriptor)


if __name__ == "__main__":
    from reed.lua.nursery_process import main

    main()
