"""The end of a plugin's log, and what is added to it."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import AsyncIterator
from typing import BinaryIO, NamedTuple

from reed.text import safe_lines

_POLL_SECONDS = 0.5
_TAIL = 64 * 1024  # bytes
_CHUNK = 64 * 1024
_DECODER = codecs.getincrementaldecoder("utf-8")


class Tail(NamedTuple):
    text: str
    place: str  # where it ended, for `follow`


def tail(path: str) -> Tail:
    """The last lines, at most 64 KB. Raises OSError."""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        file.seek(max(0, status.st_size - _TAIL))
        data = file.read(_TAIL)
    if status.st_size > _TAIL:
        data = data.partition(b"\n")[2]
    return Tail(safe_lines(data.decode("utf-8", "replace")), f"{status.st_ino}-{status.st_size}")


async def follow(path: str, place: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Yields ("text", {"text": what was added after `place`, "place"}) until cancelled, also when it is rotated."""
    file = _opened(path, place)
    decoder = _DECODER("replace")
    try:
        while True:
            data = file.read(_CHUNK) if file else b""
            if file and data:
                text = safe_lines(decoder.decode(data))
                yield "text", {"text": text, "place": f"{os.fstat(file.fileno()).st_ino}-{file.tell()}"}
                continue
            if file is None or _is_rotated(file, path):
                if file:
                    file.close()
                file, decoder = _opened(path, ""), _DECODER("replace")
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        if file:
            file.close()


def _opened(path: str, place: str) -> BinaryIO | None:
    """At `place` if that is of this file, else at its beginning; None if it is not there."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError:
        return None
    inode, _, offset = place.partition("-")
    status = os.fstat(file.fileno())
    if inode == str(status.st_ino) and offset.isdecimal():
        file.seek(min(int(offset), status.st_size))
    return file


def _is_rotated(file: BinaryIO, path: str) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except OSError:
        return True
