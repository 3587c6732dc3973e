"""`reed plugin logs`: the end of a plugin's log, and what is written to it from now on."""

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

_PAUSE = 0.1  # seconds between two looks


def show(args: Args, output: Output) -> int:
    path = _log_path(args)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in last_lines(file, args.number("--lines", 100)):
                _log_line(output, line)
            if args.has("--follow"):
                for line in follow(file, path):
                    _log_line(output, line)
                    output.stream.flush()
    except FileNotFoundError:
        output.say(f"{args.word('NAME')} has written nothing yet ({path})")
    return 0


def _log_line(output: Output, line: str) -> None:
    if output.as_json:
        output.json(line.rstrip("\n"))
    else:
        output.stream.write(safe(line.rstrip("\n")) + "\n" if output.is_terminal else line)


def _log_path(args: Args) -> str:
    """The core knows where it writes; when it does not run, the settings say."""
    name = args.word("NAME")
    try:
        with connect(args) as core:
            return str(core.plugin_health(name)[0]["log"])
    except (CoreNotRunning, PluginNotFound):
        path = config(args).data_dir / "logs" / f"{name}.log"
        if "/" in name or not path.exists():
            raise
        return str(path)


def last_lines(file: TextIO, count: int) -> list[str]:
    """The last lines of a file; it is read to its end."""
    return list(deque(file, maxlen=max(count, 0)))


def follow(file: TextIO, path: str) -> Iterator[str]:
    """Lines as they are written, for ever; also when the file is put aside and a new one begun under its name."""
    current = file
    unfinished = ""
    while True:
        line = current.readline()
        if line:
            unfinished += line
            if unfinished.endswith("\n"):
                yield unfinished
                unfinished = ""
            continue
        if _is_another(current, path):
            current = open(path, encoding="utf-8", errors="replace")  # noqa: SIM115
            continue
        time.sleep(_PAUSE)


def _is_another(file: TextIO, path: str) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
