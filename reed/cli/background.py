"""`reed start`, `stop` and `restart`: a core in the background.

The start time in the pid file tells whether the pid was reused.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reed import core_process
from reed.cli.core import SETTINGS
from reed.cli.options import config, runtime_dir
from reed.cli.output import Output, print_error
from reed.cli.parse import Args
from reed.client import Client, core_socket
from reed.core_process import STOP_TIMEOUT, wait_for_exit
from reed.errors import CoreNotRunning, ReedError, RuntimeFolderError
from reed.process_handle import ProcessHandle, owner, runs, start_time
from reed.runtime_paths import used_folder
from reed.system_calls import needed, require_proc

if TYPE_CHECKING:
    from reed.config import Config

_POLL_INTERVAL = 0.02  # seconds, of the figures of a core that restarts


def start(args: Args, output: Output) -> None:
    from reed.config import unknown_variables

    settings = config(args)
    unknown = {} if output.as_json else unknown_variables(os.environ)
    for name, hint in unknown.items():
        print_error(f"warning: unknown variable {name}; {hint}")
    names = ("--runtime-dir", *(option.name for option in SETTINGS))
    pid = _launch(settings, [f"{name}={value}" for name in names for value in args.texts(name)])
    folder = used_folder(settings.runtime_dir)
    value = {"pid": pid, "runtime_dir": folder, "data_dir": str(settings.data_dir)}
    text = f"core started (pid {pid}): runtime folder {folder}, log {log_path(settings)}"
    output.show(value, text, [[pid, folder]])


def stop(args: Args, output: Output) -> None:
    pid, started = _find_core(runtime_dir(args))
    with _handle(pid, started) as process:
        if process is not None and _signal(process, signal.SIGTERM) and not wait_for_exit(process, STOP_TIMEOUT):
            raise ReedError(
                f"the core (pid {pid}) did not stop within {STOP_TIMEOUT:g} s after SIGTERM",
                hint=f"see its log, or kill it: kill -9 {pid}",
            )
    output.done(f"core stopped (pid {pid})", {"pid": pid})


def restart(args: Args, output: Output) -> None:
    """The core keeps its pid."""
    folder = runtime_dir(args)
    pid, started = _find_core(folder)
    with Client(core_socket(folder)) as core:
        before = core.stats()
        with _handle(pid, started) as process:
            if process is None or not _signal(process, signal.SIGUSR2):
                raise CoreNotRunning(f"the core (pid {pid}) has exited", hint="start it with: reed start")
        until = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)
            now = core.stats()
            if now["restarts"] > before["restarts"]:
                output.done(f"core restarted (pid {pid}); plugins kept running", {"pid": pid})
                return
            if now["restarts_refused"] > before["restarts_refused"]:
                raise ReedError(f"the core refused to restart: {now['restart_refused']}", hint="it keeps running")
    raise ReedError(f"the core (pid {pid}) did not restart within {STOP_TIMEOUT:g} s", hint="see its log")


def _launch(settings: Config, flags: Sequence[str]) -> int:
    """Start `reed serve` with these flags and return its pid once it is ready; ReedError shows the end of its log."""
    socket_path = core_socket(settings.runtime_dir)
    if (pid := _running_pid(socket_path)) is not None:
        raise RuntimeFolderError(
            f"a core (pid {pid}) already runs on {settings.runtime_dir}", hint="`reed stop` stops it"
        )
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = log_path(settings)
    with needed("setsid", "a core in the background"):
        core = core_process.start(core_process.command(*flags, f"--log-file={log}"), log=log, new_session=True)
    core.detach()
    return core.pid


def log_path(settings: Config) -> Path:
    return settings.log_file or settings.data_dir / "core.log"


def _running_pid(socket_path: str) -> int | None:
    try:
        with Client(socket_path, timeout=5) as core:
            return int(core.stats()["pid"])
    except CoreNotRunning:
        return None


def _find_core(folder: str) -> tuple[int, int]:
    """Returns pid and start time."""
    require_proc()
    try:
        found = _read_pid_file(folder)
    except PermissionError as error:
        raise ReedError(
            f"{error.filename}: permission denied; the folder belongs to user {owner(folder)}",
            hint="run the command as that user or root",
        ) from None
    if found is None or not runs(*found):
        raise _not_found(folder, found)
    return found


def find_process(folder: str) -> tuple[int, int] | None:
    """Pid and start time of the core's process; None if it does not run, or not in this PID namespace. Raises
    OSError."""
    found = _read_pid_file(folder)
    return found if found is not None and runs(*found) else None


def _not_found(folder: str, found: tuple[int, int] | None) -> ReedError:
    path = core_socket(folder)
    if found is None or _running_pid(path) is None:
        return CoreNotRunning(f"core not running: none on {folder}", hint="start it with: reed start")
    kind = "time" if start_time(found[0]) is not None else "PID"
    return ReedError(
        f"a core answers on {path}, but its process (pid {found[0]} in its pid file) is not visible here: "
        f"it runs in another {kind} namespace, such as a container",
        hint="run this command there",
    )


@contextlib.contextmanager
def _handle(pid: int, started: int) -> Iterator[ProcessHandle | None]:
    """None if the process has exited."""
    try:
        process = ProcessHandle(pid, started)
    except ProcessLookupError:
        yield None
        return
    with process:
        yield process


def _signal(process: ProcessHandle, number: signal.Signals) -> bool:
    """False if the process has exited."""
    try:
        process.send(number)
    except PermissionError:
        pid = process.pid
        raise ReedError(
            f"the core (pid {pid}) belongs to user {owner(f'/proc/{pid}')}", hint="run the command as that user or root"
        ) from None
    except ProcessLookupError:
        return False
    return True


def _read_pid_file(folder: str) -> tuple[int, int] | None:
    path = Path(used_folder(folder)) / "pid" / "core.pid"
    try:
        pid, started = map(int, path.read_text("ascii").split())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return pid, started
