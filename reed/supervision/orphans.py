"""Orphans: processes that a plugin made and that outlived it. They are killed; everybody else's are left alone.

    a plugin's process ended          every marked process in its session is killed, until two looks found none.
                                      The sandbox refuses setsid, so a session holds all that its plugin forked,
                                      under this core or, for an adopted plugin, before it

    a child of this process           it is
    a plugin's process, the zygote   left alone: others watch it
    marked (reed.sandbox.mark) ─┬─ in the session of a plugin that runs    left alone until that one ends
                                └─ else                                    killed and waited for
    unmarked                          the operator's or the embedding program's: left alone. Where this process is
                                      the core's own (`reed serve`) it is waited for once it is dead: as PID 1 and as
                                      a child subreaper it becomes the parent of orphans that nobody waits for

Looked at whenever a plugin's process ends, again soon while something is left, then less and less often.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.peer_log import ORPHANS, PeerLog
from reed.process_handle import read_proc
from reed.sandbox.mark import is_marked

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_FIRST_INTERVAL = 0.002  # seconds: a killed process takes about that long to be gone
_RETRY_INTERVAL = 0.1  # the longest pause while something is left
_IDLE_INTERVAL = 10.0
_STOP_TIMEOUT = 2.0  # seconds that a stopping core waits for orphans to die
_REAP_AFTER = 1.0  # seconds: whoever started a child waits for it in the turn in which it ends
_EMPTY_LOOKS = 2
_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A process, as /proc/PID/stat has it."""

    pid: int
    name: str
    is_dead: bool
    group: int
    session: int
    started: int


class Orphans:
    """See the module. `runs` are the plugins' processes, `zygotes` the zygote's and those of the dead ones."""

    def __init__(
        self,
        loop: Loop,
        log: PeerLog,
        runs: Collection[int],
        zygotes: Collection[int],
        launching: Callable[[], bool],
        on_clean: Callable[[], None] = lambda: None,
    ) -> None:
        self.left = False  # is there something that must go before this process may?
        self._takes_all = False
        self._loop = loop
        self._log = log
        self._runs = runs
        self._zygotes = zygotes
        self._launching = launching  # may there be a plugin's process whose pid was not told yet?
        self._on_clean = on_clean
        self._sessions: dict[int, int] = {}  # of plugins that ended: how many looks in a row found nobody there
        self._dead: dict[tuple[int, int], float] = {}  # unmarked: since when, by pid and start time
        self._timer: Timer | None = None
        self._pause = _IDLE_INTERVAL
        self._until = 0.0

    def take_all(self) -> None:
        """This process is the core's own: orphans below it become its children, and are waited for once dead."""
        become_subreaper()
        self._takes_all = True

    def clear_session(self, session: int) -> None:
        """The plugin's process that led this session has ended: whatever else is in it must go."""
        if session > 1:
            self._sessions[session] = 0
        self.sweep()

    def sweep(self) -> None:
        """Look now, and again soon while there is something left."""
        self._pause = _FIRST_INTERVAL
        self._until = self._loop.now() + _STOP_TIMEOUT
        self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            found = self._kill_sessions()
            found = self._look_at_children() or found
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            found = True  # it cannot look now
        longest = _RETRY_INTERVAL if found or self._sessions else _REAP_AFTER if self._dead else _IDLE_INTERVAL
        self._pause = min(self._pause * 1.5, longest)
        self._timer = self._loop.call_later(self._pause, self._look)
        self.left = found and self._loop.now() < self._until
        if not self.left:
            self._on_clean()

    def _kill_sessions(self) -> bool:
        """Kill who is in the session of a plugin that ended; is anyone left?"""
        if not self._sessions:
            return False
        occupied = set()
        for pid in _all_pids():
            session = _session_of(pid)
            if session in self._sessions and session not in self._runs and is_marked(pid):
                process = look_at(pid)
                if process is not None and not process.is_dead and process.session == session:
                    self._kill(process)
                    occupied.add(session)
        self._sessions = {
            session: 0 if session in occupied else looks + 1
            for session, looks in self._sessions.items()
            if session in occupied or looks + 1 < _EMPTY_LOOKS
        }
        return bool(occupied)

    def _look_at_children(self) -> bool:
        """Is there a child that has to be looked at again?"""
        left = False
        dead: dict[tuple[int, int], float] = {}
        launching = self._launching()
        living = {pid for pid in self._zygotes if is_child(pid)}
        for pid in children():
            if pid in self._runs or pid in living:
                continue
            process = look_at(pid)
            if process is None:
                continue
            if launching and process.session in {pid, *living}:
                left = True  # it may be a plugin's
            elif process.session in self._zygotes or is_marked(pid):
                left = self._end(process, living) or left
            elif process.is_dead and self._takes_all:
                self._reap_later(process, dead)
        self._dead = dead
        return left

    def _end(self, process: Process, living: Collection[int]) -> bool:
        """A plugin's child, or a spare process: wait for it, or kill it when its session has no owner. Is it left?"""
        if process.is_dead:
            _wait_for(process.pid)
        elif process.session not in self._runs and process.session not in living:
            self._kill(process)
            return True
        return False

    def _reap_later(self, process: Process, dead: dict[tuple[int, int], float]) -> None:
        key, now = (process.pid, process.started), self._loop.now()
        since = self._dead.get(key, now)
        if now - since >= _REAP_AFTER:
            _wait_for(process.pid)
        else:
            dead[key] = since

    def _kill(self, process: Process) -> None:
        self._log.warning("killed pid %d (%s), which a plugin left behind", process.pid, process.name, peer=ORPHANS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.group > 1:
                os.killpg(process.group, signal.SIGKILL)  # at once, so that none of them forks meanwhile
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)


def become_subreaper() -> None:
    """Orphans of this process's descendants become its children, not those of pid 1."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children() -> Iterator[int]:
    """The pids of all children of this process, dead ones too."""
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children", "rb") as file:
            yield from map(int, file.read().split())


def look_at(pid: int) -> Process | None:
    """None when it is gone."""
    try:
        head, _, tail = read_proc(f"/proc/{pid}/stat").rpartition(b")")
    except OSError:
        return None
    words = tail.split()
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    return Process(pid, name, words[0] in b"ZX", int(words[2]), int(words[3]), int(words[19]))


def is_child(pid: int) -> bool:
    """Is it ours, and not waited for?"""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _wait_for(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
