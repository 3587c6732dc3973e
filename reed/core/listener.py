"""Accepts connections on a Unix socket, and asks the kernel who connected.

accept ─┬─ on_accept(socket, peer)
        ├─ no descriptor is left (EMFILE)       stop watching, retry later
        └─ the process connects too often       429, closed (connect_rate)
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from reed.core.calls import Caller
from reed.core.connect_rate import ConnectRates
from reed.errors import RuntimeFolderError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.process_handle import read_proc
from reed.runtime_paths import Address
from reed.system_calls import pidfd_send_signal

_BACKLOG = 65535  # capped at net.core.somaxconn
_ACCEPTS_PER_TURN = 64
_RETRY_SECONDS = 0.1
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
_SO_PASSRIGHTS = 83  # since Linux 6.16
_GID_SIZE = 4  # bytes of a gid_t
_UCRED = struct.Struct("3i")  # pid, uid, gid
_MAX_GROUPS = 65536  # NGROUPS_MAX
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class Peer(NamedTuple):
    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary


class Listener:
    def __init__(
        self,
        loop: Loop,
        path: Path,
        on_accept: Callable[[socket.socket, Peer], None],
        log: PeerLog,
        rates: ConnectRates,
        group_id: int | None = None,
        inherited: int | None = None,
    ) -> None:
        """`group_id`: a Unix group that may connect too. `inherited`: a descriptor that listens."""
        self.path = path
        self._loop = loop
        self._on_accept = on_accept
        self._log = log
        self._rates = rates
        self._closed = False
        self._pending: socket.socket | None = None  # accepted, peer not yet identified
        self._sock = bind(path, group_id) if inherited is None else socket.socket(fileno=inherited)
        with contextlib.suppress(OSError):  # peers pass no descriptors: closing one that lingers would block the core
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
        loop.watch(self._sock.fileno(), self._accept)

    def admits(self, sock: socket.socket, peer: Peer, caller: Caller) -> bool:
        """False if its caller connects too often or its process has ended; the socket is then closed."""
        if refusal := self._rates.connects(caller, peer.pid, peer.uid):
            refuse(sock, refusal)
            return False
        if is_peer_alive(sock, peer):
            return True
        self._log.warning(
            "refused a connection of pid %d (uid %d): the process has ended", peer.pid, peer.uid, peer=caller.name
        )
        sock.close()
        return False

    def hand_over(self) -> int:
        """Stop accepting; returns the descriptor, in whose backlog new connections wait for the next core."""
        self._stop()
        return self._sock.detach()

    def close(self) -> None:
        if not self._closed:
            self._stop()
            self._sock.close()
            self.path.unlink(missing_ok=True)

    def _stop(self) -> None:
        self._closed = True
        if self._pending is not None:
            self._pending.close()
        self._loop.unwatch(self._sock.fileno())

    def _accept(self) -> None:
        try:
            for _ in range(_ACCEPTS_PER_TURN):
                sock = self._pending = self._pending or self._sock.accept()[0]
                pid, uid, gid = credentials(sock)
                if refusal := self._rates.refusal(pid):
                    refuse(sock, refusal)
                else:  # may lack a descriptor too
                    self._on_accept(sock, Peer(pid, uid, gid, _groups_of(sock)))
                self._pending = None
                if self._loop.over_budget():
                    return
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if not is_out_of_resources(error):
                raise
            self._back_off(error)

    def _back_off(self, error: OSError) -> None:
        """The socket stays readable, so the loop would spin."""
        self._log.error("cannot accept on %s: %s; retrying", self.path.name, error.strerror, peer=self.path.name)
        self._loop.unwatch_read(self._sock.fileno())
        self._loop.call_later(_RETRY_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.watch(self._sock.fileno(), self._accept)
            self._accept()  # no event reports a socket that is pending


def credentials(sock: socket.socket) -> tuple[int, int, int]:
    """Pid, uid and gid of the other end, as of connect() or listen(). The pid is 0 in another PID namespace."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def is_out_of_resources(error: OSError) -> bool:
    return error.errno in _OUT_OF_RESOURCES


def bind(path: Path, group_id: int | None) -> socket.socket:
    """Replaces a dead core's socket file; RuntimeFolderError for any other file."""
    if path.is_socket():
        path.unlink()
    elif path.is_symlink() or path.exists():
        raise RuntimeFolderError(f"{path}: exists and is not a socket", hint="remove it")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with Address(path) as address:
            sock.bind(address)
        os.chmod(path, 0o600 if group_id is None else 0o660)
        if group_id is not None:
            os.chown(path, -1, group_id)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise RuntimeFolderError(f"{path}: cannot listen: {error.strerror or error}") from None
    return sock


def refuse(sock: socket.socket, frame: bytes) -> None:
    """Send `frame` and close."""
    with contextlib.suppress(OSError):
        sock.send(frame, socket.MSG_DONTWAIT)
    sock.close()


def _groups_of(sock: socket.socket) -> tuple[int, ...]:
    for limit in (64, _MAX_GROUPS):
        try:
            groups = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, limit * _GID_SIZE)
        except OSError as error:
            if error.errno != errno.ERANGE:
                raise
        else:
            return tuple(memoryview(groups).cast("I"))
    raise AssertionError("more groups than Linux has")


def is_peer_alive(sock: socket.socket, peer: Peer) -> bool:
    """Call it after looking up the pid, which another process may have by now. A zombie counts as alive."""
    try:
        fd = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if is_out_of_resources(error):
            raise
        if error.errno != errno.ENOPROTOOPT:
            return False
        return Path(f"/proc/{peer.pid}").exists()  # before Linux 6.5
    try:
        pidfd_send_signal(fd, 0)
    except ProcessLookupError:
        return False
    except OSError:  # not permitted: fdinfo needs no permission
        return b"\nPid:\t-1\n" not in read_proc(f"/proc/self/fdinfo/{fd}")
    finally:
        os.close(fd)
    return True
