"""Reads: from memory, by the loop's connection if they are short, else by a worker (see `reading`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reed.errors import CallError, NotFound
from reed.store.base import Done, Failed, HitPage, RecordPage
from reed.store.field_values import conditions_of
from reed.store.ids import UUID_LENGTH, id_range, sequence_of
from reed.store.postgres.long_reads import LongRead
from reed.store.postgres.parts import Parts
from reed.store.postgres.reader import WAIT_SECONDS
from reed.store.postgres.statements import FIRST_ID
from reed.store.postgres.values import Rows, array_of, column, number, params, record_of, text
from reed.store.query import hit_limit, parse
from reed.store.snippets import (
    AFTER_NAMES,
    MAX_IDS_COUNTED,
    MAX_SHORT_PAGE,
    ambiguous,
    not_found,
    page_limit,
    page_to,
    start_after,
)
from reed.store.workers import THE_STORE, Deadline, Origin, run
from reed.wire import identifiers
from reed.wire.registry import Definition
from reed.wire.search import SearchHit
from reed.wire.snippets import Record


class Reads(Parts):
    def get(self, ref: str, done: Done[Record], failed: Failed) -> None:
        record = self._records.get(ref)
        if record is not None:
            done(record)
        else:
            self._find(ref, done, failed)

    # Records.

    def _find(
        self, ref: str, done: Done[Record], failed: Failed, until: float | None = None, *, for_write: bool = False
    ) -> None:
        """The record with this ref, from the database; NotFound, or Conflict for an ambiguous prefix. `for_write`: read
        again if it has changed since the read was sent, as a write of that version would have no effect."""
        until = until or self._loop.now() + WAIT_SECONDS

        def found(record: Record | None) -> None:
            if record is not None:
                done(record)
            else:
                self._find_by_prefix(ref, done, failed, until)

        if len(ref) == UUID_LENGTH and sequence_of(ref.lower()) is not None:
            self._find_by("by_id", ref.lower(), found, failed, until, for_write=for_write)
        elif identifiers.is_semantic_name(ref):
            self._find_by("by_name", ref, found, failed, until, for_write=for_write)
        else:
            self._find_by_prefix(ref, done, failed, until)

    def _find_by(
        self,
        statement: str,
        key: str,
        done: Done[Record | None],
        failed: Failed,
        until: float | None = None,
        *,
        for_write: bool = False,
    ) -> None:
        began = self._records.begin()

        def answered(rows: Rows) -> None:
            record = record_of(rows, 0) if rows.ntuples else None
            is_current = self._records.end(began, record)
            if record is None:
                self._records.doubt(key)
            if is_current or not for_write:
                done(record)
            else:
                self._find_by(statement, key, done, failed, until, for_write=True)

        def refused(error: CallError) -> None:
            self._records.end(began)
            failed(error)

        self._reader.ask(statement, (key.encode(),), answered, refused, until)

    def _find_by_prefix(self, ref: str, done: Done[Record], failed: Failed, until: float) -> None:
        bounds = id_range(ref.lower()) if len(ref) < UUID_LENGTH else None
        if bounds is None:
            self._not_found(ref, failed, until)
            return

        def answered(rows: Rows) -> None:
            ids = column(rows, 0)
            if len(ids) > 1:
                failed(ambiguous(ref.lower(), ids))
            elif ids:
                self._find(ids[0], done, failed, until)
            else:
                self._not_found(ref, failed, until)

        self._reader.ask("by_prefix", params(*bounds, MAX_IDS_COUNTED + 1), answered, failed, until)

    def _not_found(self, ref: str, failed: Failed, until: float) -> None:
        def refuse(names: list[str]) -> None:
            failed(not_found(ref, names))

        if identifiers.is_semantic_name(ref):
            self._reader.ask("near_names", (ref.encode(),), lambda rows: refuse(column(rows, 0)), failed, until)
        else:
            refuse([])

    def names(self, prefix: str, limit: int, done: Done[list[str]], failed: Failed) -> None:
        wanted = params(prefix, prefix + AFTER_NAMES, page_limit(limit))
        self._reader.ask("names", wanted, lambda rows: done(column(rows, 0)), failed)

    # Pages.

    def page(
        self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        limit, after = page_limit(limit), _after(after)

        def begin() -> None:
            if type_name:
                self._types.catalog.get(type_name)
            if limit <= MAX_SHORT_PAGE:
                self._short_page(type_name, after, limit, done, failed)
            else:
                self._read_in_worker("page", (type_name, after, limit), page_to(done), failed, origin)

        self._with_types(begin, failed)

    def _short_page(self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed) -> None:
        def read(rows: Rows) -> None:
            records = [record_of(rows, row) for row in range(rows.ntuples)]
            is_more = bool(records) and text(rows, 0, 7) == "t"
            done(RecordPage(records, records[-1].id if is_more else ""))

        if type_name:
            self._reader.ask("page_of_type", params(after, limit, type_name), read, failed)
        else:
            self._reader.ask("page", params(after, limit), read, failed)

    def find(
        self,
        type_name: str,
        conditions: bytes,
        after: str,
        limit: int,
        done: Done[RecordPage],
        failed: Failed,
        origin: Origin = THE_STORE,
    ) -> None:
        limit, after = page_limit(limit), _after(after)
        wanted = conditions_of(conditions)

        def begin() -> None:
            indexed = list(self._types.catalog.get(type_name).fields)
            arguments = type_name, indexed, wanted, after, limit
            self._read_in_worker("find", arguments, page_to(done), failed, origin)

        self._with_types(begin, failed)

    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE) -> None:
        def begin(record_id: str) -> None:
            self._read_in_worker("tree", (record_id, depth), done, failed, origin)

        if root:
            self.get(root, lambda record: begin(record.id), failed)
        else:
            begin("")

    # Types.

    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None:
        def begin() -> None:
            found = self._types.catalog.get(type_name)
            done(Definition(found.name, found.definition))

        self._with_types(begin, failed)

    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None:  # noqa: ARG002
        done(self._types.catalog.definitions())

    def check(
        self, type_name: str, after: str, limit: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        after = _after(after)

        def begin() -> None:
            definition = self._types.catalog.get(type_name).definition
            self._read_in_worker("check", (type_name, definition, after, limit), done, failed, origin)

        self._with_types(begin, failed)

    def _with_types(self, operation: Callable[[], None], failed: Failed) -> None:
        """Another core may have defined a type that this one does not know: look again before saying so."""
        try:
            operation()
        except NotFound:
            self._refresh_types(lambda: run(operation, failed), failed)

    def _refresh_types(self, then: Callable[[], None], failed: Failed, until: float | None = None) -> None:
        until = until or self._loop.now() + WAIT_SECONDS
        known = self._types.known()

        def revisions(rows: Rows) -> None:
            found = {text(rows, row, 0): number(rows, row, 1) for row in range(rows.ntuples)}
            self._types.drop(known, found)
            names = self._types.outdated(found.items())
            if names:
                self._reader.ask("definitions", (array_of(names),), definitions, failed, until)
            else:
                then()

        def definitions(rows: Rows) -> None:
            self._types.load(
                (text(rows, row, 0), number(rows, row, 1), rows.get_value(row, 2) or b"") for row in range(rows.ntuples)
            )
            then()

        self._reader.ask("revisions", (), revisions, failed, until)

    # Search.

    def search(
        self,
        query: str,
        type_name: str,
        limit: int,
        offset: int,
        done: Done[HitPage],
        failed: Failed,
        origin: Origin = THE_STORE,
    ) -> None:
        limit = hit_limit(limit, offset)
        terms = [tuple(term) for term in parse(query)]

        def begin() -> None:
            if type_name:
                self._types.catalog.get(type_name)
            self._index.when_caught_up(self._last_batch, search)

        def search(_: CallError | None) -> None:
            arguments = terms, type_name, limit, offset
            self._read_in_worker("search", arguments, found, failed, origin, self._deadlines.search)

        def found(answer: tuple[int, list[tuple[Any, ...]]]) -> None:
            total, hits = answer
            done(HitPage(total, [SearchHit(*hit) for hit in hits]))

        self._with_types(begin, failed)

    def _read_in_worker(
        self,
        kind: str,
        arguments: tuple[Any, ...],
        done: Done[Any],
        failed: Failed,
        origin: Origin,
        deadline: Deadline | None = None,
    ) -> None:
        deadline = deadline or self._deadlines.job

        def submit(seconds: float, done: Done[Any], failed: Failed, origin: Origin) -> None:
            full = (self._conninfo, seconds, *arguments)
            self._workers.submit(kind, full, done, failed, origin=origin, deadline=deadline._replace(seconds=seconds))

        self._long_reads.begin(LongRead(submit, done, failed, origin, self._loop.now() + deadline.seconds))


def _after(cursor: str) -> str:
    start_after(cursor)
    return cursor.lower() or FIRST_ID
