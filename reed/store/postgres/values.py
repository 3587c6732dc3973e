"""Parameters and rows of libpq, which are bytes in PostgreSQL's text format."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from psycopg import pq

from reed.wire.snippets import Record
from reed.wire.structs import Bytes

_ARRAY = struct.Struct(">iiIii")  # dimensions, has it NULL, type of the items, length, first index
_LENGTH = struct.Struct(">i")
_TEXT = 25  # pg_type.oid of text

Params = tuple[bytes, ...]
Rows = pq.abc.PGresult  # of one statement


def params(*values: str | int | Bytes) -> Params:
    """A content is passed as it is."""
    return tuple([value if type(value) is bytes else _ENCODE.get(type(value), _encoded)(value) for value in values])


def _encoded(value: str | int | Bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return str(value).encode() if isinstance(value, int) else bytes(value)


_ENCODE: dict[type, Callable[[Any], bytes]] = {str: str.encode, int: b"%d".__mod__}  # a create has seven parameters


def array_of(items: Iterable[object]) -> bytes:
    """A PostgreSQL array of texts."""
    quoted = ('"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return ("{" + ",".join(quoted) + "}").encode()


def binary_texts(items: Sequence[bytes]) -> bytes:
    """An array of texts in PostgreSQL's binary format, which has nothing to escape."""
    parts = [_ARRAY.pack(1, 0, _TEXT, len(items), 1)]
    for item in items:
        parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


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
