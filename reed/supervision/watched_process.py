"""A plugin's process from its pid to its exit, which a pidfd reports, or polling where pidfds are refused.

A process that ended keeps its pid until it is reaped. Its group dies with it; `orphans` finds the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from reed.loop.loop import Loop
from reed.process_handle import ProcessHandle, start_time

MAX_WALKED = 32 * 1024 * 1024  # bytes; the kernel looks at every page for PSS: 2 ms for 32 MB, 23 ms for 400 MB
_POLL_INTERVAL = 0.05  # seconds
_REASON_OF = {
    "SIGPROF": "killed by SIGPROF: it exceeded its processor time inside one library call",
    "SIGXCPU": "killed by SIGXCPU: it exceeded its processor time",
}


class ExitWatch:
    """Calls `on_exit` once, in a later turn. The caller reaps the process."""

    def __init__(self, loop: Loop, process: ProcessHandle, on_exit: Callable[[], None]) -> None:
        self._loop = loop
        self._process = process
        self._on_exit = on_exit
        if process.fd >= 0:
            loop.watch(process.fd, self._exited)
        else:
            self._poll()

    def _poll(self) -> None:
        try:
            ended = self._process.has_ended()
        except OSError:  # out of descriptors
            ended = False
        if ended:
            self._loop.call_later(0, self._on_exit)
        else:
            self._loop.call_later(_POLL_INTERVAL, self._poll)

    def _exited(self) -> None:
        self._loop.unwatch(self._process.fd)
        self._on_exit()


class WatchedProcess:
    def __init__(self, loop: Loop, pid: int, on_end: Callable[[str], None], adopted: int | None = None) -> None:
        """`on_end` is called once, in a later turn, with the reason.

        `adopted` is the start time of a process of an earlier core, whose pid may be reused once it has ended.
        """
        self.pid = pid
        self._adopted = adopted
        self.ended = False
        self.exited_cleanly = False  # with status 0, or an unknown one (adopted)
        self._on_end = on_end
        self._process: ProcessHandle | None = None
        try:
            self._process = ProcessHandle(pid, adopted)
        except ProcessLookupError:
            loop.call_later(0, lambda: self._end("ended before it was seen"))
        else:
            ExitWatch(loop, self._process, self._exited)

    @property
    def started(self) -> int | None:
        """The start time; None once it has ended."""
        return self._process.started if self._process is not None else None

    def is_same(self) -> bool:
        """True for a child, which keeps its pid until it is reaped."""
        return self._adopted is None or start_time(self.pid) == self._adopted

    def send(self, number: signal.Signals) -> None:
        if not self.ended and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send(number)

    def kill(self) -> None:
        if not self.ended:
            self._kill_group()
            self.send(signal.SIGKILL)

    def memory(self) -> int:
        """See `memory_of`."""
        return 0 if self.ended else memory_of(self.pid)

    def _exited(self) -> None:
        assert self._process is not None
        self._kill_group()  # before reaping, which frees the pid
        try:
            result = self._process.wait()
            reason = _reason(result) if result else "ended"
            self.exited_cleanly = result is not None and (result.si_code, result.si_status) == (os.CLD_EXITED, 0)
        except ChildProcessError:
            reason, self.exited_cleanly = "ended, its exit status is unknown", True
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
    return _REASON_OF.get(name) or f"killed by {name}{' (core dumped)' if result.si_code == os.CLD_DUMPED else ''}"


def memory_of(pid: int) -> int:
    """PSS in bytes. Of a process of more than MAX_WALKED, or where the kernel has no PSS: its resident memory without
    pages of files. 0 if the process is gone."""
    page = os.sysconf("SC_PAGESIZE")
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, of_files, *_ = map(int, file.read().split())
    except OSError:
        return 0
    if resident * page <= MAX_WALKED:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    return (resident - of_files) * page
