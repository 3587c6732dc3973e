"""`reed logs` and `reed plugin logs`: the last lines of a log, and those that follow, across rotations.

A running core's log is the file that its stderr leads to, so an option of `reed start` need not be repeated. Without a
core, or where /proc of its process cannot be read, the settings say where the log is. A plugin's log is where the core
reports, or without a core where the settings imply.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO

from reed.cli import background
from reed.cli.options import config, connect, runtime_dir
from reed.cli.output import Output
from reed.cli.parse import CONFIG, LOG, Args, Option, Subcommand
from reed.errors import CoreNotRunning, PluginNotFound, ReedError
from reed.followed_log import lines
from reed.text import safe

_POLL_INTERVAL = 0.1  # seconds
_BLOCK = 64 * 1024
_STDERR = 2
_DELETED = " (deleted)"


def logs(args: Args, output: Output) -> None:
    path = _log_path_of_core(args)
    try:
        _show(path, args, output)
    except FileNotFoundError:
        raise ReedError(
            f"{path}: there is no log",
            hint="the core has not been started with these settings; --log-file and --data-dir name another place",
        ) from None


def _log_path_of_core(args: Args) -> str:
    """Raises ReedError if the running core does not log to a file."""
    pid = _running_pid(runtime_dir(args)) if not (args.has("--log-file") or args.has("--data-dir")) else None
    if pid is not None:
        with suppress(OSError):  # the process of another user
            return _file_of(pid)
    return os.fspath(background.log_path(config(args)))


def _running_pid(folder: str) -> int | None:
    """From the pid file. A core in another PID namespace has another process at this pid, or none."""
    try:
        found = background.find_process(folder)
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


def plugin_logs(args: Args, output: Output) -> None:
    path = _log_path_of_plugin(args)
    try:
        _show(path, args, output)
    except FileNotFoundError:
        output.info(f"{args.arg('NAME')} has no log yet ({path})")


def _log_path_of_plugin(args: Args) -> str:
    name = args.arg("NAME")
    try:
        with connect(args) as core:
            return str(core.plugin_health(name)[0]["log"])
    except (CoreNotRunning, PluginNotFound):
        path = config(args).data_dir / "logs" / f"{name}.log"
        if "/" in name or not path.exists():
            raise
        return str(path)


def _show(path: str, args: Args, output: Output) -> None:
    """As the options LOG say. Some of the last lines may be in the file that was renamed. Raises FileNotFoundError."""
    count = args.number("--lines", 100)
    with open(path, "rb") as file:
        found = tail(file, count)
        for line in [*_before_rotation(path, count - len(found)), *found]:
            _print(output, line)
        if args.has("--follow"):
            output.stream.flush()
            for line in follow(file, path):
                _print(output, line)
                output.stream.flush()


def _print(output: Output, line: bytes) -> None:
    text = line.decode("utf-8", "replace").rstrip("\n")
    if output.as_json:
        output.json(text)
    else:
        output.stream.write((safe(text) if output.is_terminal else text) + "\n")


def _before_rotation(path: str, count: int) -> list[bytes]:
    if count <= 0:
        return []
    try:
        with open(f"{path}.1", "rb") as file:
            return tail(file, count)
    except FileNotFoundError:
        return []


def tail(file: BinaryIO, count: int) -> list[bytes]:
    """The last `count` lines, complete ones and one at the end that is not; the file is then at its end."""
    position = size = file.seek(0, os.SEEK_END)
    found = b""
    while count and position and found.count(b"\n", 0, len(found) - 1) < count:
        start = max(position - _BLOCK, 0)
        file.seek(start)
        found = file.read(position - start) + found
        position = start
    file.seek(size)
    return BytesIO(found).readlines()[-count:] if count else []


def follow(file: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield new complete lines forever."""
    for line in lines(file, path):
        if line is None:
            time.sleep(_POLL_INTERVAL)
        else:
            yield line + b"\n"


SUBCOMMANDS = {
    "logs": Subcommand(
        logs,
        "",
        "Print the log of the core",
        (
            *LOG,
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
