"""Long reads in a worker, a function for each kind of job (workers.md#jobs). Each sees one snapshot.

Results are what marshal can carry, so records and hits are tuples.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from reed.errors import StoreFailed
from reed.store.contents import MAX_CHECKED, check_stored
from reed.store.query import hit_limit, parse
from reed.store.snippets import marshalled
from reed.store.sqlite.files import Source, connect, errors_of, snapshot
from reed.store.sqlite.find import Find
from reed.store.sqlite.graph import SqliteGraph, tree
from reed.store.sqlite.lookup import Lookup
from reed.store.sqlite.search import search
from reed.store.types import compile_type

_OF_TYPE = "SELECT id, name, content FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence LIMIT ?"

Rows = list[tuple[Any, ...]]


def read_page(source: Source, type_name: str, after: int, limit: int) -> tuple[Rows, str]:
    with errors_of(source[0]), snapshot(source) as connection:
        return marshalled(Lookup(connection).page(type_name, after, limit))


def find_page(source: Source, type_name: str, conditions: dict[str, str], after: int, limit: int) -> tuple[Rows, str]:
    with errors_of(source[0]), snapshot(source) as connection:
        return marshalled(Find(type_name, conditions, after, limit).page(connection))


def read_tree(source: Source, root: int | None, depth: int) -> bytes:
    with errors_of(source[0]), snapshot(source) as connection:
        return tree(connection, root, depth)


def check_bond(source: Source, parent: int, child: int, limits: dict[str, int]) -> None:
    with errors_of(source[0]), snapshot(source) as connection:
        deleted = {sequence for (sequence,) in connection.execute("SELECT sequence FROM bond_remains")}
        SqliteGraph(connection, deleted).check(parent, child, limits)


def check_type(source: Source, type_name: str, definition: bytes, after: int, limit: int) -> bytes:
    type_ = compile_type(type_name, definition)
    with errors_of(source[0]), snapshot(source) as connection:
        rows = connection.execute(_OF_TYPE, (type_name, after, MAX_CHECKED + 1))
        try:
            return check_stored(rows, type_, limit)
        finally:
            rows.close()


def run_search(
    source: Source, query: str, type_name: str, columns: list[int], limit: int, offset: int
) -> tuple[int, Rows]:
    """Also parses the query: compiling the patterns for that takes 17 ms, which would be a turn of the loop."""
    limit = hit_limit(limit, offset)
    terms = parse(query)
    with errors_of(source[0]), snapshot(source, with_index=True) as connection:
        try:
            page = search(connection, terms, type_name, columns, limit, offset)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            path = Source(*source).index_path
            raise StoreFailed(f"{path} is damaged: {error}", hint="`reed search index` makes it again") from error
    return page.total, [tuple(hit) for hit in page.hits]


def run_checkpoint(source: Source) -> None:
    """Copy the log into the file, as far as no snapshot needs it."""
    Source(*source).check()
    connection = connect(source[0], "mode=rw")
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:  # a full disk: the core's next write says so
        pass
    finally:
        connection.close()
