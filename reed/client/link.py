"""The socket of a blocking client, whose turn it is, and in which process.

call, pipeline ── take_turn() ── socket and protocol are this thread's ── end_turn()
                    ├─ another thread's turn: wait
                    ├─ this thread's turn already: an error, since it would wait for itself
                    └─ the process has forked since connect(): an error, since the socket is the parent's
"""

from __future__ import annotations

import os

# Importing `socket` or `threading` takes as long as the client: the command line would be slower.
from _socket import AF_UNIX, SHUT_RDWR, SO_RCVTIMEO, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET, socket
from _thread import allocate_lock, get_ident
from contextlib import suppress
from struct import pack

from reed.client.protocol import NoAnswer, Protocol
from reed.errors import CoreNotRunning, ReedError
from reed.runtime_paths import Address

_FIRST_READ_SIZE = 16 * 1024  # a larger buffer would be the dearest part of a client that asks once
_READ_SIZE = 256 * 1024
_forks = 0  # how many forks lie between this process and the one that imported the module


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - one for the process
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


def forks() -> int:
    """Differs from an earlier figure if a fork lies between."""
    return _forks


class Link:
    """The views of `with_timeout` share one."""

    __slots__ = ("assumed", "forks", "lock", "protocol", "scratch", "socket", "thread", "timeout")

    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(_FIRST_READ_SIZE))
        self.socket: socket | None = None
        self.protocol = Protocol()
        self.timeout: float | None = None  # that of the socket
        self.assumed = b""  # the payload of CONNECTION_ASSUME, sent first on every connection
        self.lock = allocate_lock()
        self.thread = 0  # the one whose turn it is
        self.forks = _forks

    def take_turn(self) -> None:
        if self.forks != _forks or not self.lock.acquire(False):
            self._wait_for_turn()
        self.thread = get_ident()

    def end_turn(self) -> None:
        self.thread = 0
        self.lock.release()

    def enlarged_scratch(self) -> memoryview:
        """Call it after a read that filled the scratch: more is to come."""
        if len(self.scratch) < _READ_SIZE:
            self.scratch = memoryview(bytearray(_READ_SIZE))
        return self.scratch

    def connect(self, path: str, timeout: float | None) -> socket:
        """Raises CoreNotRunning, NoAnswer, or ReedError if the socket cannot be used."""
        sock = socket(AF_UNIX, SOCK_STREAM)
        try:
            self.set_timeout(sock, timeout)
            with Address(path) as address:
                sock.connect(address)
        except OSError as error:
            sock.close()
            raise cannot_connect(path, error) from None
        self.socket, self.forks = sock, _forks
        return sock

    def set_timeout(self, sock: socket, timeout: float | None) -> None:
        seconds = timeout or 0.0  # 0 is no limit
        timeval = pack("ll", int(seconds), int(seconds % 1 * 1e6))
        sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, timeval)
        sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, timeval)
        self.timeout = timeout

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self.protocol = Protocol()

    def close_in_any_thread(self) -> None:
        """If it is another thread's turn, that sees the end of the connection, and closes it."""
        if self.thread in {0, get_ident()} or self.forks != _forks:
            self.close()
        elif self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(SHUT_RDWR)

    def _wait_for_turn(self) -> None:
        if self.forks != _forks:
            if self.socket is not None:
                raise ReedError(
                    "this client was opened before the process forked; its connection is that of the parent",
                    hint="make a Client after the fork, or close() it before",
                )
            self.lock, self.thread, self.forks = allocate_lock(), 0, _forks
        if self.thread == get_ident() and self.lock.locked():
            raise ReedError(
                "this thread uses the client already",
                hint="finish or close the iterator of pipelined, or use two Clients",
            )
        self.lock.acquire()


def cannot_connect(path: str, error: OSError) -> ReedError:
    """The error that tells why connect(2) failed."""
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
        return CoreNotRunning(f"core not running: nobody listens on {path}", hint="start it with: reed start")
    if isinstance(error, PermissionError):
        return ReedError(
            f"{path}: permission denied", hint="only the core's user and the group socket_group may open it"
        )
    if isinstance(error, BlockingIOError):
        return NoAnswer(f"{path}: the core does not accept connections", hint="see the core's log")
    return ReedError(f"{path}: {error.strerror or error}")
