"""All writes: to those of snippets come bonds, types and the search index."""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import CallError
from reed.store.base import Done, Failed
from reed.store.bonds import check_place, not_bonded, own_parent
from reed.store.postgres.change_log import bond_name
from reed.store.postgres.checks import Then
from reed.store.postgres.operation import Operation
from reed.store.postgres.restores import Restores
from reed.store.postgres.values import Rows, array_of, params
from reed.store.postgres.writer import Line, Step
from reed.store.schema import import_library, is_library_needed
from reed.store.snippets import label_of
from reed.store.types import check_definition, compile_in_loop, not_tried
from reed.store.workers import THE_STORE, Origin
from reed.wire import identifiers
from reed.wire.snippets import Record


class Writes(Restores):
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
        check_place(weight, path)

        def attempt(operation: Operation) -> None:
            def bond(above: Record, below: Record) -> None:
                if above.id == below.id:
                    raise own_parent(label_of(above))
                self._types.catalog.get(above.snippet_type).check_child(below.snippet_type)
                now = self._clock()
                _, bond_id = self._ids.next(now)

                def written(line: Line) -> None:
                    self._reached(line.seq)
                    self._bonds.add(line.seq, 1)
                    self._records.wrote(line.seq, bond_id, None)
                    finish()

                def finish() -> None:
                    operation.finish(lambda: done(bond_id))
                    self._log.grew()

                if operation.is_fresh:
                    # The worker makes it, or says why not.
                    arguments = bond_id, above.id, below.id, weight, path, now // 1000, origin.plugin
                    self._submit(
                        "bond",
                        arguments,
                        lambda _: self._count_bonds(finish),
                        operation.refuse,
                        operation.job_origin,
                    )
                    return
                limits = self._types.catalog.max_depths()
                given = params(
                    bond_id,
                    above.id,
                    below.id,
                    weight,
                    path,
                    above.snippet_type,
                    below.snippet_type,
                    self._types.revision(above.snippet_type),
                    now // 1000,
                    array_of(limits),
                    array_of(limits.values()),
                    bond_name(below.id, above.semantic_name),
                    origin.plugin,
                )
                steps = [Step("lock_bonds", (), is_marked=False), Step("bond", given)]
                operation.write(steps, written, decides=1)

            self._both(operation, parent, child, bond)

        self._operation(origin, failed, attempt)

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        def attempt(operation: Operation) -> None:
            def unbond(above: Record, below: Record) -> None:
                def written(line: Line) -> None:
                    self._reached(line.seq)
                    self._bonds.add(line.seq, -1)
                    self._records.wrote(line.seq, "", None)
                    operation.finish(lambda: done(None))

                def write() -> None:
                    name = bond_name(below.id, above.semantic_name)
                    given = params(above.id, below.id, self._clock() // 1000, above.snippet_type, name, origin.plugin)
                    operation.write((Step("unbond", given),), written)

                def found(rows: Rows) -> None:
                    if not rows.ntuples:
                        raise not_bonded(label_of(above), label_of(below))
                    write()

                if operation.is_fresh:
                    self._ask(operation, "bond_of", params(above.id, below.id), found)
                else:
                    write()

            self._both(operation, parent, child, unbond)

        self._operation(origin, failed, attempt)

    def _both(self, operation: Operation, parent: str, child: str, then: Callable[[Record, Record], None]) -> None:
        def find(ref: str, found: Then) -> None:
            self._current(operation, ref, found)

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
                arguments = type_name, definition, self._clock() // 1000
                self._submit("define", arguments, operation.guarded(defined), refuse, origin)

            def defined(found: tuple[int, bool]) -> None:
                revision, is_new = found
                self._types.load([(type_name, revision, definition)])
                self._records.forget()
                self._index.touched()
                self._last_batch += 1  # at least: a search waits for what is to be indexed again
                operation.finish(lambda: done(is_new))
                self._log.grew()

            def refuse(error: CallError) -> None:
                operation.finish(lambda: failed(not_tried(type_name, error)))

            def compile_or_try() -> None:
                if compile_in_loop(type_name, definition) is not None:
                    write()
                    return
                arguments, deadline = (type_name, definition), self._deadlines.job
                self._workers.submit("try_type", arguments, lambda _: write(), refuse, origin=origin, deadline=deadline)

            if is_library_needed(definition):
                import_library(self._workers.call_soon, lambda: operation.guard(compile_or_try))
            else:
                compile_or_try()

        self._operation(origin, failed, attempt)

    def delete_type(self, type_name: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        """A worker deletes it, in a transaction of its own, after the writes of this origin that are under way."""
        identifiers.check("type name", type_name)

        def attempt(operation: Operation) -> None:
            def delete() -> None:
                arguments = type_name, self._clock() // 1000
                self._submit("delete_type", arguments, lambda _: operation.guard(deleted), refuse, origin)

            def deleted() -> None:
                self._types.drop(known, ())
                self._records.forget()
                operation.finish(lambda: done(None))
                self._log.grew()

            def refuse(error: CallError) -> None:
                operation.finish(lambda: failed(error))

            known = {name: revision for name, revision in self._types.known().items() if name == type_name}
            self._pending.when_ended(origin, delete)

        self._operation(origin, failed, attempt)

    def index(self, ref: str, done: Done[int], failed: Failed) -> None:
        def attempt(operation: Operation) -> None:
            def mark(snippet_id: str, count: int) -> None:
                def written(line: Line) -> None:
                    self._reached(line.seq)
                    self._index.touched(count)
                    self._index.when_caught_up(line.seq, lambda error: failed(error) if error else done(count))
                    operation.finish(lambda: None)

                step = Step("mark", params(snippet_id)) if snippet_id else Step("mark_all", params(count))
                operation.write((step._replace(is_marked=False),), written, has_line=False)

            if ref:
                self._current(operation, ref, lambda record: mark(record.id, 1))
            else:
                mark("", self._snippets.value)

        self._operation(THE_STORE, failed, attempt)
