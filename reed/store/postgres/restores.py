"""SNIPPET_RESTORE, which keeps a record's own id, version and times (see `reed.store.restoring`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from reed.store import restoring
from reed.store.base import Done, Failed, Restored
from reed.store.contents import Content
from reed.store.postgres.checks import arrays_of, put_fields, unique_of
from reed.store.postgres.operation import Operation
from reed.store.postgres.snippet_writes import SnippetWrites
from reed.store.postgres.writer import Line, Step
from reed.store.workers import THE_STORE, Origin
from reed.wire.snippets import Record, RestoreFlag


class Restores(SnippetWrites):
    def restore(
        self, record: Record, done: Done[Restored], failed: Failed, *, flags: int = 0, origin: Origin = THE_STORE
    ) -> None:
        record = restoring.checked(record)

        def attempt(operation: Operation) -> None:
            def check(old: Record | None) -> None:
                if old == record:
                    operation.finish(lambda: done(Restored(record.id, "unchanged")))
                    return
                type_ = self._types.catalog.require(record.snippet_type)
                self._check(operation, type_, bytes(record.content), partial(plan, old), accept_unfit=True)

            def plan(old: Record | None, content: Content) -> None:
                now = self._clock() // 1000
                planned = restoring.plan(record, old, content.problem, now, flags)

                def finish() -> None:
                    operation.finish(lambda: done(planned.result))

                def written(line: Line) -> None:
                    if old is None:
                        self._snippets.add(line.seq, 1)
                        self._ids.reserve_id(record.id)
                    self._changed(line, "snippet.created" if old is None else "snippet.updated", record, origin)
                    self._records.wrote(line.seq, record.id, None, record.semantic_name)
                    finish()

                def write() -> None:
                    if flags & RestoreFlag.DRY_RUN:
                        finish()
                    elif not self._is_current(content):
                        operation.again()
                    elif old is None:
                        operation.write(
                            self._insert_restored(record, content, now, origin), written, snippet_id=record.id
                        )
                    else:
                        self._overwrite(operation, old, record, content, now, written, origin)

                self._check_free(operation, record, content, write)

            self._find_by("by_id", record.id, operation.guarded(check), operation.refuse, operation.until)

        self._operation(origin, failed, attempt)

    def _check_free(self, operation: Operation, record: Record, content: Content, then: Callable[[], None]) -> None:
        """Name and unique values of a record to be restored."""
        type_ = self._types.catalog.require(record.snippet_type)

        def check_values() -> None:
            values = self._values(type_, content)
            if unique_of(type_, values):
                self._when_values_are_free(operation, type_, record.id, values, then)
            else:
                then()

        if record.semantic_name:
            self._when_name_is_free(operation, record.semantic_name, record.id, check_values)
        else:
            check_values()

    def _insert_restored(self, record: Record, content: Content, at: int, origin: Origin) -> list[Step]:
        type_ = self._types.catalog.require(record.snippet_type)
        values = self._values(type_, content)
        given = (*self._record_params(type_, record, at, origin), *arrays_of(unique_of(type_, values)))
        return [Step("restore_indexed" if type_.columns else "restore", given), *put_fields(type_, values)]
