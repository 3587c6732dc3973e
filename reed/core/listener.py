"""Accepting connections on a Unix socket.

bind ── listen ── accept, until the turn is over its budget ── on_accept(socket, peer)
                     ├─ no descriptor is left (EMFILE): stop watching, try again when one may be free
                     ├─ its process connects too often: 429, and closed (connect_rate)
                     └─ too many connections: told so, and closed

Nobody passes descriptors to the core (SO_PASSRIGHTS): to close the last one of a socket that lingers would block it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from reed.core.connect_rate import ConnectRates
from reed.errors import RuntimeFolderError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.process_handle import read_proc
from reed.runtime_paths import Address

_BACKLOG = 65535  # the kernel lets net.core.somaxconn wait, 4,096 by default
_ACCEPTS_PER_TURN = 64
_RETRY_SECONDS = 0.1
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
_SO_PASSRIGHTS = 83  # since Linux 6.16
_GID = struct.Struct("I")
_UCRED = struct.Struct("3i")  # pid, uid, gid; the kernel's own byte order and padding
_MOST_GROUPS = 65536  # of a process: NGROUPS_MAX
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class Peer(NamedTuple):
    """Who connected, as the kernel says (SO_PEERCRED, SO_PEERGROUPS)."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]  # the supplementary ones


class Listener:
    """A listening Unix socket in the runtime folder."""

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
        """Its owner may connect, and with `group_id` that Unix group. `inherited`: it listens already, as that."""
        self.path = path
        self._loop = loop
        self._on_accept = on_accept
        self._log = log
        self._rates = rates
        self._closed = False
        self._unknown: list[socket.socket] = []  # accepted, and not looked at yet: at most one
        self._sock = bind(path, group_id) if inherited is None else socket.socket(fileno=inherited)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)  # also of those it accepts
        loop.watch(self._sock.fileno(), self._accept)

    def hand_over(self) -> int:
        """Stop accepting, and leave the rest to another program in this process: who connects waits for that one."""
        self._give_up()
        return self._sock.detach()

    def close(self) -> None:
        """Stop accepting and remove the socket file."""
        if not self._closed:
            self._give_up()
            self._sock.close()
            self.path.unlink(missing_ok=True)

    def _give_up(self) -> None:
        self._closed = True
        for sock in self._unknown:
            sock.close()
        self._loop.unwatch(self._sock.fileno())

    def _accept(self) -> None:
        try:
            for _ in range(_ACCEPTS_PER_TURN):
                if not self._unknown:
                    self._unknown.append(self._sock.accept()[0])
                sock = self._unknown[-1]
                pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
                if refusal := self._rates.refusal(pid):
                    refuse(sock, refusal)
                else:
                    # To look at who it is takes a descriptor too.
                    self._on_accept(sock, Peer(pid, uid, gid, _groups_of(sock)))
                self._unknown.pop()
                if self._loop.over_budget():
                    return
        except BlockingIOError:
            return
        except ConnectionAbortedError:
            return  # the next turn goes on
        except OSError as error:
            if not is_out_of_resources(error):
                raise
            self._rest(error)

    def _rest(self, error: OSError) -> None:
        """A listening socket stays readable when accept fails: without a rest the loop would spin."""
        self._log.error("cannot accept on %s: %s; trying again", self.path.name, error.strerror, peer=self.path.name)
        self._loop.unwatch_read(self._sock.fileno())
        self._loop.call_later(_RETRY_SECONDS, self._wake)

    def _wake(self) -> None:
        if not self._closed:
            self._loop.watch(self._sock.fileno(), self._accept)
            self._accept()  # nothing is readable for one that was accepted already


def is_out_of_resources(error: OSError) -> bool:
    """Is it the core that lacks a descriptor or memory? Then it says nothing of the peer, and is tried again."""
    return error.errno in _OUT_OF_RESOURCES


def bind(path: Path, group_id: int | None) -> socket.socket:
    """A listening socket at `path`; a socket file that a dead core left is replaced, anything else is refused."""
    if path.is_socket():
        path.unlink()
    elif path.is_symlink() or path.exists():
        raise RuntimeFolderError(f"{path}: is in the way and no socket", hint="remove it")
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
    """Say why with one frame, if the socket takes it, and close."""
    with contextlib.suppress(OSError):
        sock.send(frame, socket.MSG_DONTWAIT)
    sock.close()


def _groups_of(sock: socket.socket) -> tuple[int, ...]:
    for most in (64, _MOST_GROUPS):
        try:
            groups = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, most * _GID.size)
        except OSError as error:
            if error.errno != errno.ERANGE:
                raise
        else:
            return tuple(gid for (gid,) in _GID.iter_unpack(groups))
    raise AssertionError("more groups than Linux has")


def is_peer_alive(sock: socket.socket, peer: Peer) -> bool:
    """Is the process that connected still there? Its pid says nothing when it is not: it could be another's by now.

    To be asked after its pid was looked up, not before. What has ended and was not waited for still has its pid.
    """
    try:
        fd = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if is_out_of_resources(error):
            raise
        if error.errno != errno.ENOPROTOOPT:
            return False
        return Path(f"/proc/{peer.pid}").exists()  # before Linux 6.5
    try:
        signal.pidfd_send_signal(fd, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a seccomp profile refuses the call: ask what needs no permission
        return b"\nPid:\t-1\n" not in read_proc(f"/proc/self/fdinfo/{fd}")
    finally:
        os.close(fd)
    return True
