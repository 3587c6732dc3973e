"""The files of a store in its data folder, and how to tell, remove and flush one.

    content.db           FILE
    content-search.db    its search index, of which `index_path` is the path
    …-wal, …-shm         the log of either, and the index of the log

`layout_of` tells whose database an open one is.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

FILE = "content.db"
SUFFIXES = ("", "-wal", "-shm")


def index_path(path: str) -> str:
    """content-search.db beside content.db, the file that `path` leads to."""
    stem, suffix = os.path.splitext(os.path.realpath(path))
    return f"{stem}-search{suffix}"


def layout_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """Whose tables these are (application_id), and their version (user_version)."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application_id, version


def remove(path: str) -> None:
    """A database and its log, if they exist."""
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


def sync(path: str) -> None:
    """Write a file, or the names in a folder, to the disk, so that they survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
