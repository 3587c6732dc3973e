"""A plugin's process, from the moment it has a pid to its end.

    pid ── pidfd, watched ── readable: it ended ── its group is killed, it is waited for ── on_end("exit status 3")

Until it is waited for, its pid belongs to nobody else: signals and group signals reach the right process or none. What
it forked and left behind in its group dies with it; what is outside of that, and all remains, `orphans` finds.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from reed.loop.loop import Loop
from reed.registry.processes import start_time

UNKNOWN_STATUS = "ended, its exit status is unknown"  # an adopted one
_IN_WORDS = {
    "SIGPROF": "killed by SIGPROF: it spent its processor time inside one library call",
    "SIGXCPU": "killed by SIGXCPU: its processor time was spent",
}


class Child:
    """One process that the core started, or that was handed to it by its nursery."""

    def __init__(self, loop: Loop, pid: int, on_end: Callable[[str], None], adopted: int | None = None) -> None:
        """`on_end` is called once, in a later turn, with the reason in words.

        `adopted`: the start time of one that an earlier core started. Its pid may be another's once it has ended.
        """
        self.pid = pid
        self._adopted = adopted
        self.ended = False
        self._loop = loop
        self._on_end = on_end
        self._fd = -1
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_later(0, lambda: self._end("ended before it was seen"))
            return
        if not self.is_same():
            os.close(self._fd)
            self._fd = -1
            loop.call_later(0, lambda: self._end("ended before it was seen"))
            return
        loop.watch(self._fd, self._readable)

    def is_same(self) -> bool:
        """Is the pid still this process's? Always, for a child of ours: it was not waited for."""
        return self._adopted is None or start_time(self.pid) == self._adopted

    def send(self, number: signal.Signals) -> None:
        """A Unix signal to the process itself; none when it is gone."""
        if not self.ended and self._fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """SIGKILL to the process and to whatever else is in its group."""
        if not self.ended:
            self._kill_group()
            self.send(signal.SIGKILL)

    def memory(self) -> int:
        """Bytes that it has for itself, with its share of what it has in common with others (PSS, or else RSS)."""
        return 0 if self.ended else memory_of(self.pid)

    def _readable(self) -> None:
        self._kill_group()  # before the wait: from then on the pid may be another's
        self._loop.unwatch(self._fd)
        try:
            result = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
            reason = _reason(result) if result else "ended"
        except ChildProcessError:
            reason = UNKNOWN_STATUS
        os.close(self._fd)
        self._fd = -1
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
