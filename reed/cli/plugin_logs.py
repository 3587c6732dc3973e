"""`reed plugin logs`."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from typing import TextIO

from reed.cli.options import config, connect
from reed.cli.output import Output
from reed.cli.parse import Args
from reed.errors import CoreNotRunning, PluginNotFound
from reed.text import safe

_POLL_INTERVAL = 0.1  # seconds


def logs(args: Args, output: Output) -> int:
    path = _log_path(args)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in deque(file, maxlen=args.number("--lines", 100)):
                _print(output, line)
            if args.has("--follow"):
                for line in follow(file, path):
                    _print(output, line)
                    output.stream.flush()
    except FileNotFoundError:
        output.info(f"{args.arg('NAME')} has no log yet ({path})")
    return 0


def _print(output: Output, line: str) -> None:
    if output.as_json:
        output.json(line.rstrip("\n"))
    else:
        output.stream.write(safe(line.rstrip("\n")) + "\n" if output.is_terminal else line)


def _log_path(args: Args) -> str:
    """As the core reports; without a core, as the settings imply."""
    name = args.arg("NAME")
    try:
        with connect(args) as core:
            return str(core.plugin_health(name)[0]["log"])
    except (CoreNotRunning, PluginNotFound):
        path = config(args).data_dir / "logs" / f"{name}.log"
        if "/" in name or not path.exists():
            raise
        return str(path)


def follow(file: TextIO, path: str) -> Iterator[str]:
    """Yield new lines forever, across log rotations."""
    current = file
    unfinished = ""
    while True:
        line = current.readline()
        if line:
            unfinished += line
            if unfinished.endswith("\n"):
                yield unfinished
                unfinished = ""
        elif _is_rotated(current, path):
            current = open(path, encoding="utf-8", errors="replace")  # noqa: SIM115
        else:
            time.sleep(_POLL_INTERVAL)


def _is_rotated(file: TextIO, path: str) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
