"""Indexes of fields: a type's definition names them as `indexed`, or as `unique`, which is indexed too.

    field_indexes   one row for each (type, field): is_unique, is_ready
    field_entries   (snippet, index) -> key of the field's value (see `equality`); a missing field has no entry

Entries are written in the transaction of their snippet. An index that is defined while the type has snippets is built
before its definition takes effect:

    DEFINE ── rows, not ready ── slices over the existing snippets ── rows ready, definition written ── answered
               from here on writes add entries too          └─ a value of a unique field twice: 409, rows dropped

Rows that are neither ready nor being built (dropped, or left by a crash) are removed with their entries, in slices.
Unique: no two snippets of the type have the same value; missing fields and null are not compared.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from reed.errors import CallError, Conflict, StoreFailed
from reed.store.base import Failed
from reed.store.sqlite.equality import canonical, fields_of, key_of, shown
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.types import Type
from reed.wire.strict_json import Json
from reed.wire.structs import Bytes

_REMOVED_AT_ONCE = 500  # entries
_NULL = key_of("null")

_PUT = "INSERT OR REPLACE INTO field_entries (sequence, index_id, key) VALUES (?, ?, ?)"
_ENTRIES = "SELECT index_id, key FROM field_entries WHERE sequence = ?"
_OTHER = "SELECT sequence FROM field_entries WHERE index_id = ? AND key = ? AND sequence != ? LIMIT 1"
_REMOVE = (
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
    value: Json  # as `fields_of` gave it


@dataclass(slots=True, eq=False)
class _Build:
    type: Type
    indexes: tuple[FieldIndex, ...]
    apply: Callable[[], None]  # writes the definition
    failed: Failed
    at: int  # snippets up to this one have their entries
    end: int  # the last snippet when it began
    is_whole: bool = False
    conflict: Conflict | None = None  # that a write made meanwhile


class FieldIndexes:
    def __init__(self, turn: Transaction, writer: sqlite3.Connection, monotonic: Callable[[], float]) -> None:
        self._turn = turn
        self._writer = writer
        self._monotonic = monotonic
        self._live: dict[str, list[FieldIndex]] = {}  # by type: ready, or being built
        self._dropped: list[int] = []
        self._builds: deque[_Build] = deque()
        self._lost: list[_Build] = []  # in the turn that failed
        self._wrote = False  # in this turn, in a slice
        self._is_paused = False  # a slice could not be written: no use to try before something else was
        self._load()
        turn.join(self)

    def _load(self) -> None:
        rows = self._writer.execute("SELECT id, type, field, is_unique, is_ready FROM field_indexes ORDER BY id")
        building = {index.id for build in self._builds for index in build.indexes}
        self._live, self._dropped = {}, []
        for number, type_name, field, is_unique, is_ready in rows.fetchall():
            if is_ready or number in building:
                index = FieldIndex(number, type_name, field, bool(is_unique), bool(is_ready))
                self._live.setdefault(type_name, []).append(index)
            else:
                self._dropped.append(number)

    # What the writes of snippets say.

    def check(self, type_name: str, sequence: int, content: Bytes) -> list[Entry]:
        """The entries of a snippet that is to be written; Conflict when it repeats a unique value."""
        indexes = self._live.get(type_name)
        if not indexes:
            return []
        entries = _entries(indexes, content)
        for entry in entries:
            if entry.field_index.is_unique and entry.field_index.is_ready:
                other = self._other(entry, sequence)
                if other is not None:
                    raise Conflict(
                        f"{entry.field_index.field} is unique among snippets of type {type_name!r}:"
                        f" {shown(entry.value)} is the value of {self._label(other)}",
                        hint="choose another value, or change that snippet",
                    )
        return entries

    def put(self, type_name: str, sequence: int, entries: list[Entry], *, is_new: bool = False) -> None:
        """Write the entries that `check` gave, along with their snippet; only what differs is written."""
        if type_name not in self._live:
            return
        there = {} if is_new else dict(self._writer.execute(_ENTRIES, (sequence,)).fetchall())
        for entry in entries:
            if there.pop(entry.field_index.id, None) != entry.key:
                self._writer.execute(_PUT, (sequence, entry.field_index.id, entry.key))
                if not entry.field_index.is_ready:
                    self._compare(entry, sequence)
        for index_id in there:
            self._writer.execute("DELETE FROM field_entries WHERE sequence = ? AND index_id = ?", (sequence, index_id))

    def _compare(self, entry: Entry, sequence: int) -> None:
        """A write is not refused for an index that is being built: its definition is."""
        build = next(build for build in self._builds if entry.field_index in build.indexes)
        build.conflict = build.conflict or self._conflict(entry, sequence)

    def _conflict(self, entry: Entry, sequence: int) -> Conflict | None:
        """Why a field cannot become unique, if this snippet shares its value with another."""
        other = self._other(entry, sequence) if entry.field_index.is_unique else None
        if other is None:
            return None
        return Conflict(
            f"{entry.field_index.field} cannot be unique: {shown(entry.value)} is the value of {self._label(other)} and"
            f" {self._label(sequence)}",
            hint="change or delete one of them first",
        )

    def deleted(self, type_name: str, sequence: int) -> None:
        if type_name in self._live:
            self._writer.execute("DELETE FROM field_entries WHERE sequence = ?", (sequence,))

    # What definitions say.

    def check_idle(self, type_name: str) -> None:
        """Conflict when another definition of this type waits for its indexes."""
        if any(build.type.name == type_name for build in self._builds):
            raise Conflict(
                f"another definition of type {type_name!r} is building its indexes", hint="try again when that is done"
            )

    def must_build(self, kind: Type) -> bool:
        return bool(self._missing(kind)) and self._last_of(kind.name) is not None

    def build(self, kind: Type, apply: Callable[[], None], failed: Failed) -> None:
        """Build the indexes that the type lacks, in slices; then `apply`, or `failed`."""
        self._turn.begin()
        self._insert(kind, is_ready=False)
        rows = "SELECT id FROM field_indexes WHERE type = ? AND NOT is_ready ORDER BY id DESC LIMIT ?"
        missing = self._missing(kind)
        ids = [number for (number,) in self._writer.execute(rows, (kind.name, len(missing)))]
        indexes = tuple(
            FieldIndex(number, kind.name, field, is_unique, is_ready=False)
            for number, (field, is_unique) in zip(reversed(ids), missing.items(), strict=True)
        )
        self._builds.append(_Build(kind, indexes, apply, failed, at=0, end=self._last_of(kind.name) or 0))
        self._load()

    def redefined(self, kind: Type) -> None:
        """The definition was written: its indexes are ready, and those that it does not name are dropped."""
        self._turn.begin()
        built = next((build for build in self._builds if build.type is kind), None)
        if built is not None:
            self._builds.remove(built)
            for index in built.indexes:
                self._writer.execute("UPDATE field_indexes SET is_ready = 1 WHERE id = ?", (index.id,))
        else:
            self._insert(kind, is_ready=True)
        wanted = _wanted(kind)
        for index in self._live.get(kind.name, ()):
            if index.is_ready and self._is_kept(index, wanted):
                self._writer.execute(
                    "UPDATE field_indexes SET is_unique = ? WHERE id = ?", (wanted[index.field], index.id)
                )
            elif index.is_ready:
                self._writer.execute("UPDATE field_indexes SET is_ready = 0 WHERE id = ?", (index.id,))
        self._load()

    def _missing(self, kind: Type) -> dict[str, bool]:
        """Fields without an index that would do, and whether they are to be unique."""
        wanted = _wanted(kind)
        ready = {index.field for index in self._live.get(kind.name, ()) if self._is_kept(index, wanted)}
        return {field: is_unique for field, is_unique in wanted.items() if field not in ready}

    @staticmethod
    def _is_kept(index: FieldIndex, wanted: dict[str, bool]) -> bool:
        """An index that becomes unique is built anew: that finds values that are there twice."""
        return index.is_ready and index.field in wanted and (index.is_unique or not wanted[index.field])

    def _insert(self, kind: Type, *, is_ready: bool) -> None:
        for field, is_unique in self._missing(kind).items():
            self._writer.execute(
                "INSERT INTO field_indexes (type, field, is_unique, is_ready) VALUES (?, ?, ?, ?)",
                (kind.name, field, is_unique, is_ready),
            )

    def _last_of(self, type_name: str) -> int | None:
        (last,) = self._writer.execute("SELECT max(sequence) FROM snippets WHERE type = ?", (type_name,)).fetchone()
        return None if last is None else int(last)

    # The work.

    @property
    def has_work(self) -> bool:
        return bool(self._builds or (self._dropped and not self._is_paused))

    def work(self, until: float) -> None:
        """A slice of the oldest build, or of what was dropped. The turn must be closed."""
        if not self.has_work:  # any more: the commit before this slice failed
            return
        build = self._builds[0] if self._builds else None
        if build is not None and build.is_whole:
            self._finish(build)
            return
        self._turn.begin_lazy()
        self._wrote = True
        if build is None:
            self._remove(self._dropped[0])
            return
        self._go_on(build, until)
        if build.conflict is not None:
            self._give_up(build, build.conflict)

    def _go_on(self, build: _Build, until: float) -> None:
        rows = self._writer.execute(_NEXT, (build.type.name, build.at, build.end))
        while build.conflict is None:
            row = rows.fetchone()
            if row is None:
                build.is_whole = True
                break
            sequence, content = row
            for entry in _entries(build.indexes, content):
                build.conflict = build.conflict or self._conflict(entry, sequence)
                self._writer.execute(_PUT, (sequence, entry.field_index.id, entry.key))
            build.at = sequence
            if self._monotonic() >= until:
                break
        rows.close()

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

    def _remove(self, index_id: int) -> None:
        removed = self._writer.execute(_REMOVE, (index_id, _REMOVED_AT_ONCE)).rowcount
        if removed < _REMOVED_AT_ONCE:
            self._writer.execute("DELETE FROM field_indexes WHERE id = ?", (index_id,))
            self._dropped.remove(index_id)

    def settle(self, kept: bool) -> None:
        self._is_paused = self._wrote and not kept
        if not kept:
            there = {number for (number,) in self._writer.execute("SELECT id FROM field_indexes")}
            for number, build in enumerate(list(self._builds)):
                if (self._wrote and number == 0) or any(index.id not in there for index in build.indexes):
                    self._builds.remove(build)
                    self._lost.append(build)
            self._load()
        self._wrote = False

    def release(self, error: CallError | None) -> None:
        """After a turn, which `error` ended if there is one: the builds that lost something in a turn fail."""
        lost, self._lost = self._lost, []
        for build in lost:
            build.failed(error or StoreFailed("an index could not be written", hint="define the type again"))

    def _other(self, entry: Entry, sequence: int) -> int | None:
        """A snippet beside this one with the same value, where that matters."""
        if entry.key == _NULL:
            return None
        found = self._writer.execute(_OTHER, (entry.field_index.id, entry.key, sequence)).fetchone()
        return None if found is None else int(found[0])

    def _label(self, sequence: int) -> str:
        found = self._writer.execute("SELECT name, id FROM snippets WHERE sequence = ?", (sequence,)).fetchone()
        return str(found[0] or found[1])


def _entries(indexes: list[FieldIndex] | tuple[FieldIndex, ...], content: Bytes) -> list[Entry]:
    fields = fields_of(content)
    values = [(index, fields[index.field]) for index in indexes if index.field in fields]
    return [Entry(index, key_of(canonical(value)), value) for index, value in values]


def _wanted(kind: Type) -> dict[str, bool]:
    """The fields that a definition wants an index of, and whether they are unique."""
    return {field: field in kind.unique for field in sorted(kind.indexed | kind.unique)}
