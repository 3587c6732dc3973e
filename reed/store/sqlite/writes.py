"""Writes: contents are checked (see `contents`), then written into the turn's transaction.

A worker may check a content meanwhile, so `write` looks again whether what `begin` has seen still holds.
"""

from __future__ import annotations

import sqlite3
from functools import partial

from reed.store import restoring
from reed.store.base import Done, Failed, Preview, Restored
from reed.store.contents import Content, is_checked_in_loop
from reed.store.deleted import NOT_DELETED, Deleted, bonds_member, content_member
from reed.store.field_values import FieldValue
from reed.store.ids import sequence_in
from reed.store.schema import import_library, is_library_needed
from reed.store.snippets import overtaken
from reed.store.sqlite.bonds import NewBond
from reed.store.sqlite.reads import Reads
from reed.store.types import MAX_COUNTED, Type, compile_in_loop, from_outline, not_tried, type_in_use
from reed.store.workers import THE_STORE, Origin, run
from reed.wire import identifiers
from reed.wire.snippets import Record, RestoreFlag
from reed.wire.watch import CREATED, DEFINED, DELETED, UNDEFINED, UPDATED

MAX_RETRIES = 5  # of a write whose snippet was changed while its content was in a worker


class Writes(Reads):
    # Snippets.

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        if self._contents.away and self._contents.has_away(origin):
            create = partial(self.create, type_name, name, content, done, failed, origin)
            self._contents.in_order(origin, create, failed)
            return
        if name:
            identifiers.check("semantic name", name)
        type_ = self._types.current.require(type_name)
        if is_checked_in_loop(type_, content):  # most are short: without the closure below a CREATE is a third faster
            self._insert(type_, name, content, None, done, failed, origin)
            return

        def write(checked: Content) -> None:
            type_ = self._types.current.require(type_name)
            if type_ is checked.type:
                self._insert(type_, name, checked.text, checked.values, done, failed, origin)
            else:  # it was redefined meanwhile
                self._contents.check(type_, content, write, failed, origin)

        self._contents.check(type_, content, write, failed, origin)

    def _insert(
        self,
        type_: Type,
        name: str,
        text: bytes,
        values: dict[str, FieldValue] | None,
        done: Done[str],
        failed: Failed,
        origin: Origin,
    ) -> None:
        """As `_write`, without a closure and a Record for each of many creates."""
        self._writes += 1
        self._has_changed = True
        try:
            snippet_id, at = self._snippets.create(type_, name, text, values)
            self._index.created()
            if CREATED in self._outbox.subscribers:
                record = Record(snippet_id, type_.name, name, 1, at, at, text)
                self._outbox.add(CREATED, record, at, origin.plugin)
            self._log.add_created(snippet_id, type_.name, name, at, origin.plugin)
        except (sqlite3.Error, MemoryError) as error:
            raise self._transaction.fail(error) from error
        self._transaction.reply_at_end(done, snippet_id, failed)

    def _changed(self, kind: str, record: Record, at: int, origin: Origin, deleted: Deleted = NOT_DELETED) -> None:
        self._outbox.add(kind, record, at, origin.plugin, deleted)
        self._log.add(kind, record, at, origin.plugin)

    def update(
        self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        def begin(retries: int = MAX_RETRIES) -> None:
            old = self._read(lambda: self._snippets.find(ref))
            if if_version and if_version != old.version:
                raise overtaken(ref, old.version, if_version)
            type_ = self._types.current.require(old.snippet_type)
            seen = self._writes

            def write(content: Content) -> None:
                if self._is_current(old, content, seen):
                    self._write(lambda: self._replaced(self._snippets.replace(old, content), origin), done, failed)
                elif retries:
                    begin(retries - 1)
                else:
                    raise overtaken(ref, old.version + 1, old.version)

            self._contents.merge(type_, bytes(old.content), patch, write, failed, origin)

        self._contents.in_order(origin, begin, failed)

    def preview(
        self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        def begin() -> None:
            old = self._read(lambda: self._snippets.find(ref))
            if self._snippets.is_uncommitted(old.id):  # a filter sees what is committed
                self._transaction.reply_at_end(lambda _: run(begin, failed), None, lambda _: run(begin, failed))
                return
            if if_version and if_version != old.version:
                raise overtaken(ref, old.version, if_version)
            self._contents.merge(
                None, bytes(old.content), patch, lambda content: done(Preview(old, content.text)), failed, origin
            )

        self._contents.in_order(origin, begin, failed)

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
        def begin() -> None:
            check_seen()
            type_ = self._types.current.require(seen.snippet_type)
            if name is not None and content == seen.content:
                write(Content(content, type_))  # a rename is valid even if the content no longer fits its type
            else:
                self._contents.check(type_, content, write, failed, origin)

        def write(checked: Content) -> None:
            check_seen()
            if self._types.current.require(seen.snippet_type) is checked.type:
                self._write(lambda: self._replaced(self._snippets.replace(seen, checked, name), origin), done, failed)
            else:
                begin()

        def check_seen() -> None:
            # Compare the whole record: after a ROLLBACK the same version may get another content.
            current = self._read(lambda: self._snippets.find(seen.id))
            if current != seen:
                raise overtaken(seen.id, current.version, seen.version)

        self._contents.in_order(origin, begin, failed)

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        # The search index has no names.
        def rename() -> str:
            return self._replaced(self._snippets.rename(ref, name), origin, is_indexed=True)

        self._contents.in_order(origin, lambda: self._write(rename, done, failed), failed)

    def is_placed(self, origin: Origin) -> bool:
        return not self._contents.has_away(origin)

    def _is_current(self, old: Record, content: Content, seen: int) -> bool:
        """May the content be written in place of `old`, or was one or its type changed since `seen`?"""
        if self._writes == seen:
            return True
        current = self._read(lambda: self._snippets.find(old.id))
        return current == old and self._types.current.require(old.snippet_type) is content.type

    def _replaced(self, record: Record, origin: Origin, *, is_indexed: bool = False) -> str:
        if not is_indexed:
            self._index.changed(sequence_in(record.id))
        self._changed(UPDATED, record, record.updated_at, origin)
        return record.id

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        def delete() -> str:
            record = self._snippets.find(ref)
            deleted = NOT_DELETED
            if self._outbox.is_wanted(DELETED, origin.plugin):
                deleted = Deleted(content_member(record.content), bonds_member(self._bonds.of(record)))
            self._bonds.delete_of(record, cascade)
            self._snippets.delete(record)
            self._index.changed(sequence_in(record.id))
            self._changed(DELETED, record, self._clock() // 1000, origin, deleted)
            return record.id

        self._contents.in_order(origin, lambda: self._write(delete, done, failed), failed)

    def restore(
        self, record: Record, done: Done[Restored], failed: Failed, *, flags: int = 0, origin: Origin = THE_STORE
    ) -> None:
        record = restoring.checked(record)

        def begin() -> None:
            if self._read(lambda: self._snippets.find_at(record.id)) == record:
                unchanged = Restored(record.id, "unchanged")
                if flags & RestoreFlag.DRY_RUN or not self._transaction.is_open:
                    done(unchanged)
                else:
                    self._write(lambda: unchanged, done, failed)
                return
            type_ = self._types.current.require(record.snippet_type)
            self._contents.check(type_, bytes(record.content), write, failed, origin, accept_unfit=True)

        def write(content: Content) -> None:
            plan = self._read(lambda: self._snippets.plan_restore(record, content, flags))
            self._bonds.check_restored(record)
            if flags & RestoreFlag.DRY_RUN:
                done(plan.result)
            elif self._types.current.require(record.snippet_type) is not content.type:
                begin()
            else:
                self._write(lambda: restored(plan, content), done, failed)

        def restored(plan: restoring.Plan, content: Content) -> Restored:
            self._snippets.restore(plan, content)
            self._index.changed(sequence_in(record.id))
            kind = CREATED if plan.old is None else UPDATED
            self._changed(kind, plan.record, self._clock() // 1000, origin)
            return plan.result

        self._contents.in_order(origin, begin, failed)

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
        def begin() -> None:
            self._bond_queue.begin(
                NewBond(parent, child, weight, path, origin.plugin),
                lambda insert: self._write(insert, done, failed),
                failed,
                origin,
            )

        self._contents.in_order(origin, begin, failed)

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        def unbond() -> None:
            self._bonds.unbond(parent, child, origin.plugin)

        self._contents.in_order(origin, lambda: self._write(unbond, done, failed), failed)

    # Types and the search index.

    def define(
        self, type_name: str, definition: bytes, done: Done[bool], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Takes effect when the field indexes that it needs are built."""
        definition = bytes(definition)

        def begin() -> None:
            new = compile_in_loop(type_name, definition)
            if new is not None:
                build(new)
                return
            # It belongs into a worker, or is no JSON Schema: try it there.
            self._workers.submit(
                "try_type",
                (type_name, definition),
                lambda answer: run(lambda: build(from_outline(type_name, definition, *answer)), failed),
                lambda error: failed(not_tried(type_name, error)),
                origin=origin,
                deadline=self._deadlines.job,
            )

        def build(new: Type) -> None:
            self._fields.check_idle(type_name)
            try:
                if self._fields.must_build(new):
                    self._fields.build(new, lambda: apply(new), failed)
                else:
                    apply(new)
            except (sqlite3.Error, MemoryError) as error:
                raise self._transaction.fail(error) from error

        def apply(new: Type) -> None:
            self._write(lambda: self._define(new, origin), done, failed)

        def import_first() -> None:
            if is_library_needed(definition):
                back = self._contents.leave(origin, failed)
                import_library(self._workers.call_soon, lambda: back(begin))
            else:
                begin()

        self._contents.in_order(origin, import_first, failed)

    def _define(self, new: Type, origin: Origin) -> bool:
        old = self._types.define(new)
        self._index.redefined(new, old, self._snippets.count.value)
        self._fields.redefined(new)
        self._log.add_type(DEFINED, new.name, self._clock() // 1000, origin.plugin)
        return old is None

    def delete_type(self, type_name: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        def delete() -> None:
            self._types.current.get(type_name)
            self._fields.check_idle(type_name)
            if count := self._snippets.count_of(type_name, MAX_COUNTED + 1):
                raise type_in_use(type_name, count)
            self._types.delete(type_name)
            self._fields.deleted(type_name)
            self._log.add_type(UNDEFINED, type_name, self._clock() // 1000, origin.plugin)

        self._contents.in_order(origin, lambda: self._write(delete, done, failed), failed)

    def index(self, ref: str, done: Done[int], failed: Failed) -> None:
        def mark() -> int:
            self._transaction.begin()  # even if there is nothing to mark: the reply comes after the COMMIT
            if ref:
                self._index.changed(sequence_in(self._snippets.find(ref).id))
                return 1
            self._index.reindex(self._snippets.count.value)
            return self._snippets.count.value

        def wait(count: int) -> None:
            self._index.when_caught_up(lambda error: failed(error) if error else done(count))

        self._write(mark, wait, failed)
