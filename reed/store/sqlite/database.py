"""content.db: opening it, its tables, and the meaning of SQLite's errors.

    snippets      `sequence` is the first 60 bits of the id, so rows lie in creation order
    bonds         between sequence numbers, in the order in which `tree` shows them
    bond_remains  deleted snippets, some of whose bonds are still to be deleted
    types         definitions, byte for byte
    stale         snippets changed or deleted since they were indexed, in this order
    reindex       one row: in another generation, snippets beyond `after` are indexed again
    changes, epoch                                     see `change_log`
    field_indexes, field_entries, outbox, schedules    see these modules

One core locks it (flock). `user_version` counts the applied migrations. With WAL and synchronous=FULL a commit survives
a power cut. Without cache spill and temporary files a full disk shows at COMMIT.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress

from reed.errors import CallError, StoreFailed, StoreFull
from reed.store.sqlite.file_guard import FileGuard
from reed.store.sqlite.files import Source, is_disk_full, layout_of, sync

APPLICATION_ID = 0x52454544  # "REED"
WEIGHT_COLUMNS = 16  # of the table `search`, in older layouts

_WEIGHT_COLUMNS = ", ".join(f"w{n}" for n in range(WEIGHT_COLUMNS))
_FTS_COLUMNS = f"{_WEIGHT_COLUMNS}, tokenize = 'unicode61 remove_diacritics 2'"
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE snippets (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL,"
        " version INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, content BLOB NOT NULL)",
        "CREATE UNIQUE INDEX snippets_by_name ON snippets (name) WHERE name != ''",
        "CREATE INDEX snippets_by_type ON snippets (type)",
        "CREATE TABLE bonds (parent INTEGER NOT NULL, weight INTEGER NOT NULL, path TEXT NOT NULL,"
        " child INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (parent, weight, path, child)) WITHOUT ROWID",
        "CREATE UNIQUE INDEX bonds_by_child ON bonds (child, parent)",
        "CREATE TABLE types (name TEXT PRIMARY KEY, definition BLOB NOT NULL) WITHOUT ROWID",
        "CREATE TABLE progress (indexed_to INTEGER NOT NULL)",
        "INSERT INTO progress VALUES (0)",
        "CREATE TABLE stale (mark INTEGER PRIMARY KEY, sequence INTEGER NOT NULL UNIQUE)",
        # prefix: "ab*" is looked up like a word, not merged from all words that begin so.
        f"CREATE VIRTUAL TABLE search USING fts5({_FTS_COLUMNS}, prefix = '2')",
        # FTS5 must not merge within a write.
        "INSERT INTO search (search, rank) VALUES ('automerge', 0)",
    ),
    (
        # AUTOINCREMENT: no id is reused.
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, subscriber TEXT NOT NULL, kind TEXT NOT NULL,"
        " snippet_id TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,"
        " at INTEGER NOT NULL, lost INTEGER NOT NULL)",
        "CREATE INDEX outbox_by_subscriber ON outbox (subscriber)",
    ),
    (
        # Nor merge all segments of one size at once.
        "INSERT INTO search (search, rank) VALUES ('crisismerge', 1999)",
    ),
    (
        # Folding changed: index everything again.
        "UPDATE progress SET indexed_to = 0",
    ),
    (
        # Folding changed, and marks became parts of words: a new index.
        "DROP TABLE search",
        f"CREATE VIRTUAL TABLE search USING fts5({_WEIGHT_COLUMNS}, written UNINDEXED, prefix = '2',"
        " tokenize = \"unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'\")",
        "INSERT INTO search (search, rank) VALUES ('automerge', 0)",
        "INSERT INTO search (search, rank) VALUES ('crisismerge', 1999)",
        "DELETE FROM stale",
        "UPDATE progress SET indexed_to = 0",
    ),
    (
        "CREATE TABLE IF NOT EXISTS field_indexes (id INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL,"
        " field TEXT NOT NULL, is_unique INTEGER NOT NULL, is_ready INTEGER NOT NULL)",
        "CREATE TABLE IF NOT EXISTS field_entries (sequence INTEGER NOT NULL, index_id INTEGER NOT NULL,"
        " key BLOB NOT NULL, PRIMARY KEY (sequence, index_id)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS field_entries_by_key ON field_entries (index_id, key, sequence)",
    ),
    (
        # The search index has a file of its own.
        "DROP TABLE search",
        "DROP TABLE progress",
        "DELETE FROM stale",
        "CREATE TABLE reindex (generation INTEGER NOT NULL, after INTEGER NOT NULL)",
        "INSERT INTO reindex VALUES (1, 0)",
    ),
    ("CREATE TABLE IF NOT EXISTS bond_remains (sequence INTEGER PRIMARY KEY)",),
    (
        "CREATE TABLE IF NOT EXISTS schedules (plugin TEXT NOT NULL, name TEXT NOT NULL, rule TEXT NOT NULL,"
        " due INTEGER NOT NULL, last_due INTEGER NOT NULL, began INTEGER NOT NULL, ended INTEGER NOT NULL,"
        " error TEXT NOT NULL, runs INTEGER NOT NULL, failures INTEGER NOT NULL, skipped INTEGER NOT NULL,"
        " PRIMARY KEY (plugin, name)) WITHOUT ROWID",
    ),
    (
        "CREATE TABLE IF NOT EXISTS changes (last INTEGER PRIMARY KEY, lines TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS epoch (epoch TEXT NOT NULL)",
        "INSERT INTO epoch SELECT lower(hex(randomblob(4))) WHERE NOT EXISTS (SELECT 1 FROM epoch)",
    ),
    (
        # Of a deleted snippet, for its event (reed.store.deleted).
        "ALTER TABLE outbox ADD COLUMN content BLOB",
        "ALTER TABLE outbox ADD COLUMN bonds BLOB",
    ),
)

# Cursors of watchers no longer fit: the content was changed in a way that the log of changes does not tell.
NEW_EPOCH = "UPDATE epoch SET epoch = lower(hex(randomblob(4)))"

_SETTINGS = (
    "PRAGMA busy_timeout = 50",
    "PRAGMA synchronous = FULL",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_spill = OFF",
    "PRAGMA secure_delete = FAST",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA wal_autocheckpoint = 0",  # see `wal`
)
_CACHED_STATEMENTS = 256


class Database:
    """The open file. `writer` is the only connection that writes; `reader` sees what is committed."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        """`warn` is called when the files are lost from their path, and when they are back."""
        self.path = path
        self._guard = FileGuard(path)
        self._warn = warn
        self._is_lost = False
        with ExitStack() as opened:
            # Closed last: closing any descriptor of the file drops SQLite's own locks on it.
            opened.callback(_unlock, descriptor := _open_locked(path))
            opened.callback(self._guard.close)
            try:
                self.writer = self._connect()
                opened.callback(self.writer.close)
                self._check_and_migrate()
                self.reader = self._connect()
                opened.callback(self.reader.close)
                self.reader.execute("SELECT generation FROM reindex").fetchone()  # opens all files
                self.source = Source.of(path, os.fstat(descriptor))
                self._guard.open(descriptor, *self.writer.execute("PRAGMA page_size").fetchone())
            except sqlite3.Error as error:
                raise self._opening_error(error) from error
            except OSError as error:
                raise _cannot_open(path, error, "see its folder") from error
            if problem := self.file_problem():
                raise problem
            self._opened = opened.pop_all()

    @property
    def is_wal_complete(self) -> bool:
        return self._guard.is_wal_complete

    def file_problem(self, *, quick: bool = False) -> CallError | None:
        problem = self._guard.problem(quick=quick)
        if self._is_lost != (problem is not None):
            self._is_lost = not self._is_lost
            self._warn(f"writes are refused: {problem}" if problem else f"{self.path} is back: writes are accepted")
        return problem

    def close(self) -> None:
        if self.file_problem():
            self.truncate_wal_of_lost_file()
        self._opened.close()

    def size(self) -> int:
        """Bytes, including the log."""
        sizes = 0
        for path in (self.path, self.path + "-wal"):
            try:
                sizes += os.stat(path).st_size
            except FileNotFoundError:  # no log yet
                continue
        return sizes

    def truncate_wal(self) -> None:
        """Copy the log into the file and free its space; the remedy for a full disk."""
        with suppress(sqlite3.Error):  # the file has no room either: the log stays
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def truncate_wal_of_lost_file(self) -> None:
        """Copy the log into the open file, wherever it is: SQLite would apply a log left behind to another file."""
        if self._guard.is_wal_complete:
            self.truncate_wal()

    @property
    def wal_frames(self) -> int:
        return self._guard.frames

    @property
    def uncopied_frames(self) -> int:
        return self._guard.uncopied_frames

    def error(self, error: sqlite3.Error | MemoryError) -> CallError:
        if isinstance(error, MemoryError):
            return StoreFailed("the store ran out of memory", hint="nothing was written")
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        is_io_error = code & 0xFF == sqlite3.SQLITE_IOERR
        if is_io_error and (problem := self.file_problem()):
            return problem
        if code & 0xFF == sqlite3.SQLITE_FULL or (is_io_error and is_disk_full(self.path)):
            return StoreFull(
                f"the disk of {self.path} is full", hint="nothing was written; free some space and try again"
            )
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            return StoreFailed(f"another program holds {self.path}", hint="close it and try again")
        if code & 0xFF == sqlite3.SQLITE_CORRUPT:
            return StoreFailed(
                f"{self.path} is damaged: {error}", hint="restore a backup, or `reed export` what is left"
            )
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        is_denied = code & 0xFF in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
        remedy = "the core's user must be able to write to it and its folder" if is_denied else "see disk and log"
        return StoreFailed(f"{self.path}: {error} ({name})", hint=f"nothing was written; {remedy}")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            isolation_level=None,
            cached_statements=_CACHED_STATEMENTS,
            check_same_thread=False,  # a core may be built in one thread and run in another, never in both at once
        )
        for setting in _SETTINGS:
            connection.execute(setting)
        return connection

    def _check_and_migrate(self) -> None:
        application_id, version = layout_of(self.writer)
        (tables,) = self.writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and application_id != APPLICATION_ID:
            raise StoreFailed(
                f"{self.path} is a database of another program", hint="use another data folder (--data-dir)"
            )
        if version > len(MIGRATIONS):
            raise StoreFailed(
                f"{self.path} was written by a newer reed (layout {version}; this one knows {len(MIGRATIONS)})",
                hint="upgrade reed-cms, or use another data folder (--data-dir)",
            )
        self.writer.execute("PRAGMA journal_mode = WAL")
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            self.writer.execute("BEGIN IMMEDIATE")
            for statement in statements:
                self.writer.execute(statement)
            self.writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.writer.execute(f"PRAGMA user_version = {number}")
            self.writer.execute("COMMIT")

    def _opening_error(self, error: sqlite3.Error) -> CallError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code & 0xFF == sqlite3.SQLITE_NOTADB:
            return StoreFailed(
                f"{self.path} is not a database", hint="move it away, or use another data folder (--data-dir)"
            )
        if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
            try:  # SQLite does not say so when no descriptor is left
                os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as cause:
                return _cannot_open(self.path, cause, "check its folder")
        if "fts5" in str(error):
            return StoreFailed(
                f"the SQLite of this Python ({sqlite3.sqlite_version}) lacks FTS5", hint="install one with it"
            )
        return self.error(error)


def _unlock(descriptor: int) -> None:
    """A fork of a program that embeds the core may still hold the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _open_locked(path: str) -> int:
    if os.path.islink(path) and not os.path.exists(path):
        raise StoreFailed(f"cannot open the store {path}: it is a dangling link", hint="remove or repair it")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _cannot_open(path, error, "check the data folder and its permissions") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        sync(os.path.dirname(path) or ".")  # the name of a new file
    except BlockingIOError:
        os.close(descriptor)
        raise StoreFailed(f"another core holds the store {path}", hint="stop it: reed stop") from None
    except OSError as error:
        os.close(descriptor)
        raise _cannot_open(path, error, "check who owns it") from error
    return descriptor


def _cannot_open(path: str, error: OSError, hint: str) -> StoreFailed:
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        hint = "raise the limit of open files: ulimit -n"
    return StoreFailed(f"cannot open the store {path}: {error.strerror}", hint=hint)


def label(connection: sqlite3.Connection, sequence: int) -> str:
    name, snippet_id = connection.execute("SELECT name, id FROM snippets WHERE sequence = ?", (sequence,)).fetchone()
    return str(name or snippet_id)
