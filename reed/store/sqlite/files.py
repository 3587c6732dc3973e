"""The files of a store in its data folder, and how another process than the core opens them.

    content.db           FILE
    content-search.db    its search index, of which `index_path` is the path
    …-wal, …-shm         the log of either, and the index of the log

`layout_of` tells whose database an open one is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import quote

from reed.errors import CallError, StoreFailed, StoreFull

FILE = "content.db"
SUFFIXES = ("", "-wal", "-shm")
BUSY_MILLISECONDS = 1000

_open: dict[Source, sqlite3.Connection] = {}  # at most one, for the next job
_attached: list[Source] = []  # the index file that it has attached, if any
_written: dict[Source, sqlite3.Connection] = {}  # the indexer's connection to its file, for the next job


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


# A worker opens the files by path. By then a path may lead to another file, so a source also says which one is meant.


class Source(NamedTuple):
    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, path: str, found: os.stat_result) -> Source:
        return cls(path, found.st_dev, found.st_ino)

    @property
    def index_path(self) -> str:
        """content-search.db beside content.db."""
        return index_path(self.path)

    def check(self) -> None:
        """Raises StoreFailed unless the path leads to this file."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise StoreFailed(f"{self.path}: {error.strerror}", hint="put it back, or restart the core") from None
        if Source.of(self.path, found) != self:
            raise StoreFailed(f"{self.path} was replaced by another file", hint="put it back, or restart the core")


@contextmanager
def snapshot(source: Source, *, with_index: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that reads what is committed by now, in one transaction; with the search index as `index_file`.
    It is kept open for the next job. Raises sqlite3.Error, StoreFailed."""
    source = Source(*source)
    try:
        connection = _connection(source)
        if with_index:
            _attach_index(connection, source.index_path)
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        close_connections()
        raise


def is_disk_full(path: str) -> bool:
    """SQLite reports a shared-memory file that cannot grow as an I/O error, not SQLITE_FULL."""
    found = os.statvfs(os.path.dirname(path) or ".")
    return found.f_bavail * found.f_frsize < 64 * 1024


def file_error(path: str, error: sqlite3.Error) -> CallError:
    """The error to send for an error of SQLite in a worker."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_disk_full(path)):
        return StoreFull(f"the disk of {path} is full", hint="free some space and try again")
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreFailed(f"{path} is damaged: {error}", hint="restore a backup, or `reed export` what is left")
    return StoreFailed(f"{path}: {error}", hint="see the disk and the log")


@contextmanager
def errors_of(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise file_error(path, error) from error


def close_connections() -> None:
    _close_open()
    while _written:
        _written.popitem()[1].close()


def _close_open() -> None:
    _attached.clear()
    while _open:
        _open.popitem()[1].close()


def written_index(path: str, opened: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """The indexer's connection to the file at `path`: that of the job before, or a new one from `opened`. Opening it
    again for each job takes a checkpoint each time."""
    with suppress(FileNotFoundError):
        if (kept := _written.get(Source.of(path, os.stat(path)))) is not None:
            return kept
    close_connections()
    connection = opened()
    _written[Source.of(path, os.stat(path))] = connection
    return connection


def _connection(source: Source) -> sqlite3.Connection:
    if source not in _open:
        _close_open()
        source.check()
        _open[source] = connect(source.path)
    return _open[source]


def _attach_index(connection: sqlite3.Connection, path: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}", hint="`reed search index` makes it again") from None
    wanted = Source.of(path, found)
    if _attached != [wanted]:
        if _attached:
            connection.execute("DETACH index_file")
            _attached.clear()
        connection.execute("ATTACH ? AS index_file", (f"file:{quote(path)}?mode=ro",))
        _attached.append(wanted)


def connect(path: str, options: str = "mode=ro") -> sqlite3.Connection:
    """`options`: see SQLite's URI filenames."""
    uri = f"file:{quote(path)}?{options}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)  # as in `database`
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection
