"""Orphans: processes that a plugin forked and that outlived it. They are killed; nobody else's processes are touched.

When a plugin's process ends, each marked process (reed.sandbox.mark) of its session is killed, until two sweeps in a
row find none. The sandbox refuses setsid, so the session has everything that the plugin forked.

Children of this process
    plugin processes and the zygote             skipped: others watch them
    marked, in the session of a running plugin  skipped until that plugin ends
    marked, otherwise                           killed, and reaped
    of another core of this process             skipped
    forked by the zygote, unmarked              reaped when dead: nobody may have learnt of them
    unmarked                                    not touched; `reap_all` (`reed serve`) reaps dead ones, since PID 1
                                                and a child subreaper become the parent of all orphans
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Collection, Iterator

from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.peer_log import ORPHANS, PeerLog
from reed.process_handle import ProcStat, read_stat
from reed.sandbox.mark import is_marked

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_FIRST_INTERVAL = 0.002  # about how long a killed process takes to disappear
_BACKOFF = 3  # the factor of the pause between sweeps: 8 of them, not 21, until the idle one
_RETRY_INTERVAL = 0.1
_IDLE_INTERVAL = 10.0
_STOP_TIMEOUT = 2.0  # for which a stopping core waits for orphans to die
_REAP_AFTER = 1.0  # seconds; the code that started a child reaps it sooner than that, if it is going to
_EMPTY_SWEEPS = 2
_FORKED = "reed:"  # starts the name of a process that the zygote forked
_PR_SET_CHILD_SUBREAPER = 36

_cores: list[Orphans] = []  # of the cores in this process, each of which may run in a thread of its own


class Orphans:
    """`zygotes` includes those that died. `launching`: may a plugin's process exist whose pid is not in `runs` yet?"""

    def __init__(
        self,
        loop: Loop,
        log: PeerLog,
        runs: Collection[int],
        zygotes: Collection[int],
        launching: Callable[[], bool],
        on_clean: Callable[[], None] = lambda: None,
    ) -> None:
        self.remain = False  # orphans that a stopping core still waits for
        self._reaps_all = False
        self._loop = loop
        self._log = log
        self._runs = runs
        self._zygotes = zygotes
        self._launching = launching
        self._on_clean = on_clean
        self._sessions: dict[int, int] = {}  # of ended plugins: the number of empty sweeps in a row
        self._dead: dict[tuple[int, int], float] = {}  # unmarked zombies by pid and start time: first seen at
        self._timer: Timer | None = None
        self._steps: Iterator[None] | None = None  # of a sweep
        self._has_killed = False
        self._is_due = False  # another sweep, after this one
        self._pause = _IDLE_INTERVAL
        self._until = 0.0

    def register(self) -> None:
        """From now on other cores of this process leave this core's processes alone, until `close`."""
        _cores.append(self)

    def close(self) -> None:
        if self in _cores:
            _cores.remove(self)

    def reap_all(self) -> None:
        """For a process that only runs the core."""
        become_subreaper()
        self._reaps_all = True

    def clear_session(self, session: int) -> None:
        if session > 1:
            self._sessions[session] = 0
        self.sweep()

    def sweep(self) -> None:
        self._pause = _FIRST_INTERVAL
        self._until = self._loop.now() + _STOP_TIMEOUT
        self.remain = True  # until the sweep knows
        self._begin()

    def _begin(self) -> None:
        """Sweep in slices of the next turns: a machine with thousands of processes takes tens of milliseconds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._steps is None:
            self._steps = self._kill_sessions()
            self._loop.add_job(self._work)
        else:
            self._is_due = True

    def _work(self, until: float) -> bool:
        steps, self._steps = self._steps, None
        assert steps is not None
        try:
            for _ in steps:
                if self._loop.now() >= until:
                    self._steps = steps
                    return True
            found = self._check_children() or self._has_killed
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            found = True  # unknown: try again soon
        if self._is_due:
            self._is_due = False
            self._begin()
            return True
        longest = _RETRY_INTERVAL if found or self._sessions else _REAP_AFTER if self._dead else _IDLE_INTERVAL
        self._pause = min(self._pause * _BACKOFF, longest)
        self._timer = self._loop.call_later(self._pause, self._begin)
        self.remain = found and self._loop.now() < self._until
        if not self.remain:
            self._on_clean()
        return False

    def _kill_sessions(self) -> Iterator[None]:
        """In steps of one process of the machine; `_has_killed` says whether some of them were in these sessions."""
        self._has_killed = False
        before = dict(self._sessions)
        if not before:
            return
        occupied = set()
        for pid in _all_pids():
            session = _session_of(pid)
            if session in before and session not in self._runs and is_marked(pid):
                stat = _stat_or_none(pid)
                if stat is not None and not stat.is_dead and stat.session == session:
                    self._kill(pid, stat)
                    occupied.add(session)
            yield
        for session, empty in before.items():
            if session in occupied:
                self._sessions[session] = 0
            elif empty + 1 < _EMPTY_SWEEPS:
                self._sessions[session] = empty + 1
            else:
                self._sessions.pop(session, None)
        self._has_killed = bool(occupied)

    def _check_children(self) -> bool:
        """Returns whether another sweep must follow soon."""
        remain = False
        dead: dict[tuple[int, int], float] = {}
        launching = self._launching()
        living = {pid for pid in self._zygotes if is_child(pid)}
        others = [core for core in tuple(_cores) if core is not self]
        for pid in children():
            if pid in self._runs or pid in living:
                continue
            stat = _stat_or_none(pid)
            if stat is None or any(core._owns(pid, stat) for core in others):
                continue
            if launching and stat.session in {pid, *living}:
                remain = True  # perhaps a plugin's process
            elif stat.session in self._zygotes or is_marked(pid):
                if stat.is_dead:
                    _reap(pid)
                elif stat.session not in self._runs and stat.session not in living:
                    self._kill(pid, stat)
                    remain = True
            elif stat.is_dead and (self._reaps_all or stat.name.startswith(_FORKED)):
                self._reap_later(pid, stat.start_time, dead)
        self._dead = dead
        return remain

    def _owns(self, pid: int, stat: ProcStat) -> bool:
        """Asked by another core's thread. While this core launches, any child may be the plugin's."""
        return self._launching() or any(each in self._runs or each in self._zygotes for each in (pid, stat.session))

    def _reap_later(self, pid: int, started: int, dead: dict[tuple[int, int], float]) -> None:
        now = self._loop.now()
        since = self._dead.get((pid, started), now)
        if now - since >= _REAP_AFTER:
            _reap(pid)
        else:
            dead[pid, started] = since

    def _kill(self, pid: int, stat: ProcStat) -> None:
        self._log.warning("killed orphan %s (pid %d), which a plugin had forked", stat.name, pid, peer=ORPHANS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if stat.group > 1:
                os.killpg(stat.group, signal.SIGKILL)  # all at once, so that none of them forks meanwhile
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def become_subreaper() -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children() -> Iterator[int]:
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children", "rb") as file:
            yield from map(int, file.read().split())


def reap_sessions(sessions: Collection[int]) -> bool:
    """Reap this process's dead children in these sessions; returns whether a child there still runs."""
    found = [(pid, stat) for pid in children() if (stat := _stat_or_none(pid)) is not None and stat.session in sessions]
    for pid, stat in found:
        if stat.is_dead:
            _reap(pid)
    return not all(stat.is_dead for _, stat in found)


def is_child(pid: int) -> bool:
    """Also a zombie."""
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


def _stat_or_none(pid: int) -> ProcStat | None:
    try:
        return read_stat(pid)
    except OSError:
        return None


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
