"""A core in the background: started, found again, stopped.

`start` is told that the core is ready by systemd's protocol (NOTIFY_SOCKET), which `reed serve` speaks anyway.
`stop` finds it by <runtime folder>/pid/core.pid, "PID STARTTIME": a pid with another start time is somebody else's.
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

_START_TIME = 30.0  # seconds until the core must be ready: it may have a big store to look through
_STOP_TIME = 30.0  # until it must be gone: its plugins have 5 + 2 seconds
_LOOK_EVERY = 0.02
_LOG_LINES = 10


def launch(config: Config, flags: Sequence[str]) -> int:
    """Start `reed serve` with these flags; its pid, when it is ready. ReedError shows why it is not."""
    socket_path = core_socket(config.runtime_dir)
    if (pid := _who_runs(socket_path)) is not None:
        raise RuntimeFolderError(f"a core (pid {pid}) runs on {config.runtime_dir} already", hint="`reed stop` ends it")
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_file = log_path(config)
    with log_file.open("ab") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        written = log.tell()
        ready.bind("")  # the kernel chooses an abstract name
        ready.settimeout(_LOOK_EVERY)
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
            raise ReedError("the core did not start\n" + _last_lines(log_file, written), hint=f"its log is {log_file}")
    process.returncode = 0  # it goes on without us
    return process.pid


def log_path(config: Config) -> Path:
    """Where a core in the background logs."""
    return config.log_file or config.data_dir / "core.log"


def _is_ready(process: subprocess.Popen[bytes], ready: socket.socket) -> bool:
    until = time.monotonic() + _START_TIME
    while time.monotonic() < until:
        try:
            if ready.recv(64) == b"READY=1":
                return True
        except TimeoutError:
            if process.poll() is not None:
                return False
    process.terminate()
    return False


def _who_runs(socket_path: str) -> int | None:
    try:
        with Client(socket_path, timeout=5) as core:
            return int(core.stats()["pid"])
    except CoreNotRunning:
        return None


def _last_lines(path: Path, since: int) -> str:
    with path.open("rb") as file:
        file.seek(since)
        lines = file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
    return "\n".join(f"    {line}" for line in lines) if lines else "    (it wrote nothing)"


def terminate(runtime_dir: str) -> int:
    """Send the core of a runtime folder SIGTERM and wait until it is gone; its pid."""
    pid, started = _found(runtime_dir)
    if not _signal(pid, started, signal.SIGTERM):
        return pid
    until = time.monotonic() + _STOP_TIME
    while runs(pid, started):
        if time.monotonic() > until:
            raise ReedError(
                f"the core (pid {pid}) got SIGTERM and still runs after {_STOP_TIME:g} s",
                hint=f"look at its log, or end it: kill -9 {pid}",
            )
        time.sleep(_LOOK_EVERY)
    return pid


def restart(runtime_dir: str) -> int:
    """Send the core of a runtime folder SIGUSR2 and wait until it runs anew; its pid. ReedError says why not."""
    pid, started = _found(runtime_dir)
    with Client(core_socket(runtime_dir)) as core:
        before = core.stats()
        if not _signal(pid, started, signal.SIGUSR2):
            raise CoreNotRunning(f"the core (pid {pid}) has ended", hint="start it with: reed start")
        until = time.monotonic() + _STOP_TIME
        while time.monotonic() < until:
            time.sleep(_LOOK_EVERY)
            now = core.stats()
            if now["restarts"] > before["restarts"]:
                return pid
            if now["restarts_refused"] > before["restarts_refused"]:
                raise ReedError(f"the core refused to restart: {now['restart_refused']}", hint="the old one goes on")
    raise ReedError(f"the core (pid {pid}) did not restart within {_STOP_TIME:g} s", hint="its log says more")


def _found(runtime_dir: str) -> tuple[int, int]:
    """The pid and start time of the core that runs on a runtime folder."""
    require_proc()
    path = Path(used_folder(runtime_dir)) / "pid" / "core.pid"
    try:
        found = _read_pid_file(path)
    except PermissionError as error:
        raise ReedError(
            f"{error.filename}: permission denied; the folder belongs to user {owner(runtime_dir)}",
            hint="that user, or root, may do that",
        ) from None
    if found is None or not runs(*found):
        raise _none_found(runtime_dir, found)
    return found


def _none_found(runtime_dir: str, found: tuple[int, int] | None) -> ReedError:
    """There is no core, or one that answers and whose process is not what the file says it is, seen from here."""
    path = core_socket(runtime_dir)
    if found is None or _who_runs(path) is None:
        return CoreNotRunning(f"core not running: none on {runtime_dir}", hint="start it with: reed start")
    kind = "time" if start_time(found[0]) is not None else "PID"
    return ReedError(
        f"a core answers on {path}, but its process (pid {found[0]} in its pid file) is not to be found here: "
        f"it runs in another {kind} namespace, as in a container",
        hint="run this command in there",
    )


def _signal(pid: int, started: int, number: signal.Signals) -> bool:
    """Send that very process a Unix signal; False when it is gone."""
    try:
        with ProcessHandle(pid, started) as process:
            process.send(number)
    except PermissionError:
        raise ReedError(
            f"the core (pid {pid}) belongs to user {owner(f'/proc/{pid}')}", hint="that user, or root, may do that"
        ) from None
    except ProcessLookupError:
        return False
    return True


def _read_pid_file(path: Path) -> tuple[int, int] | None:
    """The pid and the start time in the file."""
    try:
        pid, started = map(int, path.read_text("ascii").split())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return pid, started
