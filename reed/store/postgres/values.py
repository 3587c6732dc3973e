"""Parameters and rows of libpq, which are bytes in PostgreSQL's text format."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import pq

from reed.wire.snippets import Record
from reed.wire.structs import Bytes

Params = tuple[bytes, ...]
Rows = pq.abc.PGresult  # of one statement


def params(*values: str | int | Bytes) -> Params:
    """A content is passed as it is."""
    return tuple(value if type(value) is bytes else _encoded(value) for value in values)


def _encoded(value: str | int | Bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return str(value).encode() if isinstance(value, int) else bytes(value)


def array_of(items: Iterable[object]) -> bytes:
    """A PostgreSQL array of texts."""
    quoted = ('"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return ("{" + ",".join(quoted) + "}").encode()


def text(rows: Rows, row: int, at: int) -> str:
    """A value; "" for NULL."""
    return (rows.get_value(row, at) or b"").decode()


def number(rows: Rows, row: int, at: int) -> int:
    """A value; 0 for NULL."""
    return int(rows.get_value(row, at) or b"0")


def column(rows: Rows, at: int) -> list[str]:
    return [text(rows, row, at) for row in range(rows.ntuples)]


def record_of(rows: Rows, row: int) -> Record:
    """The row of a statement with `statements.COLUMNS`."""
    snippet_id, type_name, name = (text(rows, row, at) for at in range(3))
    version, created_at, updated_at = (number(rows, row, at) for at in range(3, 6))
    return Record(snippet_id, type_name, name, version, created_at, updated_at, rows.get_value(row, 6) or b"")


def ignore(_: object) -> None:
    """For an answer that nobody waits for."""
