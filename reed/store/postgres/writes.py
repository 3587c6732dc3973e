"""Writes: what each checks, and the statements that it puts into the next transaction (see `operation`, `writer`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reed.errors import CallError, Conflict, Invalid, JobMemory, JobTimeout, Malformed, NotFound
from reed.store import restoring
from reed.store.base import Done, Failed, Preview, Restored
from reed.store.contents import Content, check_in_loop
from reed.store.field_values import FieldValue
from reed.store.postgres.operation import Operation
from reed.store.postgres.reading import key_text
from reed.store.postgres.reads import Reads, Rows, array_of, text
from reed.store.postgres.writer import Line, Step, Write
from reed.store.snippets import name_in_use, overtaken
from reed.store.types import MAX_DEFINITION_IN_LOOP, Type, check_definition, compile_type
from reed.store.workers import THE_STORE, Origin, run
from reed.wire import identifiers
from reed.wire.snippets import Record

MAX_PATH = 65535  # bytes
_NULL = b"null"

Values = dict[str, FieldValue]
Then = Callable[[Record], None]


class Writes(Reads):
    # Snippets.

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        if name:
            identifiers.check("semantic name", name)
        if self._origins.is_taken(origin) or not self._create_at_once(type_name, name, content, done, failed, origin):
            self._create(type_name, name, content, done, failed, origin)

    def _create(
        self,
        type_name: str,
        name: str,
        content: bytes,
        done: Done[str],
        failed: Failed,
        origin: Origin,
        *,
        is_fresh: bool = False,
    ) -> None:
        def attempt(operation: Operation) -> None:
            type_ = self._types.catalog.require(type_name)

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

            self._contents.check(
                type_,
                content,
                lambda checked: operation.guard(lambda: write(checked)),
                operation.refuse,
                operation.job_origin,
            )

        self._operation(origin, failed, attempt, is_fresh=is_fresh)

    def _create_at_once(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin
    ) -> bool:
        """Most creates: a short content, right by the type in memory. False: it needs an operation."""
        try:
            type_ = self._types.catalog.require(type_name)
            checked = check_in_loop(type_, content)
        except CallError:
            return False
        if checked is None:
            return False
        record = self._new_record(type_name, name, checked.text)

        def written(line: Line) -> None:
            self._created(line, record, origin)
            self._pending.end(origin, number)
            run(lambda: done(record.id), failed)

        def refused() -> None:
            self._pending.end(origin, number)
            self._create(type_name, name, content, done, failed, origin, is_fresh=True)

        def fail(error: CallError) -> None:
            self._pending.end(origin, number)
            failed(error)

        number = self._pending.begin(origin)
        steps = self._insert(type_, record, self._values(type_, checked), origin)
        self._writer.put(Write(steps, written, refused, fail))
        return True

    def _is_current(self, content: Content) -> bool:
        """Is the type the one that it was checked against?"""
        return self._types.catalog.require(content.type_name) is content.type

    def _new_record(self, type_name: str, name: str, content: bytes) -> Record:
        now = self._clock()
        _, snippet_id = self._ids.next(now)
        return Record(snippet_id, type_name, name, 1, now // 1000, now // 1000, content)

    def _values(self, type_: Type, content: Content) -> Values:
        return content.values_of(type_.fields) if type_.indexed or type_.unique else {}

    def _insert(self, type_: Type, record: Record, values: Values, origin: Origin) -> list[Step]:
        statement = "create" + ("_unique" if type_.unique else "") + ("_indexed" if type_.columns else "")
        params = [
            record.id.encode(),
            type_.name.encode(),
            self._types.revision(type_.name),
            record.semantic_name.encode(),
            str(record.created_at).encode(),
            bytes(record.content),
            origin.plugin.encode(),
        ]
        if type_.unique:
            params += _arrays(_unique(type_, values))
        return [Step(statement, params), *_put_fields(type_, values)]

    def _created(self, line: Line, record: Record, origin: Origin) -> None:
        self._snippet_count += 1
        self._changed(line, "snippet.created", record, origin)
        self._records.wrote(line.seq, record.id, None)  # most of an import are not read soon

    def _changed(self, line: Line, kind: str, record: Record, origin: Origin) -> None:
        self._last_batch = max(self._last_batch, line.seq)
        cause = self._outbox.causes(kind, origin.plugin, record.id)
        self._outbox.added(kind, origin.plugin, line, cause)
        type_ = self._types.catalog.find(record.snippet_type)
        if type_ is not None and type_.columns:
            self._index.touched()

    # Checks that need the database.

    def _when_name_is_free(self, operation: Operation, name: str, snippet_id: str, then: Callable[[], None]) -> None:
        def found(holder: Record | None) -> None:
            def check() -> None:
                if holder is not None and holder.id != snippet_id:
                    raise name_in_use(name, holder.id)
                then()

            operation.guard(check)

        self._find_by("by_name", name, found, operation.refuse)

    def _when_values_are_free(
        self, operation: Operation, type_: Type, snippet_id: str, values: Values, then: Callable[[], None]
    ) -> None:
        unique = _unique(type_, values)

        def found(rows: Rows) -> None:
            def check() -> None:
                count = rows.ntuples
                if count:
                    field, holder = (text(rows, 0, at) for at in (0, 1))
                    raise Conflict(
                        f"{field} is unique among snippets of type {type_.name!r}:"
                        f" {unique[field].shown} is the value of {holder}",
                        hint="choose another value, or change that snippet",
                    )
                then()

            operation.guard(check)

        params = (type_.name.encode(), snippet_id.encode(), *_arrays(unique))
        self._reader.ask("holder_of_value", params, found, operation.refuse)

    def _current(self, operation: Operation, ref: str, then: Then) -> None:
        record = None if operation.is_fresh else self._records.get(ref)
        if record is not None:
            then(record)
        else:
            self._find(ref, lambda found: operation.guard(lambda: then(found)), operation.refuse)

    # Updates.

    def update(
        self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        def attempt(operation: Operation) -> None:
            def merge(old: Record) -> None:
                if if_version and if_version != old.version:
                    raise overtaken(ref, old.version, if_version)
                type_ = self._types.catalog.require(old.snippet_type)
                self._contents.merge(
                    type_,
                    bytes(old.content),
                    patch,
                    lambda content: operation.guard(
                        lambda: self._replace(operation, old, content, old.semantic_name, done, origin)
                    ),
                    operation.refuse,
                    operation.job_origin,
                )

            self._current(operation, ref, merge)

        self._operation(origin, failed, attempt)

    def preview(
        self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        def attempt(operation: Operation) -> None:
            def merge(old: Record) -> None:
                if if_version and if_version != old.version:
                    raise overtaken(ref, old.version, if_version)
                self._contents.merge(
                    None,
                    bytes(old.content),
                    patch,
                    lambda content: operation.finish(lambda: done(Preview(old, content.text))),
                    operation.refuse,
                    operation.job_origin,
                )

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
                    self._contents.check(
                        type_,
                        content,
                        lambda found: operation.guard(lambda: write(found)),
                        operation.refuse,
                        operation.job_origin,
                    )

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
            self._records.wrote(line.seq, record.id, record)
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
        unique = _unique(type_, values)
        params = [
            record.id.encode(),
            type_.name.encode(),
            self._types.revision(type_.name),
            record.semantic_name.encode(),
            *(str(number).encode() for number in (record.version, record.created_at, record.updated_at)),
            bytes(record.content),
            str(at).encode(),
            origin.plugin.encode(),
            *_arrays(unique),
            str(old.version).encode(),
        ]
        statement = "replace_indexed" if type_.columns else "replace"

        def put() -> None:
            steps = [Step(statement, params)]
            if type_.fields or (record.snippet_type != old.snippet_type):
                steps += [Step("drop_fields", ()), *_put_fields(type_, values)]
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

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        if name:
            identifiers.check("semantic name", name)

        def attempt(operation: Operation) -> None:
            def rename(old: Record) -> None:
                now = self._clock() // 1000
                record = old._replace(semantic_name=name, version=old.version + 1, updated_at=now)

                def written(line: Line) -> None:
                    self._last_batch = max(self._last_batch, line.seq)
                    cause = self._outbox.causes("snippet.updated", origin.plugin, record.id)
                    self._outbox.added("snippet.updated", origin.plugin, line, cause)
                    self._records.wrote(line.seq, record.id, record)
                    operation.finish(lambda: done(record.id))

                def write() -> None:
                    numbers = str(now).encode(), str(old.version).encode()
                    params = (record.id.encode(), name.encode(), *numbers, origin.plugin.encode())
                    operation.write((Step("rename", params),), written, snippet_id=record.id)

                if name and operation.is_fresh:
                    self._when_name_is_free(operation, name, record.id, write)
                else:
                    write()

            self._current(operation, ref, rename)

        self._operation(origin, failed, attempt)

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        def attempt(operation: Operation) -> None:
            def delete(old: Record) -> None:
                at_version = old.id.encode(), str(old.version).encode()
                numbers = str(self._clock() // 1000).encode(), origin.plugin.encode()
                steps = [Step("delete", (*at_version, *numbers))]
                if cascade:
                    names = ("hold", "drop_bonds_below", "drop_bonds_above")
                    steps[:0] = [Step(name, at_version, is_marked=False) for name in names]

                def written(line: Line) -> None:
                    self._snippet_count -= 1
                    self._changed(line, "snippet.deleted", old, origin)
                    self._records.wrote(line.seq, old.id, None)
                    if cascade:
                        self._count_bonds()
                    operation.finish(lambda: done(old.id))

                def write() -> None:
                    operation.write(steps, written, snippet_id=old.id, decides=len(steps) - 1)

                if operation.is_fresh and not cascade:
                    self._when_unbonded(operation, old, write)
                else:
                    write()

            self._current(operation, ref, delete)

        self._operation(origin, failed, attempt)

    def _when_unbonded(self, operation: Operation, record: Record, then: Callable[[], None]) -> None:
        def found(rows: Rows) -> None:
            def check() -> None:
                if rows.ntuples:
                    raise Conflict(
                        f"{_label(record)} has bonds", hint="delete with cascade (--cascade) to remove them too"
                    )
                then()

            operation.guard(check)

        self._reader.ask("bonds_of", (record.id.encode(),), found, operation.refuse)

    def _count_bonds(self) -> None:
        def counted(rows: Rows) -> None:
            self._bond_count = int(text(rows, 0, 0))

        self._reader.ask("count_bonds", (), counted, lambda _: None)

    def restore(
        self,
        record: Record,
        done: Done[Restored],
        failed: Failed,
        *,
        accept_unfit: bool = False,
        overwrite: bool = False,
        dry_run: bool = False,
        origin: Origin = THE_STORE,
    ) -> None:
        record = restoring.checked(record)

        def attempt(operation: Operation) -> None:
            def found(old: Record | None) -> None:
                operation.guard(lambda: check(old))

            def check(old: Record | None) -> None:
                if old == record:
                    operation.finish(lambda: done(Restored(record.id, "unchanged")))
                    return
                type_ = self._types.catalog.require(record.snippet_type)
                self._contents.check(
                    type_,
                    bytes(record.content),
                    lambda content: operation.guard(lambda: plan(old, content)),
                    operation.refuse,
                    operation.job_origin,
                    accept_unfit=True,
                )

            def plan(old: Record | None, content: Content) -> None:
                now = self._clock() // 1000
                planned = restoring.plan(
                    record, old, content.problem, now, accept_unfit=accept_unfit, overwrite=overwrite
                )

                def finish() -> None:
                    operation.finish(lambda: done(planned.result))

                def written(line: Line) -> None:
                    if old is None:
                        self._snippet_count += 1
                        self._ids.reserve_id(record.id)
                    self._changed(line, "snippet.created" if old is None else "snippet.updated", record, origin)
                    self._records.wrote(line.seq, record.id, None)
                    finish()

                def write() -> None:
                    if dry_run:
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

            self._find_by("by_id", record.id, found, operation.refuse)

        self._operation(origin, failed, attempt)

    def _check_free(self, operation: Operation, record: Record, content: Content, then: Callable[[], None]) -> None:
        """Name and unique values of a record to be restored."""
        type_ = self._types.catalog.require(record.snippet_type)

        def check_values() -> None:
            values = self._values(type_, content)
            if _unique(type_, values):
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
        params = [
            record.id.encode(),
            type_.name.encode(),
            self._types.revision(type_.name),
            record.semantic_name.encode(),
            *(str(number).encode() for number in (record.version, record.created_at, record.updated_at)),
            bytes(record.content),
            str(at).encode(),
            origin.plugin.encode(),
            *_arrays(_unique(type_, values)),
        ]
        return [Step("restore_indexed" if type_.columns else "restore", params), *_put_fields(type_, values)]

    # Bonds.

    def bond(
        self,
        parent: str,
        child: str,
        weight: int,
        path: str,
        done: Done[str],
        failed: Failed,
        origin: Origin = THE_STORE,
    ) -> None:
        if not -(1 << 31) <= weight < 1 << 31:
            raise Malformed(f"weight {weight}", hint="a weight has 32 bits")
        if len(path.encode("utf-8", "replace")) > MAX_PATH or "\0" in path:
            raise Malformed("path: too long, or contains NUL", hint=f"at most {MAX_PATH} bytes")

        def attempt(operation: Operation) -> None:
            def bond(above: Record, below: Record) -> None:
                if above.id == below.id:
                    raise Conflict(f"{_label(above)} cannot be its own parent")
                self._types.catalog.get(above.snippet_type).check_child(below.snippet_type)
                now = self._clock()
                _, bond_id = self._ids.next(now)

                def written(line: Line) -> None:
                    self._last_batch = max(self._last_batch, line.seq)
                    made()

                def made() -> None:
                    self._bond_count += 1
                    self._records.wrote(0, bond_id, None)
                    operation.finish(lambda: done(bond_id))

                if operation.is_fresh:
                    # The worker makes it, or says why not; its line in the log counts it.
                    arguments = (self._conninfo, self._deadlines.job.seconds, bond_id, above.id, below.id)
                    self._submit(
                        "bond",
                        (*arguments, weight, path, now // 1000),
                        lambda _: operation.finish(lambda: done(bond_id)),
                        operation.refuse,
                        operation.job_origin,
                    )
                    return
                limits = self._types.limits
                params = [
                    bond_id.encode(),
                    above.id.encode(),
                    below.id.encode(),
                    str(weight).encode(),
                    path.encode(),
                    above.snippet_type.encode(),
                    below.snippet_type.encode(),
                    self._types.revision(above.snippet_type),
                    str(now // 1000).encode(),
                    array_of(list(limits)),
                    array_of([str(limit) for limit in limits.values()]),
                ]
                steps = [Step("lock_bonds", (), is_marked=False), Step("bond", params)]
                operation.write(steps, written, decides=1)

            self._both(operation, parent, child, bond)

        self._operation(origin, failed, attempt)

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        def attempt(operation: Operation) -> None:
            def unbond(above: Record, below: Record) -> None:
                def written(line: Line) -> None:
                    self._last_batch = max(self._last_batch, line.seq)
                    self._bond_count -= 1
                    self._records.wrote(line.seq, "", None)
                    operation.finish(lambda: done(None))

                def write() -> None:
                    params = above.id.encode(), below.id.encode(), str(self._clock() // 1000).encode()
                    operation.write((Step("unbond", params),), written)

                def found(rows: Rows) -> None:
                    def check() -> None:
                        if not rows.ntuples:
                            raise NotFound(
                                f"{_label(below)} is not a child of {_label(above)}",
                                hint="`reed schema tree` shows the bonds there are",
                            )
                        write()

                    operation.guard(check)

                if operation.is_fresh:
                    self._reader.ask("bond_of", (above.id.encode(), below.id.encode()), found, operation.refuse)
                else:
                    write()

            self._both(operation, parent, child, unbond)

        self._operation(origin, failed, attempt)

    def _both(self, operation: Operation, parent: str, child: str, then: Callable[[Record, Record], None]) -> None:
        def find(ref: str, found: Then) -> None:
            record = None if operation.is_fresh else self._records.get(ref)
            if record is not None:
                found(record)
            else:
                self._find(ref, lambda record: operation.guard(lambda: found(record)), operation.refuse)

        find(parent, lambda above: find(child, lambda below: then(above, below)))

    # Types and the search index.

    def define(
        self, type_name: str, definition: bytes, done: Done[bool], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """A worker compiles it and defines it, in a transaction of its own."""
        definition = bytes(definition)
        check_definition(type_name, definition)

        def attempt(operation: Operation) -> None:
            def write() -> None:
                arguments = self._conninfo, self._deadlines.job.seconds, type_name, definition, self._clock() // 1000
                self._submit("define", arguments, lambda found: operation.guard(lambda: defined(found)), refuse, origin)

            def defined(revision: int) -> None:
                self._types.load([(type_name, revision, definition)])
                self._records.forget()
                self._index.touched()
                self._last_batch += 1  # at least: a search waits for what is to be indexed again
                operation.finish(lambda: done(revision == 1))

            def refuse(error: CallError) -> None:
                operation.finish(lambda: failed(_refused(type_name, error)))

            if len(definition) <= MAX_DEFINITION_IN_LOOP:
                new = compile_type(type_name, definition, for_loop=True)
                if new.schema is None or new.schema.is_compiled:
                    write()
                    return
            self._submit("try_type", (type_name, definition), lambda _: write(), refuse, origin)

        self._operation(origin, failed, attempt)

    def _submit(
        self, kind: str, arguments: tuple[Any, ...], done: Callable[[Any], None], failed: Failed, origin: Origin
    ) -> None:
        self._workers.submit(kind, arguments, done, failed, origin=origin, deadline=self._deadlines.job)

    def index(self, ref: str, done: Done[int], failed: Failed) -> None:
        def attempt(operation: Operation) -> None:
            def mark(snippet_id: str, count: int) -> None:
                def written(line: Line) -> None:
                    self._last_batch = max(self._last_batch, line.seq)
                    self._index.touched()
                    self._index.when_caught_up(line.seq, lambda error: failed(error) if error else done(count))
                    operation.finish(lambda: None)

                operation.write((Step("mark", (snippet_id.encode(),), is_marked=False),), written, has_line=False)

            if ref:
                self._current(operation, ref, lambda record: mark(record.id, 1))
            else:
                mark("", self._snippet_count)

        self._operation(THE_STORE, failed, attempt)


def _refused(type_name: str, error: CallError) -> CallError:
    if error.error_code not in {JobTimeout.error_code, JobMemory.error_code}:
        return error
    return Invalid(
        f"type {type_name!r}: schema: validating takes too long: {error.message}",
        hint="a definition that refers to itself twice for the same value never ends; make it simpler",
    )


def _unique(type_: Type, values: Values) -> Values:
    return {field: value for field, value in values.items() if field in type_.unique and value.key != _NULL}


def _arrays(values: Values) -> tuple[bytes, bytes]:
    """Fields and their values, as two arrays."""
    return array_of(list(values)), array_of([key_text(value.key) for value in values.values()])


def _put_fields(type_: Type, values: Values) -> list[Step]:
    if not values:
        return []
    unique = _unique(type_, values)
    flags = array_of(["t" if field in unique else "f" for field in values])
    return [Step("put_fields", (*_arrays(values), flags))]


def _label(record: Record) -> str:
    return record.semantic_name or record.id
