"""The indexer: a worker that writes the search index, content-search.db (store.md#search-index, `index_file`).

    content.db            snippets   stale: mark, sequence of what changed   reindex: generation, after
                              │ snapshot
    run_index ────────────────┴──▶ content-search.db     search, and in the same transaction how far it has come

Texts that are not plain are folded. A file that is missing, damaged or of another layout is built again. A snippet that
kills the indexer twice (too large for its memory) is skipped from then on; once may have been a restart of the core.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from functools import partial

from reed.errors import StoreFailed
from reed.store.folding import fold, is_plain, segment
from reed.store.search_text import WEIGHTS, Columns, texts_by_column
from reed.store.sqlite.files import (
    Source,
    close_connections,
    connect,
    file_error,
    layout_of,
    remove,
    snapshot,
    written_index,
)
from reed.store.sqlite.index_file import LAYOUT, SCHEMA, TEXT_COLUMNS, Progress
from reed.store.types import columns_of

_PUT = f"INSERT OR REPLACE INTO search (rowid, written, {TEXT_COLUMNS}) VALUES (?, ?{', ?' * len(WEIGHTS)})"
_DROP = "DELETE FROM search WHERE rowid = ?"
_STALE = (
    "SELECT mark, stale.sequence, type, content FROM stale LEFT JOIN snippets ON snippets.sequence = stale.sequence"
    " WHERE mark > ? ORDER BY mark"
)
_HAS_STALE = "SELECT EXISTS (SELECT 1 FROM stale WHERE mark > ?)"
_NEW = "SELECT sequence, type, content FROM snippets WHERE sequence > ? ORDER BY sequence"
MAX_SECONDS = 0.5  # of one job, during which the log of content.db cannot begin again
_RISKY = 1024 * 1024  # bytes of content from which on an attempt is noted first


def run_index(source: Source, last: int, seconds: float, target: int) -> tuple[tuple[int, int, int], int, bool]:
    """Index for about `seconds`, one snippet at least. `last`: the last sequence number in use. `target`: that of the
    last snippet that a search waits for; up to there it takes up to MAX_SECONDS. Gives the progress, the number of
    snippets, and whether some are left."""
    source = Source(*source)
    began = time.monotonic()
    try:
        try:
            return _Indexing(source, last, began, seconds, target).run()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise
            _remove(source.index_path)
            return _Indexing(source, last, began, seconds, target).run()
    except sqlite3.Error as error:
        raise file_error(source.index_path, error) from error
    except OSError as error:
        raise StoreFailed(f"{source.index_path}: {error.strerror}", hint="see the data folder") from error


class _Indexing:
    def __init__(self, source: Source, last: int, began: float, seconds: float, target: int) -> None:
        self._source = source
        self._last = last
        self._until = began + seconds
        self._max_until = began + MAX_SECONDS
        self._target = target
        self._columns: dict[str, Columns] = {}
        self._count = 0

    def run(self) -> tuple[tuple[int, int, int], int, bool]:
        path = self._source.index_path
        try:
            self._index = written_index(path, partial(_open_index, path))
            return self._run()
        except BaseException:
            close_connections()  # which ends its transaction
            raise

    def _run(self) -> tuple[tuple[int, int, int], int, bool]:
        *progress, attempt = self._index.execute("SELECT * FROM state").fetchone()
        self._attempt = int(attempt)
        with snapshot(self._source) as content:
            before = Progress(*progress)
            (has_stale,) = content.execute(_HAS_STALE, (before.mark,)).fetchone()
            # The core deletes the marks of what is indexed. All else a power cut may undo: it is indexed again.
            self._index.execute(f"PRAGMA synchronous = {'FULL' if has_stale else 'NORMAL'}")
            self._index.execute("BEGIN IMMEDIATE")
            self._columns = {name: columns_of(text) for name, text in content.execute("SELECT * FROM types")}
            found, is_left = self._slice(content, before)
        self._index.execute("UPDATE state SET generation = ?, indexed_to = ?, mark = ?, attempt = 0", found)
        self._index.execute("COMMIT")
        return (found.generation, found.indexed_to, found.mark), self._count, is_left

    def _slice(self, content: sqlite3.Connection, progress: Progress) -> tuple[Progress, bool]:
        generation, after = content.execute("SELECT generation, after FROM reindex").fetchone()
        if generation != progress.generation:
            progress = progress._replace(generation=generation, indexed_to=min(progress.indexed_to, after))
        for mark, sequence, type_name, text in content.execute(_STALE, (progress.mark,)):
            if self._is_over():
                return progress, True
            self._put(sequence, type_name, text)
            progress = progress._replace(mark=mark)
        indexed_to = progress.indexed_to
        for sequence, type_name, text in content.execute(_NEW, (indexed_to,)):
            if self._is_over(indexed_to):
                return progress._replace(indexed_to=indexed_to), True
            self._put(sequence, type_name, text)
            indexed_to = sequence
        return progress._replace(indexed_to=max(indexed_to, self._last)), False

    def _is_over(self, reached: int = 0) -> bool:
        """`reached`: the last snippet that is indexed."""
        if not self._count or (now := time.monotonic()) < self._until:
            return False
        return reached >= self._target or now >= self._max_until

    def _put(self, sequence: int, type_name: str | None, content: bytes | None) -> None:
        self._count += 1
        columns = self._columns.get(type_name or "", ())
        texts: list[str] = []
        if content is not None and columns and sequence != -self._attempt:
            if len(content) >= _RISKY:
                self._note_attempt(sequence)
            texts = texts_by_column(columns, content)
        written = [text for text in texts if text]
        if not written:
            self._index.execute(_DROP, (sequence,))
        elif all(map(is_plain, written)):
            self._index.execute(_PUT, (sequence, "", *texts))
        else:
            folded = [segment(fold(text)) for text in texts]
            self._index.execute(_PUT, (sequence, json.dumps(written, ensure_ascii=False), *folded))

    def _note_attempt(self, sequence: int) -> None:
        """If this indexer dies, the next one tries again; after its death (the number is negative) it is skipped."""
        self._index.execute("UPDATE state SET attempt = ?", (-sequence if self._attempt == sequence else sequence,))
        self._index.execute("COMMIT")
        self._index.execute("BEGIN IMMEDIATE")


def _open_index(path: str) -> sqlite3.Connection:
    if not os.path.exists(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    index = connect(path, "mode=rw")
    if layout_of(index) != LAYOUT:
        index.close()
        _remove(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        index = connect(path, "mode=rw")
        index.execute("PRAGMA synchronous = OFF")  # a power cut may leave it damaged: then it is made again
        index.execute("PRAGMA journal_mode = WAL")
        index.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            index.execute(statement)
        index.execute("COMMIT")
    return index


def _remove(path: str) -> None:
    close_connections()
    remove(path)
