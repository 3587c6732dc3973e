"""What is added to a log, across rotations, for `reed logs --follow` and the pages of `reed web`.

additions ── reads on ──┬─ the path leads to another file: the rest of the old one, then the new one
                        └─ the file is shorter than what was read: it was emptied, from its beginning
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import BinaryIO

_CHUNK = 64 * 1024


def additions(file: BinaryIO | None, path: str) -> Generator[tuple[BinaryIO | None, bytes], None, None]:
    """Yields (file, what was added to it) forever, and closes its file in the end.

    Without additions it yields b"", and the caller waits before it continues. `file` is None if there is none yet.
    """
    is_old = file is None
    try:
        while True:
            data = file.read(_CHUNK) if file else b""
            if data:
                yield file, data
            elif is_old and (new := _opened(path)):  # the old one was read to its end after the rename
                if file:
                    file.close()
                file, is_old = new, False
            elif file and not is_old and _is_replaced(file, path):
                is_old = True
            elif file and os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            else:
                yield file, b""
    finally:
        if file:
            file.close()


def lines(file: BinaryIO, path: str) -> Iterator[bytes | None]:
    """Each complete line of the additions, without its end; None when there are no more of them yet."""
    current: BinaryIO | None = file
    unfinished = b""
    for source, data in additions(file, path):
        if source is not current:
            current, unfinished = source, b""
        if not data:
            yield None
        *complete, unfinished = (unfinished + data).split(b"\n")
        yield from complete


def _opened(path: str) -> BinaryIO | None:
    try:
        return open(path, "rb")
    except OSError:
        return None


def _is_replaced(file: BinaryIO, path: str) -> bool:
    try:
        return not os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False
