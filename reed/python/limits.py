"""The limits of one job in a Python plugin.

    memory     soft RLIMIT_DATA, during jobs only     malloc fails: MemoryError
    time       SIGVTALRM after `cpu` s, every 0.1 s   TimeLimit is raised in the plugin's code
               SIGPROF 1 s later (dispatcher)         the traceback is written, and the process ends

TimeLimit is not raised within a service, which would leave half a frame on the connection, but at its end.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
from collections.abc import Callable
from types import FrameType

_AGAIN = 0.1  # seconds, if the plugin catches TimeLimit
_PAGE = resource.getpagesize()


class TimeLimit(BaseException):
    """No Exception, so that `except Exception` does not catch it."""


class Limits:
    cpu = 0.0

    def __init__(self) -> None:
        self._running = False
        self._in_service = False
        self._is_over = False
        self._base = self._used()
        self._hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        self._soft = self._hard

    def start(self, *, memory: int, cpu: float) -> None:
        """Of this process, which is confined."""
        self.cpu = cpu
        self._base = self._used()
        self._hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = self._base + memory
        self._soft = wanted if self._hard == resource.RLIM_INFINITY else min(wanted, self._hard)
        signal.signal(signal.SIGVTALRM, self._time_is_over)
        faulthandler.enable(all_threads=False)
        faulthandler.register(signal.SIGPROF, all_threads=False, chain=True)

    def begin(self) -> None:
        self._running, self._is_over = True, False
        resource.setrlimit(resource.RLIMIT_DATA, (self._soft, self._hard))
        signal.setitimer(signal.ITIMER_VIRTUAL, self.cpu, _AGAIN)

    def end(self) -> None:
        self._running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        resource.setrlimit(resource.RLIMIT_DATA, (self._hard, self._hard))

    def serve(self, service: Callable[..., bytes | None], arguments: tuple[bytes, ...]) -> bytes | None:
        """A service of the host, for which the memory limit is lifted."""
        if not self._running or self._in_service:
            return service(*arguments)
        self._in_service = True
        resource.setrlimit(resource.RLIMIT_DATA, (self._hard, self._hard))
        try:
            return service(*arguments)
        finally:
            self._in_service = False
            resource.setrlimit(resource.RLIMIT_DATA, (self._soft, self._hard))
            if self._is_over:
                raise TimeLimit

    def extend(self, seconds: float) -> None:
        """Processor time that the host used for others during the job."""
        if self._running and not self._is_over:
            left, _ = signal.getitimer(signal.ITIMER_VIRTUAL)
            signal.setitimer(signal.ITIMER_VIRTUAL, left + seconds, _AGAIN)

    def memory_used(self) -> int:
        """Bytes beyond those of a plugin that has not loaded main.py yet."""
        return max(self._used() - self._base, 0)

    @property
    def is_running(self) -> bool:
        return self._running and not self._in_service

    def _time_is_over(self, _number: int, _frame: FrameType | None) -> None:
        if self._running:
            self._is_over = True
            if not self._in_service:
                raise TimeLimit

    @staticmethod
    def _used() -> int:
        """Bytes that count towards RLIMIT_DATA, with the stack; 0 without /proc."""
        try:
            fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return int(os.read(fd, 256).split()[5]) * _PAGE
        finally:
            os.close(fd)
