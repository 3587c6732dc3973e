"""Long reads in a worker, a function for each kind of job (workers.md#jobs). Each sees one snapshot.

Results are what marshal can carry, so records are tuples. Searches have a module of their own (`search`): a worker that
imports all of these takes three times as long until the first one.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from reed.store.contents import MAX_CHECKED, check_stored
from reed.store.snippets import marshalled
from reed.store.sqlite.files import Source, connect, errors_of, snapshot
from reed.store.sqlite.find import Find
from reed.store.sqlite.graph import SqliteGraph, tree
from reed.store.sqlite.lookup import Lookup
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
