"""Prefaults the pages that a start needs, while the spare process still waits (process-creation.md#prefaulting).

Pages that it writes to are copied, and pages of libraries that it reads are mapped. Before Linux 5.14 there is no
MADV_POPULATE_WRITE, and nothing is done beforehand.
"""

from __future__ import annotations

import array
import ctypes
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator

from reed.lua.warmup import SimulatedCore
from reed.plugin_host.host import Host
from reed.sandbox.rules import Profile, rules_for
from reed.zygote.clone import run_in_fork
from reed.zygote.request import SpawnRequest
from reed.zygote.spawn import Spawn

_MADV_POPULATE_READ, _MADV_POPULATE_WRITE = 22, 23
_PRESENT = 1 << 63  # of a pagemap entry
_WRITTEN = _PRESENT | 1 << 56  # mapped by this process only
_PAGE = os.sysconf("SC_PAGESIZE")
_RUN = struct.Struct("=QQi")  # the arguments of madvise


class Prefault:
    def __init__(self, runs: bytes) -> None:
        self._madvise = ctypes.PyDLL(None).madvise
        self._madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self.runs = list(_RUN.iter_unpack(runs))

    def touch(self) -> None:
        for run in self.runs:
            self._madvise(*run)


class DryRun:
    """A start for `learn`. The request and the core's response are sent beforehand, so that the fork sends neither."""

    def __init__(self, spawn: Spawn, host: Host) -> None:
        self._spawn = spawn
        self._host = host
        self._core = SimulatedCore()
        self._receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        rules = rules_for(Profile(executes=False), "", None, "", "", (), (), own_socket="")
        ruleset = spawn.sandbox.ruleset(rules)
        null = os.open(os.devnull, os.O_RDWR)
        descriptors = [null, null, ruleset] if ruleset >= 0 else [null, null]
        with sender:
            socket.send_fds(sender, [SpawnRequest(self._core.spec, rules, ruleset).pack()], descriptors)
        for descriptor in descriptors[1:]:
            os.close(descriptor)

    def start(self) -> None:
        """Uses the host up."""
        self._spawn.receive(self._receiver)
        self._core.start(self._host)
        self._spawn.confine(self._core.spec)

    def close(self) -> None:
        self._receiver.close()
        self._core.close()


def learn(start: Callable[[], None]) -> Prefault:
    """Calls `start` in a fork and finds the pages that it used; none if it fails.

        zygote ── fork ── observer ── fork ── starter: calls `start`, writes a byte, waits
                             └─ reads the starter's pagemap, so that its own writes are not among the pages

    `start` may confine its process, but must leave the standard streams alone.
    """
    reading, writing = os.pipe()
    observer = run_in_fork(lambda: _observe(start, writing))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        runs = pipe.read()
    return Prefault(runs if os.waitpid(observer, 0)[1] == 0 else b"")


def _observe(start: Callable[[], None], result: int) -> None:
    waiting, started = os.pipe()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(started, 1)
    starter = run_in_fork(lambda: _start(start))
    os.close(started)
    os.close(1)
    if not os.read(waiting, 1):
        os._exit(1)  # the starter has written the reason
    with open(f"/proc/{starter}/pagemap", "rb", buffering=0) as pagemap:
        runs = b"".join(_RUN.pack(*run) for run in _used_runs(pagemap.fileno(), starter))
    os.kill(starter, signal.SIGKILL)
    os.waitpid(starter, 0)
    os.write(result, runs)


def _start(start: Callable[[], None]) -> None:
    start()
    os.write(1, b"!")
    signal.pause()


def _used_runs(pagemap: int, pid: int) -> Iterator[tuple[int, int, int]]:
    """A fork begins without the pages of files in its page table, so those that are present were used."""
    for start, end, access, name in _mappings(pid):
        if access.startswith("rw") and not name.startswith(("[stack", "[v")):
            mask, advice = _WRITTEN, _MADV_POPULATE_WRITE
        elif access.startswith("r-") and name.startswith("/"):
            mask, advice = _PRESENT, _MADV_POPULATE_READ
        else:
            continue
        for address, length in _runs(pagemap, start, end, mask):
            yield address, length, advice


def _mappings(pid: int) -> Iterator[tuple[int, int, str, str]]:
    """First page, end, access and name."""
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            addresses, access, _offset, _device, _inode, *name = line.split(maxsplit=5)
            start, end = (int(address, 16) // _PAGE for address in addresses.split("-"))
            yield start, end, access, name[0] if name else ""


def _runs(pagemap: int, start: int, end: int, mask: int) -> Iterator[tuple[int, int]]:
    """Address and length of the pages whose entries have all bits of `mask`."""
    entries = array.array("Q", os.pread(pagemap, (end - start) * 8, start * 8))
    first = None
    for page, entry in enumerate([*entries, 0], start):
        if entry & mask == mask:
            first = page if first is None else first
        elif first is not None:
            yield first * _PAGE, (page - first) * _PAGE
            first = None
