"""Indexes of the fields that a type's definition calls `indexed` or `unique`.

    field_indexes   a row for each (type, field): is_unique, is_ready
    field_entries   (snippet, index) -> key of the field's value (see `field_values`); none for a missing field

An index that a definition adds to a type with snippets is built in slices:

    DEFINE ── rows, not ready ── entries of existing snippets ── rows ready, definition written ── done
               writes add entries from here on  └─ a unique value occurs twice: Conflict, index dropped

    workers read values; the loop writes the entries, except for snippets written since the worker began to read

Dropped indexes are deleted in slices. Uniqueness ignores missing fields and null.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from reed.errors import CallError, Conflict, StoreFailed
from reed.store.base import Failed
from reed.store.contents import Content
from reed.store.field_values import NULL_KEY, FieldValue, values_of
from reed.store.snippets import cannot_be_unique, value_in_use
from reed.store.sqlite.database import label
from reed.store.sqlite.files import Source, snapshot
from reed.store.sqlite.transaction import Transaction
from reed.store.types import Type
from reed.store.workers import THE_STORE, Deadline, Workers

_DELETE_BATCH = 500  # entries
_MAX_READ, _READ_SECONDS = 1000, 0.1  # snippets that a worker reads in one job

_PUT = "INSERT OR REPLACE INTO field_entries (sequence, index_id, key) VALUES (?, ?, ?)"
_ENTRIES = "SELECT index_id, key FROM field_entries WHERE sequence = ?"
_OTHER = "SELECT sequence FROM field_entries WHERE index_id = ? AND key = ? AND sequence != ? LIMIT 1"
_DELETE = (
    "DELETE FROM field_entries WHERE (sequence, index_id) IN"
    " (SELECT sequence, index_id FROM field_entries WHERE index_id = ? LIMIT ?)"
)
_NEXT = "SELECT sequence, content FROM snippets WHERE type = ? AND sequence > ? AND sequence <= ? ORDER BY sequence"


class FieldIndex(NamedTuple):
    id: int
    type_name: str
    field: str
    is_unique: bool
    is_ready: bool


class Entry(NamedTuple):
    field_index: FieldIndex
    key: bytes
    shown: str  # the value, in a message


Row = tuple[int, dict[str, tuple[bytes, str]]]  # sequence, FieldValues by field


class _Build:
    def __init__(
        self, type_: Type, indexes: tuple[FieldIndex, ...], apply: Callable[[], None], failed: Failed, end: int
    ) -> None:
        """`apply` writes the definition. `end`: the last snippet; later writes add their own."""
        self.type = type_
        self.indexes = indexes
        self.apply = apply
        self.failed = failed
        self.end = end
        self.at = 0  # snippets up to this one have entries
        self.rows: deque[Row] = deque()  # read, beyond `at`
        self.is_last = False  # there are no more rows
        self.reading = 0  # number of the job; 0: none
        self.written: set[int] = set()  # since that job was begun
        self.is_complete = False
        self.conflict: Conflict | None = None  # a unique value that occurs twice


class FieldIndexes:
    def __init__(self, transaction: Transaction, source: Source, workers: Workers, deadline: Deadline) -> None:
        self._transaction = transaction
        self._source = source
        self._workers = workers
        self._deadline = deadline
        self._jobs = 0
        self._writer = transaction.writer
        self.live: dict[str, list[FieldIndex]] = {}  # by type, of those with any: ready, or being built
        self._dropped: list[int] = []
        self._builds: deque[_Build] = deque()
        self._failed_builds: list[_Build] = []  # by the ROLLBACK of this transaction
        self._has_written = False  # a slice, in this transaction
        self._is_paused = False  # a slice could not be written: wait for another write to succeed
        self._load()
        transaction.join(self)
        transaction.on_end.append(self._fail_builds)

    def _load(self) -> None:
        rows = self._writer.execute("SELECT id, type, field, is_unique, is_ready FROM field_indexes ORDER BY id")
        building = {index.id for build in self._builds for index in build.indexes}
        self.live, self._dropped = {}, []
        for number, type_name, field, is_unique, is_ready in rows.fetchall():
            if is_ready or number in building:
                index = FieldIndex(number, type_name, field, bool(is_unique), bool(is_ready))
                self.live.setdefault(type_name, []).append(index)
            else:
                self._dropped.append(number)

    # Writes of snippets.

    def check(self, type_name: str, sequence: int, content: Content) -> list[Entry]:
        """The entries of a snippet; Conflict when it repeats a unique value."""
        indexes = self.live.get(type_name)
        if not indexes:
            return []
        entries = _entries(indexes, content.values_of({index.field for index in indexes}))
        for entry in entries:
            if entry.field_index.is_unique and entry.field_index.is_ready:
                other = self._other(entry, sequence)
                if other is not None:
                    raise value_in_use(type_name, entry.field_index.field, entry.shown, label(self._writer, other))
        return entries

    def put(self, type_name: str, sequence: int, entries: list[Entry], *, is_new: bool = False) -> None:
        """Write the entries from `check`."""
        if type_name not in self.live:
            return
        self._note_written(type_name, sequence)
        stored = {} if is_new else dict(self._writer.execute(_ENTRIES, (sequence,)).fetchall())
        for entry in entries:
            if stored.pop(entry.field_index.id, None) != entry.key:
                self._writer.execute(_PUT, (sequence, entry.field_index.id, entry.key))
                if not entry.field_index.is_ready:
                    self._compare_with_build(entry, sequence)
        for index_id in stored:
            self._writer.execute("DELETE FROM field_entries WHERE sequence = ? AND index_id = ?", (sequence, index_id))

    def _compare_with_build(self, entry: Entry, sequence: int) -> None:
        build = next(build for build in self._builds if entry.field_index in build.indexes)
        build.conflict = build.conflict or self._duplicate(entry, sequence)

    def _duplicate(self, entry: Entry, sequence: int) -> Conflict | None:
        other = self._other(entry, sequence) if entry.field_index.is_unique else None
        if other is None:
            return None
        first, second = label(self._writer, other), label(self._writer, sequence)
        return cannot_be_unique(entry.field_index.field, entry.shown, first, second)

    def delete(self, type_name: str, sequence: int) -> None:
        if type_name in self.live:
            self._note_written(type_name, sequence)
            self._writer.execute("DELETE FROM field_entries WHERE sequence = ?", (sequence,))

    def _note_written(self, type_name: str, sequence: int) -> None:
        for build in self._builds:
            if build.type.name == type_name:
                build.written.add(sequence)

    # Definitions.

    def check_idle(self, type_name: str) -> None:
        """Conflict while another definition of this type waits for its indexes."""
        if any(build.type.name == type_name for build in self._builds):
            raise Conflict(
                f"another definition of type {type_name!r} is building its indexes", hint="retry when that is done"
            )

    def must_build(self, type_: Type) -> bool:
        return bool(self._missing(type_)) and self._last_of(type_.name) is not None

    def build(self, type_: Type, apply: Callable[[], None], failed: Failed) -> None:
        self._transaction.begin()
        indexes = self._insert(type_, is_ready=False)
        self._builds.append(_Build(type_, indexes, apply, failed, self._last_of(type_.name) or 0))
        self._load()

    def redefined(self, type_: Type) -> None:
        """The definition was written: its indexes become ready, the others are dropped."""
        self._transaction.begin()
        build = next((build for build in self._builds if build.type is type_), None)
        if build is not None:
            self._builds.remove(build)
            for index in build.indexes:
                self._writer.execute("UPDATE field_indexes SET is_ready = 1 WHERE id = ?", (index.id,))
        else:
            self._insert(type_, is_ready=True)
        wanted = type_.fields
        for index in self.live.get(type_.name, ()):
            if index.is_ready and self._is_kept(index, wanted):
                self._writer.execute(
                    "UPDATE field_indexes SET is_unique = ? WHERE id = ?", (wanted[index.field], index.id)
                )
            elif index.is_ready:
                self._writer.execute("UPDATE field_indexes SET is_ready = 0 WHERE id = ?", (index.id,))
        self._load()

    def deleted(self, type_name: str) -> None:
        self._transaction.begin()
        self._writer.execute("UPDATE field_indexes SET is_ready = 0 WHERE type = ?", (type_name,))
        self._load()

    def _missing(self, type_: Type) -> dict[str, bool]:
        wanted = type_.fields
        ready = {index.field for index in self.live.get(type_.name, ()) if self._is_kept(index, wanted)}
        return {field: is_unique for field, is_unique in wanted.items() if field not in ready}

    @staticmethod
    def _is_kept(index: FieldIndex, wanted: dict[str, bool]) -> bool:
        """An index that becomes unique is built again, which finds duplicates."""
        return index.is_ready and index.field in wanted and (index.is_unique or not wanted[index.field])

    def _insert(self, type_: Type, *, is_ready: bool) -> tuple[FieldIndex, ...]:
        statement = "INSERT INTO field_indexes (type, field, is_unique, is_ready) VALUES (?, ?, ?, ?)"
        indexes = []
        for field, is_unique in self._missing(type_).items():
            row_id = self._writer.execute(statement, (type_.name, field, is_unique, is_ready)).lastrowid
            indexes.append(FieldIndex(row_id or 0, type_.name, field, is_unique, is_ready))
        return tuple(indexes)

    def _last_of(self, type_name: str) -> int | None:
        (last,) = self._writer.execute("SELECT max(sequence) FROM snippets WHERE type = ?", (type_name,)).fetchone()
        return None if last is None else int(last)

    @property
    def has_work(self) -> bool:
        if self._builds:
            return not self._builds[0].reading
        return bool(self._dropped) and not self._is_paused

    def work(self, until: float) -> None:
        self._transaction.commit()  # so that a failing slice does not fail the turn's writes
        if not self.has_work:  # that commit failed, and the build with it
            return
        build = self._builds[0] if self._builds else None
        if build is not None and build.is_complete:
            self._finish(build)
            return
        if build is not None and not build.rows:
            self._read(build)
            return
        self._transaction.begin_unsynced()
        self._has_written = True
        if build is None:
            self._delete_slice(self._dropped[0])
            return
        self._build_slice(build, until)
        if build.conflict is not None:
            self._give_up(build, build.conflict)

    def _read(self, build: _Build) -> None:
        """A worker reads what comes next. No transaction is open, so it sees all writes but those in `written`."""
        self._jobs += 1
        job = build.reading = self._jobs
        build.written.clear()

        def done(answer: tuple[list[Row], bool]) -> None:
            if build.reading == job:
                build.reading = 0
                rows, build.is_last = answer
                build.rows.extend(rows)
                build.is_complete = build.is_last and not rows
                self._transaction.wake()

        def failed(error: CallError) -> None:
            if build.reading == job:
                build.reading = 0
                self._give_up(build, error)

        names = [index.field for index in build.indexes]
        arguments = (tuple(self._source), build.type.name, names, build.at, build.end)
        self._workers.submit("field_values", arguments, done, failed, origin=THE_STORE, deadline=self._deadline)

    def _build_slice(self, build: _Build, until: float) -> None:
        while build.rows and build.conflict is None:
            sequence, values = build.rows.popleft()
            if sequence not in build.written:
                for entry in _entries(build.indexes, {name: FieldValue(*value) for name, value in values.items()}):
                    build.conflict = build.conflict or self._duplicate(entry, sequence)
                    self._writer.execute(_PUT, (sequence, entry.field_index.id, entry.key))
            build.at = sequence
            if time.monotonic() >= until:
                break
        build.is_complete = build.is_last and not build.rows

    def _finish(self, build: _Build) -> None:
        try:
            if build.conflict is not None:
                raise build.conflict
            build.apply()
        except CallError as error:
            self._give_up(build, error)

    def _give_up(self, build: _Build, error: CallError) -> None:
        if build in self._builds:
            self._builds.remove(build)
            self._load()
        build.failed(error)

    def _delete_slice(self, index_id: int) -> None:
        deleted = self._writer.execute(_DELETE, (index_id, _DELETE_BATCH)).rowcount
        if deleted < _DELETE_BATCH:
            self._writer.execute("DELETE FROM field_indexes WHERE id = ?", (index_id,))
            self._dropped.remove(index_id)

    def settle(self, committed: bool) -> None:
        self._is_paused = self._has_written and not committed
        if not committed:
            stored = {number for (number,) in self._writer.execute("SELECT id FROM field_indexes")}
            for number, build in enumerate(list(self._builds)):
                if (self._has_written and number == 0) or any(index.id not in stored for index in build.indexes):
                    self._builds.remove(build)
                    self._failed_builds.append(build)
                else:  # writes in `written` are undone: read again
                    build.reading = 0
                    build.rows.clear()
                    build.is_last = build.is_complete = False
            self._load()
        self._has_written = False

    def _fail_builds(self, error: CallError | None) -> None:
        builds, self._failed_builds = self._failed_builds, []
        for build in builds:
            build.failed(error or StoreFailed("an index could not be written", hint="define the type again"))

    def _other(self, entry: Entry, sequence: int) -> int | None:
        if entry.key == NULL_KEY:
            return None
        found = self._writer.execute(_OTHER, (entry.field_index.id, entry.key, sequence)).fetchone()
        return None if found is None else int(found[0])


def _entries(indexes: Iterable[FieldIndex], values: dict[str, FieldValue]) -> list[Entry]:
    return [Entry(index, *values[index.field]) for index in indexes if index.field in values]


# In a worker.


def read_field_values(source: Source, type_name: str, names: list[str], after: int, end: int) -> tuple[list[Row], bool]:
    """The values of some snippets beyond `after`, and whether they are the last ones."""
    until = time.monotonic() + _READ_SECONDS
    found: list[Row] = []
    with snapshot(source) as connection:
        rows = connection.execute(_NEXT, (type_name, after, end))
        try:
            for sequence, content in rows:
                values = {name: (value.key, value.shown) for name, value in values_of(content, names).items()}
                found.append((sequence, values))
                if len(found) >= _MAX_READ or time.monotonic() >= until:
                    return found, False
        finally:
            rows.close()
    return found, True
