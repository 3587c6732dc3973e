"""The end of a plugin's log, and what is added to it."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
from collections.abc import AsyncIterator
from typing import BinaryIO, NamedTuple

from reed.followed_log import additions
from reed.text import safe_lines

_POLL_SECONDS = 0.5
_TAIL = 64 * 1024  # bytes
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
        place = _place(file)
    if status.st_size > _TAIL:
        data = data.partition(b"\n")[2]
    return Tail(safe_lines(data.decode("utf-8", "replace")), place)


def _place(file: BinaryIO) -> str:
    return f"{os.fstat(file.fileno()).st_ino}-{file.tell()}"


async def follow(path: str, place: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Yields ("text", {"text": what was added after `place`, "place"}) until cancelled, also when it is rotated."""
    current, decoder = None, _DECODER("replace")
    with contextlib.closing(additions(_opened(path, place), path)) as added:
        for file, data in added:
            if file is not current:
                current, decoder = file, _DECODER("replace")
            if file and data:
                yield "text", {"text": safe_lines(decoder.decode(data)), "place": _place(file)}
            else:
                await asyncio.sleep(_POLL_SECONDS)


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
