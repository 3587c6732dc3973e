"""Writes of snippets: what each checks, and the statements that it puts into the next batch."""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import CallError
from reed.store.base import Done, Failed, Preview
from reed.store.contents import Content, is_checked_in_loop
from reed.store.postgres.checks import Checks, Values, arrays_of, put_fields, unique_of
from reed.store.postgres.operation import ALL, Operation
from reed.store.postgres.values import Params, params
from reed.store.postgres.writer import Line, Step, Write
from reed.store.snippets import overtaken
from reed.store.types import Type
from reed.store.workers import THE_STORE, Origin, run
from reed.wire import identifiers
from reed.wire.snippets import Record

_CREATE_BYTES = 300  # of its parameters, about, but for the content


class SnippetWrites(Checks):
    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        if name:
            identifiers.check("semantic name", name)
        is_next = not self._write_context.origins.is_taken(origin)
        if not (is_next and self._create_at_once(type_name, name, content, done, failed, origin)):
            self._creation(type_name, name, content, done, failed, origin).begin()

    def _creation(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin
    ) -> Operation:
        def attempt(operation: Operation) -> None:
            type_ = self._types.catalog.require(type_name)
            operation.revision = self._types.revision(type_name)

            def write(checked: Content) -> None:
                record = self._new_record(type_name, name, checked.text)
                if name and operation.is_fresh:
                    self._when_name_is_free(operation, name, record.id, lambda: insert(record, checked))
                else:
                    insert(record, checked)

            def insert(record: Record, checked: Content) -> None:
                if not self._is_current(checked):
                    operation.again()
                    return
                values = self._values(type_, checked)
                when_free(record, values, lambda: put(record, values))

            def when_free(record: Record, values: Values, then: Callable[[], None]) -> None:
                if operation.is_fresh and type_.unique:
                    self._when_values_are_free(operation, type_, record.id, values, then)
                else:
                    then()

            def put(record: Record, values: Values) -> None:
                def written(line: Line) -> None:
                    self._created(line, record, origin)
                    operation.finish(lambda: done(record.id))

                operation.write(self._insert(type_, record, values, origin), written)

            self._check(operation, type_, content, write)

        return Operation(self._write_context, origin, failed, attempt)

    def _create_at_once(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin
    ) -> bool:
        """Most creates: a short content, right by the type in memory. False: it needs an operation."""
        try:
            type_ = self._types.catalog.require(type_name)
            is_checked = is_checked_in_loop(type_, content)
        except CallError:
            return False
        if not is_checked:
            return False
        record = self._new_record(type_name, name, content)

        def written(line: Line) -> None:
            self._created(line, record, origin)
            self._pending.end(origin, number)
            run(lambda: done(record.id), failed)
            self._pending.end(ALL, of_all)

        def refused() -> None:
            operation = self._creation(type_name, name, content, done, failed, origin)
            operation.begin_again(number, revision)
            self._pending.end(ALL, of_all)

        def fail(error: CallError) -> None:
            self._pending.end(origin, number)
            failed(error)
            self._pending.end(ALL, of_all)

        revision = self._types.revision(type_name)
        of_all, number = self._pending.begin(ALL), self._pending.begin(origin)
        values = self._values(type_, Content(content, type_)) if type_.indexed or type_.unique else {}
        steps = self._insert(type_, record, values, origin)
        self._writer.put(Write(steps, written, refused, fail, size=len(content) + _CREATE_BYTES))
        return True

    def _new_record(self, type_name: str, name: str, content: bytes) -> Record:
        now = self._clock()
        _, snippet_id = self._ids.next(now)
        return Record(snippet_id, type_name, name, 1, now // 1000, now // 1000, content)

    def _insert(self, type_: Type, record: Record, values: Values, origin: Origin) -> list[Step]:
        statement = "create" + ("_unique" if type_.unique else "") + ("_indexed" if type_.columns else "")
        given = params(
            record.id,
            type_.name,
            self._types.revision(type_.name),
            record.semantic_name,
            record.created_at,
            record.content,
            origin.plugin,
        )
        if type_.unique:
            given += arrays_of(unique_of(type_, values))
        return [Step(statement, given), *put_fields(type_, values)]

    def _created(self, line: Line, record: Record, origin: Origin) -> None:
        self._snippets.add(line.seq, 1)
        self._changed(line, "snippet.created", record, origin)
        self._records.wrote(line.seq, record.id, None, record.semantic_name)  # most of an import are not read soon

    # Updates.

    def update(
        self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        def attempt(operation: Operation) -> None:
            def merge(old: Record) -> None:
                if if_version and if_version != old.version:
                    raise overtaken(ref, old.version, if_version)
                type_ = self._types.catalog.require(old.snippet_type)

                def replace(content: Content) -> None:
                    self._replace(operation, old, content, old.semantic_name, done, origin)

                then = operation.guarded(replace)
                self._contents.merge(type_, bytes(old.content), patch, then, operation.refuse, operation.job_origin)

            self._current(operation, ref, merge)

        self._operation(origin, failed, attempt)

    def preview(
        self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        def attempt(operation: Operation) -> None:
            def merge(old: Record) -> None:
                if if_version and if_version != old.version:
                    raise overtaken(ref, old.version, if_version)

                def finish(content: Content) -> None:
                    operation.finish(lambda: done(Preview(old, content.text)))

                self._contents.merge(None, bytes(old.content), patch, finish, operation.refuse, operation.job_origin)

            self._current(operation, ref, merge)

        self._operation(origin, failed, attempt)

    def replace(
        self,
        seen: Record,
        content: bytes,
        done: Done[str],
        failed: Failed,
        *,
        name: str | None = None,
        origin: Origin = THE_STORE,
    ) -> None:
        new_name = seen.semantic_name if name is None else name

        def attempt(operation: Operation) -> None:
            def check(old: Record) -> None:
                if old != seen:
                    raise overtaken(seen.id, old.version, seen.version)
                if new_name:
                    identifiers.check("semantic name", new_name)
                type_ = self._types.catalog.require(old.snippet_type)
                if name is not None and content == seen.content:
                    write(Content(content, type_))  # a rename is valid even if the content no longer fits its type
                else:
                    self._check(operation, type_, content, write)

            def write(found: Content) -> None:
                self._replace(operation, seen, found, new_name, done, origin)

            self._current(operation, seen.id, check)

        self._operation(origin, failed, attempt)

    def _replace(
        self, operation: Operation, old: Record, content: Content, name: str, done: Done[str], origin: Origin
    ) -> None:
        now = self._clock() // 1000
        record = old._replace(semantic_name=name, version=old.version + 1, updated_at=now, content=content.text)

        def written(line: Line) -> None:
            self._changed(line, "snippet.updated", record, origin)
            self._records.wrote(line.seq, record.id, record, record.semantic_name)
            operation.finish(lambda: done(record.id))

        self._overwrite(operation, old, record, content, now, written, origin)

    def _overwrite(
        self,
        operation: Operation,
        old: Record,
        record: Record,
        content: Content,
        at: int,
        written: Callable[[Line], None],
        origin: Origin,
    ) -> None:
        if not self._is_current(content):
            operation.again()
            return
        type_ = self._types.catalog.require(record.snippet_type)
        values = self._values(type_, content)
        unique = unique_of(type_, values)
        given = (*self._record_params(type_, record, at, origin), *arrays_of(unique), *params(old.version))
        has_moved = record.snippet_type != old.snippet_type
        statement = "replace_indexed" if type_.columns or has_moved else "replace"

        def put() -> None:
            steps = [Step(statement, given)]
            if type_.fields or has_moved:
                steps += [Step("drop_fields", ()), *put_fields(type_, values)]
            operation.write(steps, written, snippet_id=record.id)

        def check_values() -> None:
            if operation.is_fresh and unique:
                self._when_values_are_free(operation, type_, record.id, values, put)
            else:
                put()

        if operation.is_fresh and record.semantic_name and record.semantic_name != old.semantic_name:
            self._when_name_is_free(operation, record.semantic_name, record.id, check_values)
        else:
            check_values()

    def _record_params(self, type_: Type, record: Record, at: int, origin: Origin) -> Params:
        """$4 to $13 of the statements that write a whole record."""
        return params(
            record.id,
            type_.name,
            self._types.revision(type_.name),
            record.semantic_name,
            record.version,
            record.created_at,
            record.updated_at,
            record.content,
            at,
            origin.plugin,
        )

    def is_placed(self, origin: Origin) -> bool:  # noqa: ARG002
        return False  # a batch is under way until it is committed

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        if name:
            identifiers.check("semantic name", name)

        def attempt(operation: Operation) -> None:
            def rename(old: Record) -> None:
                now = self._clock() // 1000
                record = old._replace(semantic_name=name, version=old.version + 1, updated_at=now)

                def written(line: Line) -> None:
                    self._changed(line, "snippet.updated", record, origin, is_indexed=True)
                    self._records.wrote(line.seq, record.id, record, record.semantic_name)
                    operation.finish(lambda: done(record.id))

                def write() -> None:
                    given = params(record.id, name, now, old.version, origin.plugin)
                    operation.write((Step("rename", given),), written, snippet_id=record.id)

                if name and operation.is_fresh:
                    self._when_name_is_free(operation, name, record.id, write)
                else:
                    write()

            self._current(operation, ref, rename)

        self._operation(origin, failed, attempt)

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        def attempt(operation: Operation) -> None:
            def delete(old: Record) -> None:
                at_version = params(old.id, old.version)
                kept = Step("keep_deleted", (*at_version, *params(origin.plugin)))
                deletion = Step("delete", (*at_version, *params(self._clock() // 1000, origin.plugin)))
                steps = [kept, deletion]
                if cascade:
                    names = ("hold", "drop_bonds_below", "drop_bonds_above")
                    hold, *drops = (Step(name, at_version, is_marked=False) for name in names)
                    steps = [hold, kept, *drops, deletion]

                def written(line: Line) -> None:
                    self._snippets.add(line.seq, -1)
                    self._changed(line, "snippet.deleted", old, origin)
                    self._records.wrote(line.seq, old.id, None)
                    if cascade:
                        self._count_bonds(finish)
                    else:
                        finish()

                def finish() -> None:
                    operation.finish(lambda: done(old.id))

                def write() -> None:
                    operation.write(steps, written, snippet_id=old.id, decides=len(steps) - 1)

                if operation.is_fresh and not cascade:
                    self._when_unbonded(operation, old, write)
                else:
                    write()

            self._current(operation, ref, delete)

        self._operation(origin, failed, attempt)
