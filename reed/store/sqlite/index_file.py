"""content-search.db, the search index: its tables, and the core's connection to it. Only the indexer writes it.

search   FTS5, a column for each of `search_text.WEIGHTS`; `written`: the original texts as JSON if they were folded
state    Progress, and a snippet that may kill the indexer (see `indexing`)
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import NamedTuple

from reed.store.search_text import WEIGHTS
from reed.store.sqlite.files import Source, connect, layout_of

TEXT_COLUMNS = ", ".join(f"w{number}" for number in range(len(WEIGHTS)))
LAYOUT = (0x52454549, 1)  # "REEI", version: an index of another layout is made again
SCHEMA = (
    # prefix: "ab*" is looked up like a word, not merged from all words that begin so.
    f"CREATE VIRTUAL TABLE search USING fts5({TEXT_COLUMNS}, written UNINDEXED, prefix = '2',"
    " tokenize = \"unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'\")",
    "CREATE TABLE state (generation INTEGER, indexed_to INTEGER, mark INTEGER, attempt INTEGER)",
    "INSERT INTO state VALUES (0, 0, 0, 0)",
    f"PRAGMA application_id = {LAYOUT[0]}",
    f"PRAGMA user_version = {LAYOUT[1]}",
)
_PROGRESS = "SELECT generation, indexed_to, mark FROM state"


class Progress(NamedTuple):
    generation: int = 0  # of `reindex`: another one in content.db means to begin again
    indexed_to: int = 0  # snippets up to this sequence number are indexed, as they were when they were created …
    mark: int = 0  # … or changed, up to this row of `stale`


class OpenIndex:
    """The core's connection. It keeps -wal and -shm, which could not be made again on a full disk."""

    def __init__(self, source: Source) -> None:
        self._path = source.index_path
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)

    def progress(self) -> Progress:
        """The beginning if there is no index."""
        self.refresh()
        if self._connection is not None:
            with suppress(sqlite3.Error):
                if layout_of(self._connection) == LAYOUT:
                    return Progress(*self._connection.execute(_PROGRESS).fetchone())
        return Progress()

    def refresh(self) -> None:
        """Open the file that is there now."""
        with suppress(OSError, sqlite3.Error):
            found = os.stat(self._path)
            if self._connection is None or self._file != (found.st_dev, found.st_ino):
                self.close()
                self._file = found.st_dev, found.st_ino
                self._connection = connect(self._path)
                self._connection.execute(_PROGRESS).fetchone()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
