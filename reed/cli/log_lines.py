"""The last lines of a log, and those that follow, across rotations (reed.followed_log).

tail    reads blocks from the end until it has enough lines
follow  waits for further lines
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from reed.cli.output import Output
from reed.cli.parse import Args
from reed.followed_log import additions
from reed.text import safe

_POLL_INTERVAL = 0.1  # seconds
_BLOCK = 64 * 1024


def show(path: str, args: Args, output: Output) -> None:
    """As parse.LOG_OPTIONS say. Some of the last lines may be in the file that was renamed last.

    Raises FileNotFoundError.
    """
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
    current: BinaryIO | None = file
    unfinished = b""
    for source, data in additions(file, path):
        if source is not current:
            current, unfinished = source, b""
        if not data:
            time.sleep(_POLL_INTERVAL)
        *lines, unfinished = (unfinished + data).split(b"\n")
        for line in lines:
            yield line + b"\n"
