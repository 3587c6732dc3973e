"""Reads of what is committed: in the loop if they are short, otherwise in a worker (see `reading`)."""

from __future__ import annotations

from typing import Any

from reed.errors import CallError
from reed.store.base import Done, Failed, HitPage, RecordPage
from reed.store.field_values import conditions_of
from reed.store.ids import sequence_in
from reed.store.snippets import MAX_SHORT_PAGE, page_limit, page_to, start_after
from reed.store.sqlite.find import Find
from reed.store.sqlite.graph import tree
from reed.store.sqlite.parts import Parts
from reed.store.tree_text import TooManyNodes
from reed.store.workers import THE_STORE, Origin
from reed.wire.registry import Definition
from reed.wire.search import SearchHit
from reed.wire.snippets import Record

MAX_SHORT_FIND = 1  # entries of an index: each may have 16 MB of content
MAX_SMALL_TREE = 100  # nodes


class Reads(Parts):
    def get(self, ref: str, done: Done[Record], failed: Failed) -> None:  # noqa: ARG002
        done(self._find(ref))

    def _find(self, ref: str) -> Record:
        record = self._cache.get(ref)
        if record is None:
            record = self._read(lambda: self._lookup.find(ref))
            self._cache.put(record)
        return record

    def page(
        self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        limit, start = page_limit(limit), start_after(after)
        if type_name:
            self._types.committed.get(type_name)
        if limit <= MAX_SHORT_PAGE:
            done(self._read(lambda: self._lookup.page(type_name, start, limit)))
        else:
            self._read_in_worker(
                "page",
                (type_name, start, limit),
                page_to(done),
                lambda: done(self._lookup.page(type_name, start, limit)),
                failed,
                origin,
            )

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
        limit, start = page_limit(limit), start_after(after)
        find = Find(self._types.committed.get(type_name).name, conditions_of(conditions), start, limit)
        entries = self._read(lambda: find.entries(self._database.reader, MAX_SHORT_FIND + 1))
        if entries is not None and entries.size <= MAX_SHORT_FIND:
            done(self._read(lambda: find.page(self._database.reader)))
        else:
            self._read_in_worker(
                "find",
                tuple(find),
                page_to(done),
                lambda: done(find.page(self._database.reader)),
                failed,
                origin,
            )

    def names(self, prefix: str, limit: int, done: Done[list[str]], failed: Failed) -> None:  # noqa: ARG002
        limit = page_limit(limit)
        done(self._read(lambda: self._lookup.names(prefix, limit)))

    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE) -> None:
        sequence = sequence_in(self._find(root).id) if root else None
        try:
            text = self._read(lambda: tree(self._database.reader, sequence, depth, MAX_SMALL_TREE))
        except TooManyNodes:
            self._read_in_worker(
                "tree",
                (sequence, depth),
                done,
                lambda: done(tree(self._database.reader, sequence, depth)),
                failed,
                origin,
            )
        else:
            done(text)

    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None:  # noqa: ARG002
        found = self._types.committed.get(type_name)
        done(Definition(found.name, found.definition))

    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None:  # noqa: ARG002
        done(self._types.committed.definitions())

    def check(
        self, type_name: str, after: str, limit: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        type_, start = self._types.committed.get(type_name), start_after(after)
        self._read_in_worker("check", (type_name, type_.definition, start, limit), done, None, failed, origin)

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
        if type_name:
            self._types.committed.get(type_name)
        columns = sorted(self._types.committed.columns())

        def begin(_error: CallError | None) -> None:
            # If the index cannot be written (a full disk), search what is indexed.
            arguments = (tuple(self._database.source), query, type_name, columns, limit, offset)
            deadline = self._deadlines.search
            self._workers.submit("search", arguments, found, failed, origin=origin, deadline=deadline)

        def found(answer: tuple[int, list[tuple[Any, ...]]]) -> None:
            total, hits = answer
            done(HitPage(total, [SearchHit(*hit) for hit in hits]))

        self._index.when_caught_up(begin)
