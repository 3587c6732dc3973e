"""The last lines of a log, and those that follow, across rotations.

tail    reads blocks from the end until it has enough lines
follow  waits for further lines; reads
            the rest of the old file, then the new one, if the path leads to another file
            from the beginning, if the file is shorter than what was read of it: it was emptied
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from reed.cli.output import Output
from reed.cli.parse import U32, Args, Option
from reed.text import safe

OPTIONS = (
    Option("--follow", help="keep printing new lines", short="-f"),
    Option("--lines", "N", "print the last N lines (100; 0: none)", number=U32, short="-n"),
)
_POLL_INTERVAL = 0.1  # seconds
_BLOCK = 64 * 1024


def show(path: str, args: Args, output: Output) -> None:
    """As `OPTIONS` say. Some of the last lines may be in the file that was renamed last. Raises FileNotFoundError."""
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
    current, unfinished, is_old = file, b"", False
    while True:
        line = current.readline()
        if line:
            unfinished += line
            if unfinished.endswith(b"\n"):
                yield unfinished
                unfinished = b""
        elif is_old:  # it was read to its end after the rename
            current, unfinished, is_old = _open(path, current), b"", False
        elif _is_replaced(current, path):
            is_old = True
        elif os.fstat(current.fileno()).st_size < current.tell():
            current.seek(0)
        else:
            time.sleep(_POLL_INTERVAL)


def _open(path: str, old: BinaryIO) -> BinaryIO:
    """The new file; the old one if that is gone again."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return old


def _is_replaced(file: BinaryIO, path: str) -> bool:
    try:
        return not os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
