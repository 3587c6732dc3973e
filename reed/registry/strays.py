"""What plugins leave behind: processes that no plugin's process answers for any more.

    plugin ── forks ── the one between ends, or the plugin does ──▶ the core, a child subreaper, is the parent now

    sweep: each child of this process             so it is
    a plugin's, the nursery                       left alone: others watch it
    in the session of one of these                left alone until that one ends; waited for when it is dead
    in our own session, or not from the nursery   another's: the program's that runs this core inside of it
    anything else                                 killed and waited for; what it has for children is next

Swept whenever a plugin's process ends, again until nothing is left, then less and less often: what dies slowly on a
busy machine becomes ours late, and so do the remains of the living.
What a plugin forks has no_new_privs like itself, whatever else it does: by that it is known. A pid cannot become
another process's between the look and the kill: it is our child, and nobody else waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.registry.processes import read_proc

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_SPARE = "reed:spare"  # what it calls itself (nursery)
_SOON = 0.002  # seconds: a killed process takes about that long to be gone
_PATIENCE = 0.1  # the longest pause while something is left
_NOW_AND_THEN = 10.0
_LONG = 2.0  # then nobody waits for it any longer
_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A child of ours, as /proc/PID/stat has it."""

    pid: int
    name: str
    is_dead: bool
    group: int
    session: int


class Strays:
    """See the module. `runs` are the plugins' processes, `nurseries` the nursery's and those of the dead ones."""

    def __init__(
        self,
        loop: Loop,
        log: logging.Logger,
        runs: Collection[int],
        nurseries: Collection[int],
        launching: Callable[[], bool],
        on_clean: Callable[[], None] = lambda: None,
    ) -> None:
        self.left = False  # is there something that must go before this process may?
        self._loop = loop
        self._log = log
        self._runs = runs
        self._nurseries = nurseries
        self._launching = launching  # may there be a plugin's process whose pid was not told yet?
        self._on_clean = on_clean
        self._timer: Timer | None = None
        self._pause = _NOW_AND_THEN
        self._until = 0.0

    def sweep(self) -> None:
        """Look now, and again soon while there is something left."""
        self._pause = _SOON
        self._until = self._loop.now() + _LONG
        self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            found = self._clean()
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            found = True  # it cannot look now
        self._pause = min(self._pause * 1.5, _PATIENCE if found else _NOW_AND_THEN)
        self._timer = self._loop.call_later(self._pause, self._look)
        self.left = found and self._loop.now() < self._until
        if not self.left:
            self._on_clean()

    def _clean(self) -> bool:
        """Is there something that has to be looked at again?"""
        left = False
        own = os.getsid(0)
        launching = self._launching()
        living = {pid for pid in self._nurseries if is_child(pid)}
        for pid in children():
            if pid in self._runs or pid in living:
                continue
            process = look_at(pid)
            if process is None or process.session == own:
                continue
            if process.is_dead and process.name == _SPARE:
                _wait_for(pid)  # of the core before this one, in this process (`reed restart`)
                continue
            if process.session not in self._nurseries and not has_no_new_privs(pid):
                continue
            if launching and process.session in {pid, *living}:
                left = True  # it may be a plugin's
            elif process.is_dead:
                _wait_for(pid)
            elif process.session not in self._runs and process.session not in living:
                self._kill(process)
                left = True
        return left

    def _kill(self, process: Process) -> None:
        self._log.warning("killed pid %d (%s): a plugin left it behind", process.pid, process.name)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.group, signal.SIGKILL)  # at one stroke: who forks meanwhile does not get away
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def become_subreaper() -> None:
    """What the nursery forks twice becomes our child, and so does what a plugin leaves behind."""
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
    state, _, group, session = tail.split()[:4]
    return Process(pid, head.partition(b"(")[2].decode("utf-8", "replace"), state in b"ZX", int(group), int(session))


def has_no_new_privs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"NoNewPrivs:\t1" in read_proc(f"/proc/{pid}/status")
    return False


def is_child(pid: int) -> bool:
    """Is it ours, and not waited for?"""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _wait_for(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
