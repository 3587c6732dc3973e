"""What `reed doctor` says about a data folder's store. It only reads, and leaves no file that was not there.

a core runs             the file is read with its log
no core, no log         the file is read as one that nobody changes, while a shared lock keeps cores from starting
no core, but a log      a killed core left the log: copies are read, since reading the log would write its index
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from typing import NamedTuple

from reed.store.sqlite.database import APPLICATION_ID, MIGRATIONS
from reed.store.sqlite.files import FILE, connect, errors_of, layout_of

MAX_COPIED = 1024 * 1024 * 1024  # bytes of file and log
_MAX_PROBLEMS = 3


class Inspection(NamedTuple):
    path: str
    size: int  # bytes
    log_size: int  # of the log, -wal
    is_log_unread: bool = False  # a killed core left a log, and with it the file is too large to copy: nothing was read
    is_ours: bool = True
    schema: int = len(MIGRATIONS)  # version of the tables
    schema_known: int = len(MIGRATIONS)
    problems: tuple[str, ...] = ()  # of the integrity check
    snippets: int = 0


def library() -> tuple[str, bool]:
    """The version of SQLite, and whether it has FTS5."""
    with closing(sqlite3.connect(":memory:")) as connection:
        (has_fts5,) = connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()
    return sqlite3.sqlite_version, bool(has_fts5)


def inspect(folder: str) -> Inspection | None:
    """None: there is no store. Raises StoreFailed, OSError."""
    path = os.path.join(folder, FILE)
    if not os.path.exists(path):
        return None
    size = os.path.getsize(path)
    log_size = os.path.getsize(path + "-wal") if os.path.exists(path + "-wal") else 0
    lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # no core starts meanwhile
    except BlockingIOError:
        return _read(path, path, "mode=ro", size, log_size)
    else:
        if not log_size:
            return _read(path, path, "mode=ro&immutable=1", size, log_size)
        if size + log_size > MAX_COPIED:
            return Inspection(path, size, log_size, is_log_unread=True)
        with tempfile.TemporaryDirectory(prefix="reed-doctor-") as scratch:
            copy = os.path.join(scratch, FILE)
            for suffix in ("", "-wal"):
                shutil.copyfile(path + suffix, copy + suffix)
            return _read(copy, path, "mode=rw", size, log_size)
    finally:
        os.close(lock)


def _read(file: str, name: str, options: str, size: int, log_size: int) -> Inspection:
    """`name` stands for the file in messages."""
    with errors_of(name), closing(connect(file, options)) as connection:
        application_id, schema = layout_of(connection)
        if application_id != APPLICATION_ID:
            return Inspection(name, size, log_size, is_ours=False, schema=schema)
        problems = tuple(text for (text,) in connection.execute(f"PRAGMA quick_check({_MAX_PROBLEMS})"))
        (snippets,) = connection.execute("SELECT count(*) FROM snippets").fetchone()
    if problems == ("ok",):
        problems = ()
    return Inspection(name, size, log_size, schema=schema, problems=problems, snippets=snippets)
