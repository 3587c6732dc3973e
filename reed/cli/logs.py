"""`reed logs`: the log of the core.

A running core's log is the file that its stderr leads to, so an option of `reed start` need not be repeated. Without a
core, or where /proc of its process cannot be read, the settings say where the log is.
"""

from __future__ import annotations

import os
from contextlib import suppress

from reed.cli import daemonize
from reed.cli.log_lines import show
from reed.cli.options import config, runtime_dir
from reed.cli.output import Output
from reed.cli.parse import CONFIG, LOG_OPTIONS, Args, Option, Subcommand
from reed.errors import ReedError
from reed.text import safe

_STDERR = 2
_DELETED = " (deleted)"


def logs(args: Args, output: Output) -> int:
    path = _log_path(args)
    try:
        show(path, args, output)
    except FileNotFoundError:
        raise ReedError(
            f"{path}: there is no log",
            hint="the core has not been started with these settings; --log-file and --data-dir name another place",
        ) from None
    return 0


def _log_path(args: Args) -> str:
    """Raises ReedError if the running core does not log to a file."""
    pid = _running_pid(runtime_dir(args)) if not (args.has("--log-file") or args.has("--data-dir")) else None
    if pid is not None:
        with suppress(OSError):  # the process of another user
            return _file_of(pid)
    return os.fspath(daemonize.log_path(config(args)))


def _running_pid(folder: str) -> int | None:
    """From the pid file. A core in another PID namespace has another process at this pid, or none."""
    try:
        found = daemonize.find_process(folder)
    except OSError:
        return None
    return found[0] if found else None


def _file_of(pid: int) -> str:
    """The file that the process writes its errors to. Raises OSError, ReedError."""
    path = os.readlink(f"/proc/{pid}/fd/{_STDERR}")
    if path.endswith(_DELETED):
        raise ReedError(
            f"{path.removesuffix(_DELETED)} was deleted while the core runs", hint=f"kill -HUP {pid} makes a new one"
        )
    if not os.path.isfile(path):
        raise ReedError(
            f"the core (pid {pid}) logs to {_kind(path)}, not to a file",
            hint="read it there (journalctl -u NAME for a systemd unit), or set log_file in reed.yaml",
        )
    return path


def _kind(link: str) -> str:
    kind = link.partition(":")[0]
    return {"pipe": "a pipe", "socket": "a socket"}.get(kind, safe(link))


SUBCOMMANDS = {
    "logs": Subcommand(
        logs,
        "",
        "Print the log of the core",
        (
            *LOG_OPTIONS,
            Option("--data-dir", "DIR", "core.log of this data folder, not of the running core"),
            Option("--log-file", "F", "this log, not that of the running core"),
            CONFIG,
        ),
        """
`reed plugin logs NAME` prints the log of a plugin. The last lines may come from the file that was renamed last (.1).

  reed logs -f
  reed logs -n 1000 | grep ERROR""",
    ),
}
