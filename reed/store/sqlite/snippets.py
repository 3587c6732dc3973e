"""Snippets: create, update, rename, delete, find, page; and what `restoring` writes.

Every check comes before the first statement that writes, so a write that is refused changes nothing, for itself or for
the others in its turn. The one exception is a name in use: the INSERT itself finds that, and takes only itself back.

A record that was read or written is kept in memory. What a turn wrote is forgotten again when the turn fails.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from reed.errors import Conflict, Invalid, Malformed, NotFound
from reed.store.base import Overtaken, Preview, RecordPage
from reed.store.sqlite.cache import RecordCache
from reed.store.sqlite.fields import Entry, FieldIndexes
from reed.store.sqlite.ids import UUID_LENGTH, Ids, sequence_in, sequence_of, sequences_from
from reed.store.sqlite.jobs import Steps
from reed.store.sqlite.merge_patch import merge
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.types import Types
from reed.wire import identifiers, strict_json
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.snippets import Record
from reed.wire.strict_json import Json
from reed.wire.structs import RECORD, STATUS

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 1000
_AMBIGUOUS_SHOWN, _COUNTED = 4, 1000  # ids that begin with a prefix
_STEP = 32  # records between two chances to interrupt
PAGE_BYTES = 512 * 1024  # a page ends early rather than grow beyond this (but has one record)
_WORTH_NOT_COPYING = 16 * 1024  # bytes
MAX_CONTENT = MAX_PAYLOAD - RECORD.size - STATUS.size  # so that a GET can answer with it

_AFTER_NAMES = "\x7f"  # sorts after every character of a name
COLUMNS = "id, type, name, version, created_at, updated_at, content"
_INSERT = f"INSERT INTO snippets (sequence, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OVERWRITE = (
    "UPDATE snippets SET id = ?, type = ?, name = ?, version = ?, created_at = ?, updated_at = ?, content = ?"
    " WHERE sequence = ?"
)
_BY_SEQUENCE = f"SELECT {COLUMNS} FROM snippets WHERE sequence = ?"
_BY_NAME = f"SELECT {COLUMNS} FROM snippets WHERE name = ? AND name != ''"
_PAGE = f"SELECT {COLUMNS} FROM snippets WHERE sequence > ? ORDER BY sequence"
_PAGE_OF_TYPE = f"SELECT {COLUMNS} FROM snippets WHERE type = ? AND sequence > ? ORDER BY sequence"
_BY_PREFIX = "SELECT id FROM snippets WHERE sequence BETWEEN ? AND ? AND substr(id, 1, ?) = ? ORDER BY sequence LIMIT ?"
_NAMES_FROM = "SELECT name FROM snippets WHERE name != '' AND name >= ? ORDER BY name LIMIT 8"
_NAMES_BEFORE = "SELECT name FROM snippets WHERE name != '' AND name < ? ORDER BY name DESC LIMIT 8"


class Snippets:
    def __init__(
        self,
        turn: Transaction,
        writer: sqlite3.Connection,
        types: Types,
        ids: Ids,
        clock: Callable[[], int],
        cache: RecordCache,
        fields: FieldIndexes,
    ) -> None:
        self._turn = turn
        self._writer = writer
        self._insert = writer.cursor().execute  # one cursor for all: an INSERT leaves nothing open in it
        self._types = types
        self._ids = ids
        self._clock = clock
        self._cache = cache
        self._fields = fields
        self._touched: list[str] = []
        self.count: int = writer.execute("SELECT count(*) FROM snippets").fetchone()[0]
        self._count_kept = self.count
        turn.join(self)

    def create(self, type_name: str, name: str, content: bytes) -> Record:
        """A new snippet; gives its record."""
        if name:
            identifiers.check("semantic name", name)
        kind = self._types.of_new(type_name)
        kind.check(strict_json.load_object(content))
        check_length(content)
        now = self._clock()
        sequence, snippet_id = self._ids.next(now)
        at = now // 1000
        record = Record(snippet_id, type_name, name, 1, at, at, bytes(content))
        entries = self._fields.check(type_name, sequence, content)
        self._turn.begin()
        try:
            # Of bytes sqlite3 asks first, at some length, whether they want to be something else; not of a bytearray.
            stored = bytearray(content) if len(content) < _WORTH_NOT_COPYING else content
            self._insert(_INSERT, (sequence, *record[:-1], stored))
        except sqlite3.IntegrityError:
            raise self._name_in_use(name) from None
        self._fields.put(type_name, sequence, entries, is_new=True)
        self.count += 1
        self._touched.append(snippet_id)
        return record  # not kept in the cache: most of what an import writes is not read soon

    def update(self, ref: str, if_version: int, patch: bytes) -> Record:
        """Merge `patch` into the content; gives the new record. `if_version` 0 means any."""
        record, text, value = self._merged(ref, if_version, patch)
        return self._put(record, text.encode(), value)

    def preview(self, ref: str, if_version: int, patch: bytes) -> Preview:
        """What `update` would write, not yet checked against its type."""
        record, text, _ = self._merged(ref, if_version, patch)
        return Preview(record, text.encode())

    def replace(self, seen: Record, content: bytes, name: str | None = None) -> Record:
        """New content in place of what `seen` has, and a new name unless None. All of it is compared: a version may
        stand for another content, when the turn that wrote the one that was seen has failed."""
        old = self.find(seen.id)
        if old != seen:
            raise _changed_meanwhile(seen.id, old.version, seen.version)
        if name is not None:
            self._check_name(name, old.id)
            old = old._replace(semantic_name=name)
            if content == old.content:  # a rename: whether it fits its type is no question
                return self._store(old, content)
        return self._put(old, content, strict_json.load_object(content))

    def rename(self, ref: str, name: str) -> Record:
        """Give a snippet another name, or none (""); gives the new record."""
        old = self.find(ref)
        self._check_name(name, old.id)
        return self._store(old._replace(semantic_name=name), bytes(old.content))

    def _check_name(self, name: str, snippet_id: str) -> None:
        """May this snippet have this name? Malformed, or Conflict when another has it."""
        if name:
            identifiers.check("semantic name", name)
        self.check_name_is_free(name, snippet_id)

    def _merged(self, ref: str, if_version: int, patch: bytes) -> tuple[Record, str, dict[str, Json]]:
        """The snippet as it is, and its content with `patch` merged into it: text and value."""
        changes = strict_json.loads(patch)
        old = self.find(ref)
        if if_version and if_version != old.version:
            raise _changed_meanwhile(ref, old.version, if_version)
        if not isinstance(changes, dict):
            found = strict_json.describe(changes)
            raise Invalid(f"the patch is {found}: the content must stay an object", hint="send a JSON Merge Patch")
        return old, *merge(str(old.content, "utf-8"), str(patch, "utf-8"))

    def _put(self, old: Record, content: bytes, value: dict[str, Json]) -> Record:
        """The next version of a snippet, with the content that has this text and value."""
        self._types.of_new(old.snippet_type).check(value)
        check_length(content)
        return self._store(old, content)

    def _store(self, old: Record, content: bytes) -> Record:
        """Write the next version of a snippet, with the name that `old` has."""
        record = old._replace(version=old.version + 1, updated_at=self._clock() // 1000, content=content)
        sequence = sequence_in(record.id)
        entries = self._fields.check(record.snippet_type, sequence, content)
        self._turn.begin()
        self._writer.execute(
            "UPDATE snippets SET name = ?, version = ?, updated_at = ?, content = ? WHERE sequence = ?",
            (record.semantic_name, record.version, record.updated_at, content, sequence),
        )
        self._fields.put(record.snippet_type, sequence, entries)
        self._touched.append(record.id)
        self._cache.put(record)
        return record

    def delete(self, record: Record) -> None:
        """Delete a snippet that was found, and has no bonds."""
        self._turn.begin()
        sequence = sequence_in(record.id)
        self._writer.execute("DELETE FROM snippets WHERE sequence = ?", (sequence,))
        self._fields.deleted(record.snippet_type, sequence)
        self.count -= 1
        self._cache.forget(record.id)

    def restore(self, record: Record, old: Record | None) -> None:
        """Write a record as it is, in place of `old`. Everything has been checked."""
        sequence = sequence_in(record.id)
        entries = self.check_unique(record)
        self._turn.begin()
        if old is None:
            self._writer.execute(_INSERT, (sequence, *record))
            self._ids.reserve(sequence)
            self.count += 1
        else:
            self._writer.execute(_OVERWRITE, (*record, sequence))
            if old.snippet_type != record.snippet_type:
                self._fields.deleted(old.snippet_type, sequence)
        self._fields.put(record.snippet_type, sequence, entries)
        self._touched.append(record.id)
        self._cache.forget(record.id)

    def at(self, sequence: int) -> Record | None:
        """The snippet with this sequence number."""
        row = self._writer.execute(_BY_SEQUENCE, (sequence,)).fetchone()
        return None if row is None else Record._make(row)

    def check_unique(self, record: Record) -> list[Entry]:
        """The entries of a record in the indexes of fields; Conflict when it repeats a unique value."""
        return self._fields.check(record.snippet_type, sequence_in(record.id), record.content)

    def check_name_is_free(self, name: str, snippet_id: str) -> None:
        """Conflict when another snippet than this one has the name."""
        if name:
            row = self._writer.execute(_BY_NAME, (name,)).fetchone()
            if row is not None and row[0] != snippet_id:
                raise self._name_in_use(name)

    def find(self, ref: str) -> Record:
        """The snippet with this id or name, or NotFound."""
        record = self._cache.get(ref)
        if record is None:
            record = self._read(ref)
            self._cache.put(record)
        return record

    def names(self, prefix: str, limit: int) -> list[str]:
        """Names that begin with `prefix`, in their order, `limit` of them (0: DEFAULT_LIMIT)."""
        if limit > LARGEST_LIMIT:
            raise Malformed(f"limit {limit}", hint=f"at most {LARGEST_LIMIT}")
        rows = self._writer.execute(
            "SELECT name FROM snippets WHERE name != '' AND name >= ? AND name < ? ORDER BY name LIMIT ?",
            (prefix, prefix + _AFTER_NAMES, limit or DEFAULT_LIMIT),
        )
        return [name for (name,) in rows]

    def page(self, type_name: str, after: str, limit: int) -> Callable[[sqlite3.Connection], Steps[RecordPage]]:
        """What gives `limit` snippets (0: DEFAULT_LIMIT) in creation order, those after the one with the id `after`."""
        start, limit = window(after, limit)
        if type_name:
            return partial(_page, (_PAGE_OF_TYPE, (self._types.get(type_name).name, start)), limit)
        return partial(_page, (_PAGE, (start,)), limit)

    def settle(self, kept: bool) -> None:
        if kept:
            self._count_kept = self.count
        else:
            self.count = self._count_kept
            for snippet_id in self._touched:
                self._cache.forget(snippet_id)
        self._touched.clear()

    def _read(self, ref: str) -> Record:
        if len(ref) == UUID_LENGTH:
            snippet_id = ref.lower()
            row = self._writer.execute(_BY_SEQUENCE, (sequence_of(snippet_id),)).fetchone()
            if row is not None and row[0] == snippet_id:
                return Record._make(row)
        elif identifiers.is_semantic_name(ref):
            row = self._writer.execute(_BY_NAME, (ref,)).fetchone()
            if row is not None:
                return Record._make(row)
        row = self._by_prefix(ref.lower())
        if row is not None:
            return Record._make(row)
        raise NotFound(f"no snippet {ref!r}", hint=self._near(ref))

    def _by_prefix(self, prefix: str) -> Any:
        """The row of the one snippet whose id begins so; Conflict when there are several."""
        bounds = sequences_from(prefix)
        if bounds is None:
            return None
        found = self._writer.execute(_BY_PREFIX, (*bounds, len(prefix), prefix, _COUNTED + 1)).fetchall()
        if len(found) > 1:
            count = f"{len(found)}" if len(found) <= _COUNTED else f"more than {_COUNTED}"
            first = ", ".join(snippet_id for (snippet_id,) in found[:_AMBIGUOUS_SHOWN])
            more = ", …" if len(found) > _AMBIGUOUS_SHOWN else ""
            raise Conflict(f"{prefix!r} begins the ids of {count} snippets: {first}{more}", hint="write more of the id")
        return self._writer.execute(_BY_SEQUENCE, (sequence_in(found[0][0]),)).fetchone() if found else None

    def _near(self, ref: str) -> str:
        """Only the neighbours in the order of names are looked at: a miss must stay cheap."""
        from difflib import get_close_matches

        if not identifiers.is_semantic_name(ref):
            return "`reed snippet list` shows what there is"
        found = [*self._writer.execute(_NAMES_FROM, (ref,)), *self._writer.execute(_NAMES_BEFORE, (ref,))]
        near = get_close_matches(ref, [name for (name,) in found], n=1)
        return f"did you mean {near[0]!r}?" if near else "`reed snippet list` shows what there is"

    def _name_in_use(self, name: str) -> Conflict:
        return Conflict(
            f"the name {name!r} is in use by {self.find(name).id}", hint="choose another, or update that snippet"
        )


def window(after: str, limit: int) -> tuple[int, int]:
    """Where a page begins (a sequence number) and how many records it has at most."""
    if limit > LARGEST_LIMIT:
        raise Malformed(f"limit {limit}", hint=f"at most {LARGEST_LIMIT}; the cursor leads to the rest")
    return start_after(after), limit or DEFAULT_LIMIT


def start_after(after: str) -> int:
    """The sequence number in a cursor; 0 for an empty one, which is the beginning."""
    start = sequence_of(after.lower()) if after else 0
    if start is None:
        raise Malformed(f"after: {after!r} is not an id", hint="send the cursor of the page before")
    return start


def _page(query: tuple[str, tuple[Any, ...]], limit: int, connection: sqlite3.Connection) -> Steps[RecordPage]:
    rows = connection.execute(*query)
    records: list[Record] = []
    room = PAGE_BYTES
    for row in rows:
        if len(records) == limit or (records and room < len(row[-1])):
            rows.close()
            return RecordPage(records, records[-1].id)
        records.append(Record._make(row))
        room -= len(row[-1])
        if not len(records) % _STEP:
            yield
    return RecordPage(records, "")


def _changed_meanwhile(ref: str, version: int, expected: int) -> Overtaken:
    return Overtaken(
        f"{ref} has version {version}, not {expected}: it was changed meanwhile",
        hint="get it again and repeat the change on what it is now",
    )


def check_length(content: bytes) -> None:
    if len(content) > MAX_CONTENT:
        raise Invalid(f"the content has {len(content)} bytes", hint=f"at most {MAX_CONTENT}")
