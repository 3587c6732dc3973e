"""What all writes share: parts of their statements, checks that ask the database, what a COMMIT changes here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reed.errors import Conflict
from reed.store.base import Failed
from reed.store.bonds import has_bonds
from reed.store.contents import Content
from reed.store.field_values import NULL_KEY, FieldValue, text_of_key
from reed.store.postgres.operation import Operation
from reed.store.postgres.reads import Reads
from reed.store.postgres.values import Params, Rows, array_of, params, text
from reed.store.postgres.writer import Line, Step
from reed.store.snippets import label_of, name_in_use, value_in_use
from reed.store.types import Type
from reed.store.workers import Origin
from reed.wire.snippets import Record

Values = dict[str, FieldValue]
Then = Callable[[Record], None]


class Checks(Reads):
    def _is_current(self, content: Content) -> bool:
        """Is the type the one that it was checked against?"""
        return self._types.catalog.require(content.type_name) is content.type

    def _values(self, type_: Type, content: Content) -> Values:
        return content.values_of(type_.fields) if type_.indexed or type_.unique else {}

    def _changed(self, line: Line, kind: str, record: Record, origin: Origin, *, is_indexed: bool = False) -> None:
        """`is_indexed`: what the search index has of it is right."""
        self._reached(line.seq)
        cause = self._outbox.causes(kind, origin.plugin, record.id)
        self._outbox.added(kind, origin.plugin, line, cause)
        type_ = self._types.catalog.find(record.snippet_type)
        if not is_indexed and type_ is not None and type_.columns:
            self._index.touched()

    def _check(
        self,
        operation: Operation,
        type_: Type,
        content: bytes,
        then: Callable[[Content], None],
        *,
        accept_unfit: bool = False,
    ) -> None:
        """Check the content as this operation, here or in a worker."""
        then, origin = operation.guarded(then), operation.job_origin
        self._contents.check(type_, content, then, operation.refuse, origin, accept_unfit=accept_unfit)

    # Checks that need the database.

    def _when_name_is_free(self, operation: Operation, name: str, snippet_id: str, then: Callable[[], None]) -> None:
        def found(holder: Record | None) -> None:
            if holder is not None and holder.id != snippet_id:
                raise name_in_use(name, holder.id)
            _check_order(operation, f"the name {name!r} was in use")
            then()

        self._find_by("by_name", name, operation.guarded(found), operation.refuse, operation.until)

    def _when_values_are_free(
        self, operation: Operation, type_: Type, snippet_id: str, values: Values, then: Callable[[], None]
    ) -> None:
        unique = unique_of(type_, values)

        def found(rows: Rows) -> None:
            if rows.ntuples:
                field, holder = text(rows, 0, 0), text(rows, 0, 1)
                raise value_in_use(type_.name, field, unique[field].shown, holder)
            _check_order(operation, "the value of a unique field was in use")
            then()

        self._ask(operation, "holder_of_value", params(type_.name, snippet_id, *arrays_of(unique)), found)

    def _current(self, operation: Operation, ref: str, then: Then) -> None:
        if operation.is_fresh:
            self._records.doubt(ref)
        record = self._records.get(ref)
        if record is not None:
            then(record)
        else:
            self._find(ref, operation.guarded(then), operation.refuse, operation.until, for_write=True)

    def _when_unbonded(self, operation: Operation, record: Record, then: Callable[[], None]) -> None:
        def found(rows: Rows) -> None:
            if rows.ntuples:
                raise has_bonds(label_of(record))
            then()

        self._ask(operation, "bonds_of", params(record.id), found)

    def _ask(self, operation: Operation, statement: str, given: Params, found: Callable[[Rows], None]) -> None:
        self._reader.ask(statement, given, operation.guarded(found), operation.refuse, operation.until)

    def _count_bonds(self, then: Callable[[], None]) -> None:
        """Count them in the database, then go on."""

        def counted(rows: Rows) -> None:
            self._read_bonds(rows)
            then()

        self._reader.ask("count_bonds", (), counted, lambda _: then())

    def _submit(
        self, kind: str, arguments: tuple[Any, ...], done: Callable[[Any], None], failed: Failed, origin: Origin
    ) -> None:
        """A write that a worker makes, on a blocking connection."""
        deadline = self._deadlines.job
        arguments = (self._conninfo, deadline.seconds, *arguments)
        self._workers.submit(kind, arguments, done, failed, origin=origin, deadline=deadline)


def _check_order(operation: Operation, what: str) -> None:
    """What a later write of the same connection has made free was not free for this one."""
    if operation.is_overtaken:
        raise Conflict(f"{what} when it was the turn of this write", hint="retry")


def unique_of(type_: Type, values: Values) -> Values:
    return {field: value for field, value in values.items() if field in type_.unique and value.key != NULL_KEY}


def arrays_of(values: Values) -> Params:
    """Fields and their values, as two arrays."""
    return params(array_of(values), array_of(text_of_key(value.key) for value in values.values()))


def put_fields(type_: Type, values: Values) -> list[Step]:
    if not values:
        return []
    unique = unique_of(type_, values)
    flags = array_of(field in unique for field in values)
    return [Step("put_fields", params(*arrays_of(values), flags))]
