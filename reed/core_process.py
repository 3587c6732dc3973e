"""`reed serve` in a process of its own.

start(command(…)) ──┬─ READY=1 (NOTIFY_SOCKET)    CoreProcess: stop() it, or detach() and let it run
                    ├─ the process exited         ReedError with the end of the log
                    └─ START_TIMEOUT              the same; the process is stopped
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from reed.errors import ReedError
from reed.process_handle import ProcessHandle

START_TIMEOUT = 30.0  # seconds; a large store may have to be recovered
STOP_TIMEOUT = 30.0  # plugins have 5 + 2 seconds to stop
_POLL_INTERVAL = 0.02  # only without pidfds
_LOG_LINES = 10


def command(*flags: str) -> list[str]:
    """-P keeps modules of the working directory out of the core."""
    return [sys.executable, "-P", "-m", "reed", "serve", *flags]


def start(
    words: Sequence[str],
    *,
    log: Path,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    new_session: bool = False,
) -> CoreProcess:
    """Run a command line that executes `reed serve`, until the core serves. Its output is appended to `log`.

    Raises ReedError with the end of the log.
    """
    with log.open("ab") as output, NotifySocket() as ready:
        since = output.tell()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**(os.environ if environ is None else environ), "NOTIFY_SOCKET": ready.address},
            start_new_session=new_session,
        )
        process.returncode = 0  # CoreProcess waits for it, so Popen must not
        core = CoreProcess(process.pid, log)
        core.wait_until_ready(ready, since)
    return core


class NotifySocket:
    """The datagram socket on which a core announces that it serves (sd_notify)."""

    def __enter__(self) -> NotifySocket:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("")  # an abstract name, since a path may be too long
        self.address = "@" + self._socket.getsockname()[1:].decode()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def is_ready(self) -> bool:
        try:
            return self._socket.recv(64, socket.MSG_DONTWAIT) == b"READY=1"
        except BlockingIOError:
            return False


class CoreProcess:
    """A child process that is, or becomes, a core. `returncode` is as in subprocess.Popen."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._log = log
        self._handle = ProcessHandle(pid)

    def wait_until_ready(self, ready: NotifySocket, since: int = 0) -> None:
        """Raises ReedError with what was logged from byte `since` on; the process has then ended."""
        deadline = time.monotonic() + START_TIMEOUT
        try:
            while not ready.is_ready():
                if self.poll() is not None:
                    raise self.error(f"the core {_ending(self.returncode)} before it was ready", since)
                if time.monotonic() >= deadline:
                    raise self.error(f"the core was not ready within {START_TIMEOUT:g} s", since)
                _wait(self._handle, deadline, ready.fileno())
        except BaseException:
            self.stop()
            raise

    def poll(self) -> int | None:
        """None while the process runs."""
        if self.returncode is not None:
            return self.returncode
        try:
            result = self._handle.wait()
        except ChildProcessError:  # reaped by the kernel, because this process ignores SIGCHLD
            self.returncode = 0
        else:
            if result is None:
                return None
            self.returncode = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        self._handle.close()
        return self.returncode

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Raises ReedError after the timeout."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise self.error(f"the core (pid {self.pid}) did not exit within {timeout:g} s")
            _wait(self._handle, deadline)
        return code

    def send_signal(self, number: int) -> None:
        """No error if the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)  # an unreaped child keeps its pid

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """SIGTERM, and SIGKILL after the timeout."""
        self.send_signal(signal.SIGTERM)
        self.send_signal(signal.SIGCONT)  # a suspended process would not handle SIGTERM
        try:
            return self.wait(timeout)
        except ReedError:
            return self.kill()

    def kill(self) -> int:
        self.send_signal(signal.SIGKILL)
        return self.wait()

    def detach(self) -> None:
        """Let the process outlive this one."""
        self._handle.close()

    def error(self, message: str, since: int = 0) -> ReedError:
        return ReedError(f"{message}; the end of {self._log}:\n{_last_lines(self._log, since)}")

    def exit_error(self) -> ReedError:
        """For a core that exited by itself."""
        return self.error(f"the core (pid {self.pid}) {_ending(self.poll())}")


def wait_for_exit(process: ProcessHandle, timeout: float) -> bool:
    """False after the timeout. The process need not be a child."""
    deadline = time.monotonic() + timeout
    while not process.has_ended():
        if time.monotonic() >= deadline:
            return False
        _wait(process, deadline)
    return True


def _last_lines(log: Path, since: int = 0) -> str:
    try:
        with log.open("rb") as file:
            file.seek(since)
            lines = file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
    except FileNotFoundError:
        lines = []
    if not lines:
        return f"    ({'it logged nothing' if os.statvfs(log.parent).f_bavail else 'the disk of the log is full'})"
    return "\n".join(f"    {line}" for line in lines)


def _wait(process: ProcessHandle, deadline: float, *readers: int) -> None:
    """Until the process has exited, a reader is readable, or the deadline has passed; may return early."""
    poller = select.poll()
    for fd in (process.fd, *readers):
        if fd >= 0:
            poller.register(fd, select.POLLIN)
    left = max(deadline - time.monotonic(), 0)
    poller.poll((left if process.fd >= 0 else min(left, _POLL_INTERVAL)) * 1000)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with status {code}"
