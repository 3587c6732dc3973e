"""SqliteStore: the parts of this folder joined into what `reed.store.base` asks for.

    write   checked, then written into the turn's transaction; `done` after COMMIT
    read    get, a short page, a find by index: at once      a long page, a scan, a tree: a job
            search: a job, once the index has caught up
    work    a slice of the jobs, of the search index, or of the indexes of fields, in turn; and the outbox is tidied

Between turns `work` is wanted as long as it says so, and `commit` after every turn: it costs nothing when nothing is
open. A store belongs to one thread, and must not be carried through a fork.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec

from reed.errors import CallError
from reed.store.base import CauseOf, Done, Event, Failed, HitPage, Preview, RecordPage, Restored, T, no_cause
from reed.store.query import parse
from reed.store.sqlite.bonds import Bonds
from reed.store.sqlite.cache import RecordCache
from reed.store.sqlite.changes import Changes
from reed.store.sqlite.database import Database
from reed.store.sqlite.equality import conditions_of
from reed.store.sqlite.fields import FieldIndexes
from reed.store.sqlite.find import Find
from reed.store.sqlite.fitting import check
from reed.store.sqlite.ids import Ids, sequence_in
from reed.store.sqlite.index import Index
from reed.store.sqlite.jobs import Jobs, Steps, to_the_end
from reed.store.sqlite.outbox import DEFAULT_LIMIT, Outbox
from reed.store.sqlite.scheduler import Scheduler
from reed.store.sqlite.search import check_window, search
from reed.store.sqlite.snippets import Snippets, start_after, window
from reed.store.sqlite.transaction import Transaction
from reed.store.sqlite.tree import tree
from reed.store.sqlite.types import Types, compile_type
from reed.store.sqlite.wal import WalCheckpoints, Watch
from reed.wire.registry import Definition
from reed.wire.snippets import Record

P = ParamSpec("P")

DEFAULT_CACHE = 16 * 1024 * 1024  # bytes of records kept in memory
SHORT_PAGE = 100  # records
FEW = 1  # entries of an index: each may have 16 MB of content
_LAST_SEQUENCE = "SELECT max(indexed_to, (SELECT coalesce(max(sequence), 0) FROM snippets)) FROM progress"


class SqliteStore:
    """Opens `path`, or makes it; StoreFailed or StoreFull says why that cannot be."""

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        cache_bytes: int = DEFAULT_CACHE,
        most_events: int = DEFAULT_LIMIT,
        on_due: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda _: None,
        loop: Watch | None = None,
    ) -> None:
        """`clock` gives nanoseconds since 1970, `monotonic` the seconds that `work(until)` is told in. `most_events`
        may wait for one subscriber; then the oldest are lost. `on_due` is called when it became dirty or got work.
        `warn` is told when its files were deleted, replaced or truncated: then writes fail, and reads go on.
        With a `loop` it may have a process to help it (checkpoints).
        """
        self._on_due = on_due
        self._database = Database(str(path), warn)
        try:
            self._join(clock, monotonic, cache_bytes, loop)
            self._outbox = Outbox(self._turn, self._database.writer, most_events)
            self._changes = Changes(
                self._turn, self._types, self._snippets, self._bonds, self._index, self._fields, self._outbox, clock
            )
            self._work = Scheduler(self._turn, self._index, self._fields, self._jobs, self._outbox, self._checkpoints)
        except (sqlite3.Error, CallError) as error:
            self._database.close()
            if isinstance(error, sqlite3.Error):
                raise self._database.error(error) from error
            raise

    def _join(
        self, clock: Callable[[], int], monotonic: Callable[[], float], cache_bytes: int, loop: Watch | None
    ) -> None:
        writer = self._database.writer
        ids = Ids(*writer.execute(_LAST_SEQUENCE).fetchone())
        self._commits = 0
        self.changes = 0
        self._cache = RecordCache(cache_bytes)
        self._turn = turn = Transaction(self._database, self._on_due)
        self._types = Types(turn, writer)
        self._fields = FieldIndexes(turn, writer, monotonic)
        self._snippets = Snippets(turn, writer, self._types, ids, clock, self._cache, self._fields)
        self._bonds = Bonds(turn, writer, self._types, self._snippets, ids, clock)
        self._index = Index(turn, writer, self._types, ids, monotonic)
        self._checkpoints = WalCheckpoints(
            self._database, turn, monotonic, lambda: self._jobs.have_begun, self._on_due, loop
        )
        self._jobs = Jobs(self._database, monotonic, self._on_due, lambda: not self._checkpoints.is_behind)

    @property
    def dirty(self) -> bool:
        return self._turn.is_open

    @property
    def has_work(self) -> bool:
        return self._work.is_left

    # Snippets.

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, *, by: str = ""
    ) -> None:
        self._write(done, failed, self._changes.create, type_name, name, content, by)

    def update(self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, *, by: str = "") -> None:
        self._write(done, failed, self._changes.update, ref, if_version, patch, by)

    def preview(self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(self._snippets.preview, ref, if_version, patch))

    def replace(
        self, seen: Record, content: bytes, done: Done[str], failed: Failed, *, name: str | None = None, by: str = ""
    ) -> None:
        self._write(done, failed, self._changes.replace, seen, content, name, by)

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, *, by: str = "") -> None:
        self._write(done, failed, self._changes.rename, ref, name, by)

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, *, by: str = "") -> None:
        self._write(done, failed, self._changes.delete, ref, cascade, by)

    def restore(
        self, record: Record, done: Done[Restored], failed: Failed, *, dry_run: bool = False, by: str = "", **how: bool
    ) -> None:
        plan = self._read(self._changes.restoring.plan, record, **how)
        if dry_run or (plan.result.outcome == "unchanged" and not self.dirty):
            done(plan.result)
        else:
            self._write(done, failed, self._changes.restoring.carry_out, plan, by)

    def get(self, ref: str, done: Done[Record], failed: Failed) -> None:  # noqa: ARG002
        record = self._cache.get(ref)
        if record is None:
            record = self._read(self._snippets.find, ref)
        done(record)

    def page(self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed) -> None:
        """A short page at once, a long one as a job: a thousand records of 5 KB took 15 ms."""
        page = self._snippets.page(type_name, after, limit)
        if limit <= SHORT_PAGE:
            done(self._read(to_the_end, page(self._database.writer)))
        else:
            self._jobs.start(page, done, failed)

    def find(
        self, type_name: str, conditions: bytes, after: str, limit: int, done: Done[RecordPage], failed: Failed
    ) -> None:
        """At once where an index leads to few snippets, else as a job."""
        start, limit = window(after, limit)
        find = Find(self._types.get(type_name).name, conditions_of(conditions), start, limit)
        entries = self._read(find.entries, self._database.writer)
        if entries is not None and entries.size <= FEW:
            done(self._read(to_the_end, find.steps(self._database.writer)))
        else:
            self._jobs.start(find.steps, done, failed)

    def names(self, prefix: str, limit: int, done: Done[list[str]], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(self._snippets.names, prefix, limit))

    # Bonds.

    def bond(self, parent: str, child: str, weight: int, path: str, done: Done[str], failed: Failed) -> None:
        self._write(done, failed, self._bonds.bond, parent, child, weight, path)

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed) -> None:
        self._write(done, failed, self._bonds.unbond, parent, child)

    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed) -> None:
        """See `reed.store.sqlite.tree` for its shape."""
        sequence = sequence_in(self._read(self._snippets.find, root).id) if root else None
        self._jobs.start(partial(tree, root=sequence, depth=depth), done, failed)

    # Types.

    def define(self, type_name: str, definition: bytes, done: Done[bool], failed: Failed) -> None:
        """Takes effect when the indexes of fields that it needs are built."""
        new = compile_type(type_name, bytes(definition))
        self._fields.check_idle(type_name)

        def apply() -> None:
            self._write(done, failed, self._changes.define, new)

        try:
            if not self._fields.must_build(new):
                apply()
            else:
                self._fields.build(new, apply, failed)
        except (sqlite3.Error, MemoryError) as error:
            raise self._fail(error) from error

    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None:  # noqa: ARG002
        found = self._types.get(type_name)
        done(Definition(found.name, found.definition))

    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None:  # noqa: ARG002
        done(self._types.definitions())

    def check(self, type_name: str, after: str, limit: int, done: Done[bytes], failed: Failed) -> None:
        """See `reed.store.sqlite.fitting`."""
        kind, start = self._types.get(type_name), start_after(after)
        self._jobs.start(partial(check, kind=kind, after=start, limit=limit), done, failed)

    # Search.

    def search(self, query: str, type_name: str, limit: int, offset: int, done: Done[HitPage], failed: Failed) -> None:
        """See `reed.store.sqlite.search` for what a query means."""
        limit = check_window(limit, offset)
        if type_name:
            self._types.get(type_name)
        terms = parse(query)

        def job(connection: sqlite3.Connection) -> Steps[HitPage]:
            return search(connection, terms, type_name, self._types.columns(), limit, offset)

        # Without an index on a full disk there is still what is indexed: that error is not the searcher's.
        self._index.when_caught_up(lambda _error: self._jobs.start(job, done, failed))
        self._on_due()

    def index(self, ref: str, done: Done[int], failed: Failed) -> None:
        def wait(count: int) -> None:
            self._index.when_caught_up(lambda error: failed(error) if error else done(count))

        self._write(wait, failed, self._changes.index_again, ref)

    # The outbox.

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        self._outbox.subscribe(subscribers, cause_of)

    def next_event(self, subscriber: str, done: Done[Event | None], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(self._outbox.next, subscriber))

    def told(self, subscriber: str, event_id: int) -> None:
        self._outbox.told(subscriber, event_id)
        self._on_due()

    def forget(self, subscriber: str) -> None:
        self._outbox.forget(subscriber)
        self._on_due()

    def events_waiting(self) -> Mapping[str, int]:
        return self._outbox.counts

    def pop_ready(self) -> Collection[str]:
        return self._outbox.pop_ready() if self._outbox.has_news else ()

    # The turn.

    def work(self, until: float) -> bool:
        self._work.go_on(until, self.commit, self._fail)
        return self.has_work

    def commit(self) -> None:
        if not self._turn.is_open:
            return
        self._commits += 1
        self._release(self._turn.commit())
        self._checkpoints.committed()

    @property
    def waited(self) -> float:
        """Seconds that all commits so far have waited for the disk."""
        return self._turn.waited

    def stats(self) -> dict[str, Any]:
        return {
            "path": self._database.path,
            "bytes": self._database.size(),
            "snippets": self._snippets.count,
            "types": len(self._types),
            "bonds": self._bonds.count,
            "events": sum(self._outbox.counts.values()),
            "unindexed": self._index.behind,
            "commits": self._commits,
            "cached": len(self._cache),
            "cached_bytes": self._cache.size,
        }

    def close(self) -> None:
        """Commit what is open, and close the file. Reads that are not finished are given up."""
        self.commit()
        self._jobs.close()
        self._checkpoints.close()
        self._database.close()

    # Two ways to run a part's operation.

    def _write(
        self, done: Done[T], failed: Failed, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        self.changes += 1
        try:
            value = operation(*args, **kwargs)
        except (sqlite3.Error, MemoryError) as error:
            raise self._fail(error) from error
        self._turn.wait(done, value, failed)

    def _read(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return operation(*args, **kwargs)
        except (sqlite3.Error, MemoryError) as error:
            raise self._database.error(error) from error

    def _fail(self, error: sqlite3.Error | MemoryError) -> CallError:
        answer = self._turn.fail(error)
        self._release(answer)
        return answer

    def _release(self, error: CallError | None) -> None:
        """The turn has ended: tell those who wait for the indexes."""
        self._index.release(error)
        self._fields.release(error)
