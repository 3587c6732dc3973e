"""The end of a log file, and what is written to it from now on."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from typing import TextIO

_PAUSE = 0.1  # seconds between two looks


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
