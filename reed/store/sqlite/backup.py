"""A copy of content.db as of one commit, made while the core writes, and its way back into a data folder.

    save      copies in one read transaction, so the copy has what was committed when that began, and nothing later;
              checks the copy after the transaction has ended, since the log grows until then
    verify    checks that a file is an intact store whose tables this reed knows
    install   moves the old files into a folder of their own, with their log; the core makes the search index again

Call `install` while `locked` holds the locks of the data folder and of content.db, so that no core starts meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from reed.errors import StoreFailed
from reed.store.sqlite.database import APPLICATION_ID, MIGRATIONS, NEW_EPOCH
from reed.store.sqlite.files import FILE, SUFFIXES, connect, errors_of, file_error, index_path, layout_of, remove, sync

_LOCK = "core.lock"
_MAX_PROBLEMS = 5
# Events that a restored store makes must not have numbers that plugins have seen after the backup.
_EVENTS_SKIPPED = 1_000_000_000


class Figures(NamedTuple):
    schema: int  # version of the tables
    snippets: int
    types: int
    bonds: int
    events: int  # that wait for plugins


def save(folder: str, target: str, name: str) -> Figures:
    """Copy the store of a data folder, whether or not a core runs, to the new file `target`.

    `name` stands for `target` in messages. Raises StoreFailed, and StoreFull if the disk of `target` is full.
    """
    path = os.path.join(folder, FILE)
    try:
        found = os.stat(path)
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}", hint="name the data folder of a site") from None
    try:
        with errors_of(path):
            _copy(path, target, name)
    finally:
        _give_to_owner(path, found)
    return verify(target, path)


def _copy(path: str, target: str, name: str) -> None:
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(connect(path)) as source, closing(connect(target, "")) as copy:
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")  # a temporary file: only what is made of it must survive a power cut
        source.execute("BEGIN")
        _check_kind(path, source)  # the first read: from here on the snapshot stands
        try:
            source.backup(copy)
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_FULL:
                raise
            raise file_error(name, error) from None  # nothing writes to the store here
        source.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, which needs no log


def _give_to_owner(path: str, found: os.stat_result) -> None:
    """Root may have made the log and its index, which the core's user could not open then."""
    for suffix in SUFFIXES[1:]:
        with suppress(OSError):
            if os.geteuid() == 0 and os.stat(path + suffix).st_uid != found.st_uid:
                os.chown(path + suffix, found.st_uid, found.st_gid)


def verify(path: str, name: str) -> Figures:
    """Reads every page. `name` stands for the file in messages. Raises StoreFailed."""
    with errors_of(name), closing(connect(path)) as connection:
        version = _check_kind(name, connection)
        problems = [text for (text,) in connection.execute(f"PRAGMA integrity_check({_MAX_PROBLEMS})")]
        if problems != ["ok"]:
            raise StoreFailed(f"{name} is damaged: {'; '.join(problems)}", hint="restore an older backup")
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("snippets", "types", "bonds", "outbox")
        ]
    return Figures(version, *counts)


def _check_kind(path: str, connection: sqlite3.Connection) -> int:
    """The version of its tables."""
    application_id, version = layout_of(connection)
    if application_id != APPLICATION_ID:
        raise StoreFailed(f"{path} is no store of reed", hint="name the data folder of a site")
    if version > len(MIGRATIONS):
        raise StoreFailed(
            f"{path} was written by a newer reed (layout {version}; this one knows {len(MIGRATIONS)})",
            hint="upgrade reed-cms",
        )
    return version


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """The data folder is locked as by a core. Raises StoreFailed if one uses it."""
    descriptors = []
    try:
        for name in (_LOCK, FILE):
            with suppress(FileNotFoundError):
                flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if name == _LOCK else 0)
                descriptors.append(os.open(os.path.join(folder, name), flags, 0o600))
                fcntl.flock(descriptors[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreFailed(f"a core uses the data folder {folder}", hint="stop it: reed stop") from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def has_store(folder: str) -> bool:
    """Whether the data folder has a store, or a part of one."""
    return any(os.path.lexists(os.path.join(folder, FILE + suffix)) for suffix in SUFFIXES)


def install(folder: str, path: str) -> str:
    """Make the verified file `path`, which is on the data folder's file system, the store of that folder. Returns the
    folder that has the old files, or ""."""
    with errors_of(path), closing(connect(path, "mode=rw")) as connection:
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'outbox', 0"
            " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox')"
        )
        connection.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'outbox'", (_EVENTS_SKIPPED,))
        # A backup of an older version has no epoch: the core makes one when it opens the store.
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'epoch'").fetchone():
            connection.execute(NEW_EPOCH)
    sync(path)
    aside = ""
    if has_store(folder):
        aside = _new_folder(os.path.join(folder, time.strftime("replaced-%Y%m%dT%H%M%S")))
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                os.rename(os.path.join(folder, FILE + suffix), os.path.join(aside, FILE + suffix))
        sync(aside)
    remove(index_path(os.path.join(folder, FILE)))
    found = os.stat(folder)
    if os.geteuid() == 0:
        for each in filter(None, (path, aside, os.path.join(folder, _LOCK))):
            os.chown(each, found.st_uid, found.st_gid)
    os.rename(path, os.path.join(folder, FILE))
    sync(folder)
    return aside


def _new_folder(path: str) -> str:
    """`path`, or with a number behind it if that exists."""
    for number in range(1, 1000):
        name = path if number == 1 else f"{path}-{number}"
        with suppress(FileExistsError):
            os.mkdir(name, 0o700)
            return name
    raise StoreFailed(f"{path} exists", hint="delete old folders of this name")
