"""What a worker reads for the store: one function for each kind of job (workers.md#jobs).

Each opens the file of the core that asks, read-only, and reads within one transaction: it sees the store as it was when
the job began. Connections are kept for the next job. Results are plain tuples, which marshal can carry; the core makes
records and hits of them (`Reads`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from reed.errors import StoreFailed
from reed.store import fitting
from reed.store.query import Term
from reed.store.sqlite.find import Find
from reed.store.sqlite.jobs import run_to_end
from reed.store.sqlite.search import search
from reed.store.sqlite.snippets import page_of
from reed.store.sqlite.tree import tree
from reed.store.types import compile_type

HANDLERS = {
    kind: f"reed.store.sqlite.reading:{kind}_job" for kind in ("search", "page", "tree", "find", "check")
}

_connections: dict[str, tuple[Source, sqlite3.Connection]] = {}


class Source(NamedTuple):
    """The files of a store: a path may lead to another file meanwhile."""

    path: str
    device: int
    inode: int
    index_path: str


@contextmanager
def snapshot(source: Source) -> Iterator[sqlite3.Connection]:
    """A connection in a transaction that sees what is committed by now. Raises StoreFailed when the file is lost."""
    connection = _connection(source)
    try:
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        _connections.pop(source.path, None)
        connection.close()
        raise StoreFailed(f"{source.path}: {error}", hint="see the disk and the log") from error


def _connection(source: Source) -> sqlite3.Connection:
    known = _connections.get(source.path)
    if known is not None and known[0] == source:
        return known[1]
    try:
        found = os.stat(source.path)
    except OSError:
        found = None
    if found is None or (found.st_dev, found.st_ino) != (source.device, source.inode):
        raise StoreFailed(f"{source.path} was deleted or replaced", hint="put it back, or restart the core")
    connection = sqlite3.connect(f"file:{quote(source.path)}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 1000")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("ATTACH ? AS search_db", (f"file:{quote(source.index_path)}?mode=ro",))
    _connections[source.path] = source, connection
    return connection


def search_job(
    source: Source, terms: list[Term], type_name: str, columns: list[int], limit: int, offset: int
) -> tuple[int, list[tuple[Any, ...]]]:
    with snapshot(Source(*source)) as connection:
        page = run_to_end(search(connection, [Term(*term) for term in terms], type_name, columns, limit, offset))
    return page.total, [tuple(hit) for hit in page.hits]
