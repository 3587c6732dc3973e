"""A core in the background: started, found again, stopped.

`start` waits until the core serves or has exited (`reed.core_process`), and leaves it running.
`stop` finds it by <runtime folder>/pid/core.pid, "PID STARTTIME": a pid with another start time is somebody else's.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reed import core_process
from reed.client import Client, core_socket
from reed.core_process import STOP_TIMEOUT, wait_for_exit
from reed.errors import CoreNotRunning, ReedError, RuntimeFolderError
from reed.process_handle import ProcessHandle, owner, runs, start_time
from reed.runtime_paths import used_folder
from reed.system_calls import needed, require_proc

if TYPE_CHECKING:
    from reed.config import Config

_POLL_INTERVAL = 0.02  # seconds between two looks at the figures of a core that restarts


def launch(config: Config, flags: Sequence[str]) -> int:
    """Start `reed serve` with these flags; its pid, when it is ready. ReedError shows why it is not."""
    socket_path = core_socket(config.runtime_dir)
    if (pid := _who_runs(socket_path)) is not None:
        raise RuntimeFolderError(f"a core (pid {pid}) runs on {config.runtime_dir} already", hint="`reed stop` ends it")
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = log_path(config)
    with needed("setsid", "a core in the background"):
        core = core_process.start(core_process.command(*flags, f"--log-file={log}"), log=log, new_session=True)
    core.detach()
    return core.pid


def log_path(config: Config) -> Path:
    """Where a core in the background logs."""
    return config.log_file or config.data_dir / "core.log"


def _who_runs(socket_path: str) -> int | None:
    try:
        with Client(socket_path, timeout=5) as core:
            return int(core.stats()["pid"])
    except CoreNotRunning:
        return None


def terminate(runtime_dir: str) -> int:
    """Send the core of a runtime folder SIGTERM and wait until it is gone; its pid."""
    pid, started = _found(runtime_dir)
    with _handle(pid, started) as process:
        if process is not None and _signal(process, signal.SIGTERM) and not wait_for_exit(process, STOP_TIMEOUT):
            raise ReedError(
                f"the core (pid {pid}) got SIGTERM and still runs after {STOP_TIMEOUT:g} s",
                hint=f"look at its log, or end it: kill -9 {pid}",
            )
    return pid


def restart(runtime_dir: str) -> int:
    """Send the core of a runtime folder SIGUSR2 and wait until it runs anew; its pid. ReedError says why not."""
    pid, started = _found(runtime_dir)
    with Client(core_socket(runtime_dir)) as core:
        before = core.stats()
        with _handle(pid, started) as process:
            if process is None or not _signal(process, signal.SIGUSR2):
                raise CoreNotRunning(f"the core (pid {pid}) has ended", hint="start it with: reed start")
        until = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)
            now = core.stats()
            if now["restarts"] > before["restarts"]:
                return pid
            if now["restarts_refused"] > before["restarts_refused"]:
                raise ReedError(f"the core refused to restart: {now['restart_refused']}", hint="the old one goes on")
    raise ReedError(f"the core (pid {pid}) did not restart within {STOP_TIMEOUT:g} s", hint="its log says more")


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


@contextlib.contextmanager
def _handle(pid: int, started: int) -> Iterator[ProcessHandle | None]:
    """None when that very process is gone."""
    try:
        process = ProcessHandle(pid, started)
    except ProcessLookupError:
        yield None
        return
    with process:
        yield process


def _signal(process: ProcessHandle, number: signal.Signals) -> bool:
    """Send a Unix signal; False when the process is gone."""
    try:
        process.send(number)
    except PermissionError:
        raise ReedError(
            f"the core (pid {process.pid}) belongs to user {owner(f'/proc/{process.pid}')}",
            hint="that user, or root, may do that",
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
