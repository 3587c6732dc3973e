r"""The core's side of the zygote: requests for processes, each with a pipe that reports the result.

b"4711\n\n"                    the process 4711 is confined, and is about to run the plugin's code
b"4711\n", end of file         the process 4711 is confined, and has executed the plugin's program
b"4711\nreason", end of file   it failed, and exits
end of file                    the process died before it was confined, or the zygote before it read the request:
                               nothing ran, so the request may be repeated
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence

from reed.errors import ReedError
from reed.import_path import importing_reed
from reed.system_calls import needed
from reed.zygote.request import DIE_WITH_CORE, MAX_REQUEST, SpawnRequest, WorkerRequest


class Zygote:
    """Start it before the core opens anything.

    `fileno` becomes readable when it dies: call `stop`, then `start` again.
    """

    def __init__(self, *, die_with_core: bool = False) -> None:
        self._arguments = [DIE_WITH_CORE] if die_with_core else []
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._unsent: deque[tuple[bytes, int, Sequence[int]]] = deque()  # with the report's other end, and descriptors

    def start(self) -> None:
        """Requests wait in the socket until the process is ready (about 200 ms)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs, needed("setsid", "the zygote, which plugins are forked from"):
            self._process = subprocess.Popen(  # executes a program at once, so the core's process may have threads
                [sys.executable, "-P", "-m", "reed.zygote", *self._arguments],
                stdin=theirs.fileno(),
                start_new_session=True,
                env=importing_reed(os.environ),
            )
        self._socket = ours

    @property
    def alive(self) -> bool:
        return self._socket is not None

    def has_died(self) -> bool:
        """A request could reach neither it nor its spare."""
        try:
            return not self._running().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionResetError:  # it died with a request unread
            return True

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def fileno(self) -> int:
        return self._running().fileno()

    def request(self, request: SpawnRequest | WorkerRequest, descriptors: Sequence[int]) -> int:
        """`descriptors`: the output and, if there is one, the ruleset. The caller keeps them open until the report has
        ended. Returns the report, a non-blocking pipe. Raises ReedError, OSError."""
        self._running()
        message = request.pack()
        if len(message) > MAX_REQUEST:
            raise ReedError(f"a launch spec of {len(message)} bytes", hint=f"its settings must fit into {MAX_REQUEST}")
        report, reporting = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._unsent.append((message, reporting, descriptors))
        self.flush()
        return report

    def flush(self) -> None:
        """Call it again when a report has ended."""
        while self._unsent and self._socket is not None:
            message, reporting, descriptors = self._unsent[0]
            try:
                socket.send_fds(self._socket, [message], [reporting, *descriptors])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                pass  # the zygote died: the report ends without a pid
            self._unsent.popleft()
            os.close(reporting)

    def stop(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the zygote died
                self._socket.shutdown(socket.SHUT_RDWR)  # a fork of the embedding program may hold it open
            self._socket.close()
            self._socket = None
        for _, reporting, _ in self._unsent:
            os.close(reporting)
        self._unsent.clear()
        if self._process is not None:
            self._process.kill()  # it has no state, and may need half a second to see that its socket has ended
            self._process.wait()
            self._process = None

    def _running(self) -> socket.socket:
        if self._socket is None:
            raise ReedError("the zygote is not running", hint="call start() first")
        return self._socket
