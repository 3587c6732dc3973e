"""Rules for writing and reading snippets that hold in any store: checks, new versions, pages.

create    name, type, JSON, schema, length
update    merge patch on the current text; the rest as for a new content
pages     `limit` records, ending early at PAGE_BYTES; the cursor is the id of the last record
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reed.errors import Conflict, Invalid, Malformed
from reed.store.base import Overtaken, RecordPage, Steps
from reed.store.ids import sequence_of
from reed.store.merge_patch import merge
from reed.store.types import TypeCatalog
from reed.wire import identifiers, strict_json
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.snippets import Record
from reed.wire.strict_json import Json
from reed.wire.structs import RECORD, STATUS

MAX_CONTENT = MAX_PAYLOAD - RECORD.size - STATUS.size  # a GET must be able to return it
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
PAGE_BYTES = 512 * 1024  # of content in a page; a single larger record is a page of its own

_STEP_BYTES = 128 * 1024  # read between two interruptions
_ROW_BYTES = 4096  # that a row counts besides its content
_IDS_SHOWN, MAX_IDS_COUNTED = 4, 1000  # in the message about an ambiguous prefix


def check_new(types: TypeCatalog, type_name: str, name: str, content: bytes) -> None:
    """Raises Malformed or Invalid unless a snippet may be created so."""
    if name:
        identifiers.check("semantic name", name)
    types.require(type_name).check(strict_json.load_object(content))
    check_length(content)


def check_content(types: TypeCatalog, type_name: str, content: bytes, value: dict[str, Json]) -> None:
    """Raises Invalid unless a snippet of this type may have the content, whose value is given."""
    types.require(type_name).check(value)
    check_length(content)


def check_length(content: bytes) -> None:
    if len(content) > MAX_CONTENT:
        raise Invalid(f"the content has {len(content)} bytes", hint=f"at most {MAX_CONTENT}")


def merged(ref: str, record: Record, if_version: int, patch: bytes, changes: Json) -> tuple[str, dict[str, Json]]:
    """The record's content with a JSON Merge Patch applied: text and value. `changes` is the value of `patch`."""
    if if_version and if_version != record.version:
        raise overtaken(ref, record.version, if_version)
    if not isinstance(changes, dict):
        found = strict_json.describe(changes)
        raise Invalid(f"the patch is {found}: the content must stay an object", hint="send a JSON Merge Patch")
    return merge(str(record.content, "utf-8"), str(patch, "utf-8"))


def overtaken(ref: str, version: int, expected: int) -> Overtaken:
    return Overtaken(
        f"{ref} has version {version}, not {expected}: it was changed meanwhile",
        hint="read it again and repeat the change",
    )


def name_in_use(name: str, holder_id: str) -> Conflict:
    return Conflict(f"the name {name!r} is in use by {holder_id}", hint="choose another, or update that snippet")


def ambiguous(prefix: str, ids: list[str]) -> Conflict:
    """`ids` are at most MAX_IDS_COUNTED + 1 of those with the prefix."""
    count = f"{len(ids)}" if len(ids) <= MAX_IDS_COUNTED else f"more than {MAX_IDS_COUNTED}"
    more = ", …" if len(ids) > _IDS_SHOWN else ""
    return Conflict(
        f"{prefix!r} begins the ids of {count} snippets: {', '.join(ids[:_IDS_SHOWN])}{more}",
        hint="use more characters of the id",
    )


def page_limit(limit: int) -> int:
    """The number of records in a page; 0 means DEFAULT_LIMIT."""
    if limit > MAX_LIMIT:
        raise Malformed(f"limit {limit}", hint=f"at most {MAX_LIMIT}; use the cursor for more")
    return limit or DEFAULT_LIMIT


def start_after(cursor: str) -> int:
    """The sequence number in a cursor; 0, the beginning, for an empty one."""
    start = sequence_of(cursor.lower()) if cursor else 0
    if start is None:
        raise Malformed(f"after: {cursor!r} is not an id", hint="send the cursor of the page before")
    return start


def collect_page(
    rows: Iterable[tuple[Any, ...]], limit: int, matches: Callable[[bytes], bool] | None = None
) -> Steps[RecordPage]:
    """A page of the rows, which have the columns of a Record. With `matches`, a predicate on the content, the search
    stops at the last record of a full page: the next match may be far, so the next page may be empty."""
    records: list[Record] = []
    room = PAGE_BYTES
    step = _STEP_BYTES
    for row in rows:
        size = len(row[-1])
        if matches is None or matches(row[-1]):
            if records and (room < size or len(records) == limit):
                return RecordPage(records, records[-1].id)
            records.append(Record._make(row))
            room -= size
            if matches is not None and len(records) == limit:
                return RecordPage(records, records[-1].id)
        step -= size + _ROW_BYTES
        if step < 0:
            step = _STEP_BYTES
            yield
    return RecordPage(records, "")
