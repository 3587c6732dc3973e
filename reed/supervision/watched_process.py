"""A plugin's process, from the moment it has a pid to its end.

    pid ── pidfd, watched ── readable: it ended ── its group is killed, it is waited for ── on_end("exit status 3")
        └─ refused (process_handle): looked at 20 times a second ─┘

Until it is waited for, its pid belongs to nobody else: signals and group signals reach the right process or none. What
it forked and left behind in its group dies with it; what is outside of that, and all remains, `orphans` finds.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from reed.loop.loop import Loop
from reed.process_handle import ProcessHandle, start_time

UNKNOWN_STATUS = "ended, its exit status is unknown"  # an adopted one
_LOOK_INTERVAL = 0.05  # seconds
_IN_WORDS = {
    "SIGPROF": "killed by SIGPROF: it spent its processor time inside one library call",
    "SIGXCPU": "killed by SIGXCPU: its processor time was spent",
}


class ExitWatch:
    """Calls `on_exit` once, in a later turn, when a process has ended; waiting for it is the caller's."""

    def __init__(self, loop: Loop, process: ProcessHandle, on_exit: Callable[[], None]) -> None:
        self._loop = loop
        self._process = process
        self._on_exit = on_exit
        if process.fd >= 0:
            loop.watch(process.fd, self._exited)
        else:
            self._look()

    def _look(self) -> None:
        try:
            ended = self._process.has_ended()
        except OSError:  # no descriptor is left
            ended = False
        if ended:
            self._loop.call_later(0, self._on_exit)
        else:
            self._loop.call_later(_LOOK_INTERVAL, self._look)

    def _exited(self) -> None:
        self._loop.unwatch(self._process.fd)
        self._on_exit()


class WatchedProcess:
    """One process that the core started, or that was handed to it by its zygote."""

    def __init__(self, loop: Loop, pid: int, on_end: Callable[[str], None], adopted: int | None = None) -> None:
        """`on_end` is called once, in a later turn, with the reason in words.

        `adopted`: the start time of one that an earlier core started. Its pid may be another's once it has ended.
        """
        self.pid = pid
        self._adopted = adopted
        self.ended = False
        self._on_end = on_end
        self._process: ProcessHandle | None = None
        try:
            self._process = ProcessHandle(pid, adopted)
        except ProcessLookupError:
            loop.call_later(0, lambda: self._end("ended before it was seen"))
        else:
            ExitWatch(loop, self._process, self._exited)

    def is_same(self) -> bool:
        """Is the pid still this process's? Always, for a child of ours: it was not waited for."""
        return self._adopted is None or start_time(self.pid) == self._adopted

    def send(self, number: signal.Signals) -> None:
        """A Unix signal to the process itself; none when it is gone."""
        if not self.ended and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send(number)

    def kill(self) -> None:
        """SIGKILL to the process and to whatever else is in its group."""
        if not self.ended:
            self._kill_group()
            self.send(signal.SIGKILL)

    def memory(self) -> int:
        """Bytes that it has for itself, with its share of what it has in common with others (PSS, or else RSS)."""
        return 0 if self.ended else memory_of(self.pid)

    def _exited(self) -> None:
        assert self._process is not None
        self._kill_group()  # before the wait: from then on the pid may be another's
        try:
            result = self._process.wait()
            reason = _reason(result) if result else "ended"
        except ChildProcessError:
            reason = UNKNOWN_STATUS
        self._process.close()
        self._process = None
        self._end(reason)

    def _end(self, reason: str) -> None:
        self.ended = True
        self._on_end(reason)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.is_same() and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)


def _reason(result: os.waitid_result) -> str:
    if result.si_code == os.CLD_EXITED:
        return f"exit status {result.si_status}"
    try:
        name = signal.Signals(result.si_status).name
    except ValueError:
        name = f"Unix signal {result.si_status}"
    return _IN_WORDS.get(name) or f"killed by {name}{' (core dumped)' if result.si_code == os.CLD_DUMPED else ''}"


def memory_of(pid: int) -> int:
    """PSS in bytes; RSS where the kernel does not tell; 0 when the process is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError), open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0
