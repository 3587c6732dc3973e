"""`reed snippet list`.

in creation order   printed page by page
in another one      the core cannot sort, so the whole list is read; what is kept is bounded by --limit, or by
                    MAX_SORTED and MAX_SORTED_BYTES
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, JsonContent, JsonText, Output
from reed.cli.parse import Args, UsageError
from reed.errors import Malformed, ReedError
from reed.figures import timestamp
from reed.wire.json_spans import member_text
from reed.wire.snippets import Record, conditions_of

MAX_SORTED = 100_000  # snippets
MAX_SORTED_BYTES = 512 * 1024 * 1024  # of contents
_PAGE = 100
_OF_RECORD = {
    "id": "id",
    "type": "snippet_type",
    "name": "semantic_name",
    "version": "version",
    "created": "created_at",
    "updated": "updated_at",
}
_TIMES = ("created", "updated")
_OF_CONTENT = "content."


def list_snippets(args: Args, output: Output) -> None:
    limit, snippet_type = args.number("--limit"), args.text("--type") or ""
    where, sort, fields = _conditions(args.texts("--where")), args.text("--sort"), _fields(args.text("--fields"))
    if where is not None and not snippet_type:
        raise UsageError("--where requires --type", hint="`reed registry list` lists the types")
    with connect(args) as core:
        records: Iterable[Record] = core.snippets(snippet_type, min(limit or _PAGE, _PAGE) if not sort else 1000, where)
        if sort:
            records = _sorted(records, sort, limit)
        elif limit:
            records = itertools.islice(records, limit)
        if fields:
            _print_fields(records, fields, output)
        elif output.as_json:
            output.json([as_json(record) for record in records])
        elif output.is_terminal:
            output.table(_LIST, [_row(record) for record in records])
        else:
            output.rows([*record[:6], JsonText(str(record.content, "utf-8"))] for record in records)


def _print_fields(records: Iterable[Record], fields: list[str], output: Output) -> None:
    if output.as_json:
        output.json([{name: _json_value(record, name) for name in fields} for record in records])
    elif output.is_terminal:
        columns = [Column(name.upper(), str(number), _shown(name), shrink=1) for number, name in enumerate(fields)]
        output.table(
            columns,
            [{str(number): _cell(record, name) for number, name in enumerate(fields)} for record in records],
        )
    else:
        output.rows([_cell(record, name) for name in fields] for record in records)


def _shown(name: str) -> Any:
    return timestamp if name in _TIMES else None


def _fields(text: str | None) -> list[str]:
    fields = text.split(",") if text is not None else []
    if not all(fields):
        raise UsageError("--fields: a name is empty", hint="separate the names with commas: --fields name,title")
    return fields


def _text_of(record: Record, name: str) -> str | None:
    """The JSON text of a field of the content; None if it has none."""
    content = str(record.content, "utf-8")
    return content if name == "content" else member_text(content, name.removeprefix(_OF_CONTENT))


def _json_value(record: Record, name: str) -> Any:
    if name in _OF_RECORD:
        return getattr(record, _OF_RECORD[name])
    text = _text_of(record, name)
    return None if text is None else JsonContent(text.encode())


def _cell(record: Record, name: str) -> Any:
    """A string without its quotes, anything else as JSON."""
    if name in _OF_RECORD:
        return getattr(record, _OF_RECORD[name])
    text = _text_of(record, name)
    if text is None:
        return ""
    return json.loads(text) if text.startswith('"') else JsonText(text)


def _sorted(records: Iterable[Record], sort: str, limit: int) -> list[Record]:
    """Those without the field come last, in either direction; equal ones stay in creation order."""
    name, is_descending = sort.removesuffix(":desc").removesuffix(":asc"), sort.endswith(":desc")
    if not name:
        raise UsageError(f"--sort: expected FIELD or FIELD:desc, found {sort!r}")
    missing = (_FIRST if is_descending else _LAST, 0)
    if limit:
        chosen = heapq.nlargest if is_descending else heapq.nsmallest
        return chosen(limit, records, key=lambda record: _sort_value(record, name) or missing)
    return sorted(_bounded(records), key=lambda record: _sort_value(record, name) or missing, reverse=is_descending)


def _bounded(records: Iterable[Record]) -> Iterator[Record]:
    """Raises ReedError instead of taking all memory."""
    size = 0
    for number, record in enumerate(records):
        size += len(record.content)
        if number == MAX_SORTED or size > MAX_SORTED_BYTES:
            raise ReedError(
                f"--sort: there are more than {MAX_SORTED} snippets, or {MAX_SORTED_BYTES >> 20} MB of contents",
                hint="--limit N sorts any number and prints the first N",
            )
        yield record


_FIRST, _NUMBER, _STRING, _OTHER, _LAST = range(5)  # kinds of values, which are not compared with each other


def _sort_value(record: Record, name: str) -> tuple[int, Any] | None:
    """Kind and value; None without the field."""
    if name in _OF_RECORD:
        value: Any = getattr(record, _OF_RECORD[name])
        return None if value == "" else (_STRING, value)
    text = _text_of(record, name)
    value = None if text is None else json.loads(text)
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _NUMBER, value
    return (_STRING, (value.casefold(), value)) if isinstance(value, str) else (_OTHER, text)


def _conditions(given: list[str]) -> bytes | None:
    try:
        return conditions_of(given)
    except Malformed as error:
        raise UsageError(f"--where: {error.message}", hint=error.hint) from None


def as_json(record: Record) -> dict[str, Any]:
    return {**record.json_fields(), "content": JsonContent(bytes(record.content))}


def _row(record: Record) -> dict[str, Any]:
    return {**record.json_fields(), "content": bytes(record.content[:200]).decode("utf-8", "ignore")}


_LIST = (
    Column("REF", "name|id", whole=True),
    Column("TYPE", "type"),
    Column("VERSION", "version", right=True),
    Column("UPDATED", "updated_at", timestamp, shrink=2),
    Column("CONTENT", "content", shrink=1),
)
