"""Start, stop and restart a core in the background.

The core reports that it is ready through systemd's NOTIFY_SOCKET. Its pid file, <runtime folder>/pid/core.pid, holds
"PID STARTTIME"; the start time detects a pid that was reused by another process.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reed.client import Client, core_socket
from reed.errors import CoreNotRunning, ReedError, RuntimeFolderError
from reed.process_handle import ProcessHandle, owner, runs, start_time
from reed.runtime_paths import used_folder
from reed.system_calls import needed, require_proc

if TYPE_CHECKING:
    from reed.config import Config

_START_TIMEOUT = 30.0  # seconds; a large store takes time to open
_STOP_TIMEOUT = 30.0  # its plugins have 5 + 2 seconds
_POLL_INTERVAL = 0.02
_LOG_LINES = 10


def launch(config: Config, flags: Sequence[str]) -> int:
    """Start `reed serve` with these flags and return its pid once it is ready; ReedError shows the end of its log."""
    socket_path = core_socket(config.runtime_dir)
    if (pid := _running_pid(socket_path)) is not None:
        raise RuntimeFolderError(
            f"a core (pid {pid}) already runs on {config.runtime_dir}", hint="`reed stop` stops it"
        )
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_file = log_path(config)
    with log_file.open("ab") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        written = log.tell()
        ready.bind("")  # the kernel chooses an abstract name
        ready.settimeout(_POLL_INTERVAL)
        with needed("setsid", "a core in the background"):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "reed", "serve", *flags, f"--log-file={log_file}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": "@" + ready.getsockname()[1:].decode()},
            )
        if not _is_ready(process, ready):
            raise ReedError("the core did not start\n" + _last_lines(log_file, written), hint=f"full log: {log_file}")
    process.returncode = 0  # or the destructor would warn that the process still runs
    return process.pid


def log_path(config: Config) -> Path:
    return config.log_file or config.data_dir / "core.log"


def _is_ready(process: subprocess.Popen[bytes], ready: socket.socket) -> bool:
    until = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < until:
        try:
            if ready.recv(64) == b"READY=1":
                return True
        except TimeoutError:
            if process.poll() is not None:
                return False
    process.terminate()
    return False


def _running_pid(socket_path: str) -> int | None:
    try:
        with Client(socket_path, timeout=5) as core:
            return int(core.stats()["pid"])
    except CoreNotRunning:
        return None


def _last_lines(path: Path, since: int) -> str:
    with path.open("rb") as file:
        file.seek(since)
        lines = file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
    return "\n".join(f"    {line}" for line in lines) if lines else "    (no output)"


def terminate(runtime_dir: str) -> int:
    """Stop the core of a runtime folder and return its pid."""
    pid, started = _find_core(runtime_dir)
    if not _signal(pid, started, signal.SIGTERM):
        return pid
    until = time.monotonic() + _STOP_TIMEOUT
    while runs(pid, started):
        if time.monotonic() > until:
            raise ReedError(
                f"the core (pid {pid}) did not stop within {_STOP_TIMEOUT:g} s after SIGTERM",
                hint=f"see its log, or kill it: kill -9 {pid}",
            )
        time.sleep(_POLL_INTERVAL)
    return pid


def restart(runtime_dir: str) -> int:
    """Restart the core of a runtime folder and return its pid; ReedError if it refuses."""
    pid, started = _find_core(runtime_dir)
    with Client(core_socket(runtime_dir)) as core:
        before = core.stats()
        if not _signal(pid, started, signal.SIGUSR2):
            raise CoreNotRunning(f"the core (pid {pid}) has exited", hint="start it with: reed start")
        until = time.monotonic() + _STOP_TIMEOUT
        while time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)
            now = core.stats()
            if now["restarts"] > before["restarts"]:
                return pid
            if now["restarts_refused"] > before["restarts_refused"]:
                raise ReedError(f"the core refused to restart: {now['restart_refused']}", hint="it keeps running")
    raise ReedError(f"the core (pid {pid}) did not restart within {_STOP_TIMEOUT:g} s", hint="see its log")


def _find_core(runtime_dir: str) -> tuple[int, int]:
    """The pid and start time of the core on a runtime folder."""
    require_proc()
    path = Path(used_folder(runtime_dir)) / "pid" / "core.pid"
    try:
        found = _read_pid_file(path)
    except PermissionError as error:
        raise ReedError(
            f"{error.filename}: permission denied; the folder belongs to user {owner(runtime_dir)}",
            hint="run the command as that user or root",
        ) from None
    if found is None or not runs(*found):
        raise _not_found(runtime_dir, found)
    return found


def _not_found(runtime_dir: str, found: tuple[int, int] | None) -> ReedError:
    """The error for a core that does not run, or that answers but whose process is not visible here."""
    path = core_socket(runtime_dir)
    if found is None or _running_pid(path) is None:
        return CoreNotRunning(f"core not running: none on {runtime_dir}", hint="start it with: reed start")
    kind = "time" if start_time(found[0]) is not None else "PID"
    return ReedError(
        f"a core answers on {path}, but its process (pid {found[0]} in its pid file) is not visible here: "
        f"it runs in another {kind} namespace, such as a container",
        hint="run this command there",
    )


def _signal(pid: int, started: int, number: signal.Signals) -> bool:
    """Send a Unix signal to the process with this start time; False if it has exited."""
    try:
        with ProcessHandle(pid, started) as process:
            process.send(number)
    except PermissionError:
        raise ReedError(
            f"the core (pid {pid}) belongs to user {owner(f'/proc/{pid}')}", hint="run the command as that user or root"
        ) from None
    except ProcessLookupError:
        return False
    return True


def _read_pid_file(path: Path) -> tuple[int, int] | None:
    try:
        pid, started = map(int, path.read_text("ascii").split())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return pid, started
