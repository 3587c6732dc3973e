"""Rules for snippets in any store: the errors of a write, and pages.

A page has `limit` records, or ends at PAGE_BYTES; its cursor is the id of the last record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reed.errors import Conflict, Malformed, NotFound, nearest
from reed.store.base import Done, Overtaken, RecordPage
from reed.store.ids import sequence_of
from reed.wire.snippets import Record

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_SHORT_PAGE = 100  # records that need no worker; a thousand of 5 KB took 15 ms
PAGE_BYTES = 512 * 1024  # of content in a page; a single larger record is a page of its own

AFTER_NAMES = "\x7f"  # sorts after every character of a name
UNREAD = range(PAGE_BYTES + 1)  # stands for a content too large for the page: its length matters
_IDS_SHOWN, MAX_IDS_COUNTED = 4, 1000  # in the message about an ambiguous prefix


def overtaken(ref: str, version: int, expected: int) -> Overtaken:
    return Overtaken(
        f"{ref} has version {version}, not {expected}: it was changed meanwhile",
        hint="read it again and repeat the change",
    )


def name_in_use(name: str, holder_id: str) -> Conflict:
    return Conflict(f"the name {name!r} is in use by {holder_id}", hint="choose another, or update that snippet")


def value_in_use(type_name: str, field: str, shown: str, holder: str) -> Conflict:
    return Conflict(
        f"{field} is unique among snippets of type {type_name!r}: {shown} is the value of {holder}",
        hint="choose another value, or change that snippet",
    )


def cannot_be_unique(field: str, shown: str, first: str, second: str) -> Conflict:
    return Conflict(
        f"{field} cannot be unique: {shown} is the value of {first} and {second}",
        hint="change or delete one of them first",
    )


def not_found(ref: str, names: Iterable[str]) -> NotFound:
    """`names`: some that may be meant."""
    return NotFound(f"no snippet {ref!r}", hint=nearest(ref, names) or "`reed snippet list` shows what there is")


def label_of(record: Record) -> str:
    return record.semantic_name or record.id


def ambiguous(prefix: str, ids: list[str]) -> Conflict:
    """`ids` are at most MAX_IDS_COUNTED + 1 of those with the prefix."""
    count = f"{len(ids)}" if len(ids) <= MAX_IDS_COUNTED else f"more than {MAX_IDS_COUNTED}"
    more = ", …" if len(ids) > _IDS_SHOWN else ""
    return Conflict(
        f"{prefix!r} begins the ids of {count} snippets: {', '.join(ids[:_IDS_SHOWN])}{more}",
        hint="write more of the id",
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
) -> RecordPage:
    """A page of rows with the columns of a Record. With `matches`, a predicate on the content, it ends with its last
    record, since the next match may be far; so the next page may be empty."""
    records: list[Record] = []
    room = PAGE_BYTES
    for row in rows:
        size = len(row[-1])
        if matches is None or matches(row[-1]):
            if records and (room < size or len(records) == limit):
                return RecordPage(records, records[-1].id)
            records.append(Record._make(row))
            room -= size
            if matches is not None and len(records) == limit:
                return RecordPage(records, records[-1].id)
    return RecordPage(records, "")


def marshalled(page: RecordPage) -> tuple[list[tuple[Any, ...]], str]:
    """A worker's answer: what marshal can carry."""
    return [tuple(record) for record in page.records], page.cursor


def page_to(done: Done[RecordPage]) -> Done[tuple[list[tuple[Any, ...]], str]]:
    """What takes a worker's answer, a `marshalled` page, and gives the page to `done`."""
    return lambda answer: done(RecordPage([Record._make(row) for row in answer[0]], answer[1]))
