"""The contract of a store: snippets, bonds, types, search and events waiting for plugins.

An operation takes two callbacks and ends in exactly one of three ways:

    raise CallError      at once: refused (NotFound, Conflict, Invalid, StoreFull, …)
    done(result)         at once or in a later turn; for a write: the transaction is on the disk
    failed(CallError)    at once or in a later turn

Answers come in any order. Writes of one `origin` take effect in their order. A read sees what is committed: begin it
after the answer to the write that it must see.

The core drives the store once per turn of its loop:

    operations …   work(until)   commit()   → `done` and `failed` send the replies

A store gets two callbacks: `on_due` requests `commit` at the end of this turn, or `work` in the next ones; `on_news`
says that events were committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from reed.errors import CallError, Conflict
from reed.store.changes import ChangePage
from reed.store.deleted import NOT_DELETED, Deleted
from reed.store.schedules import ScheduleTable
from reed.store.workers import THE_STORE, Origin
from reed.wire.registry import Definition
from reed.wire.search import SearchHit
from reed.wire.snippets import Record

T = TypeVar("T")
Done = Callable[[T], None]
Failed = Callable[[CallError], None]


class RecordPage(NamedTuple):
    records: list[Record]  # in creation order
    cursor: str  # `after` of the next page; empty: this is the last


class HitPage(NamedTuple):
    total: int
    hits: list[SearchHit]  # best first


class Cause(NamedTuple):
    """The chain of events that led to a plugin's write."""

    depth: int  # events in the chain; 0: unknown
    plugins: tuple[str, ...]  # that wrote along the chain, latest last


NO_CAUSE = Cause(0, ())
CauseOf = Callable[[str, str], Cause]


def no_cause(_by: str, _snippet_id: str) -> Cause:
    return NO_CAUSE


class Event(NamedTuple):
    """A change of a snippet, waiting to be delivered to one subscriber."""

    id: int  # rises, never reused: a subscriber recognises a repeat
    kind: str  # snippet.created, .updated or .deleted
    snippet_id: str
    snippet_type: str
    semantic_name: str
    version: int  # after the change; a deleted snippet's last
    at: int  # Unix microseconds
    lost: int  # events dropped before this one: the outbox was full
    cause: Cause = NO_CAUSE  # lost by a restart
    deleted: Deleted = NOT_DELETED


class Restored(NamedTuple):
    id: str
    outcome: Literal["created", "replaced", "unchanged"]
    warning: str = ""


class Preview(NamedTuple):
    record: Record  # the current record
    content: bytes  # after the update, not yet checked against its type


class Overtaken(Conflict):
    """Another write changed the snippet since the caller read it."""


class Store(Protocol):
    """`ref` is a semantic name, an id, or a unique prefix of an id (8 characters at least). `type_name` "" means every
    type. `origin`: whose operation it is; a plugin gets no event for its own change."""

    @property
    def changes(self) -> int:
        """Differs if a read begun now may give another result than before."""

    @property
    def has_work(self) -> bool:
        """Must `work` be called in the next turn?"""

    @property
    def fsync_seconds(self) -> float:
        """Total time that commits waited for the disk."""

    # Snippets. `content`, stored byte for byte, and `patch` are JSON.

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Gives the id."""

    def update(
        self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Apply a JSON Merge Patch; Overtaken unless `if_version` is 0 or the current version. Gives the id."""

    def preview(
        self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """What `update` would write, without writing it. It waits for the COMMIT of a write of this snippet."""

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
        """Write the content, and `name` unless None; Overtaken unless `seen` is the current record."""

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        """A new version with this name; "" removes the name."""

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        """Conflict when the snippet has bonds, unless `cascade`, which removes them. Gives the id."""

    def restore(
        self, record: Record, done: Done[Restored], failed: Failed, *, flags: int = 0, origin: Origin = THE_STORE
    ) -> None:
        """Write a record with its own id, version and times (see `restoring`); `flags` of RestoreFlag."""

    def is_placed(self, origin: Origin) -> bool:
        """Whether each write of this origin that was begun is in the open transaction: the next one sees it, and only
        the COMMIT may still fail. False: unknown, wait for its `done`."""

    def get(self, ref: str, done: Done[Record], failed: Failed) -> None:
        """The committed record."""

    def page(
        self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Records in creation order that follow the id `after`."""

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
        """As `page`, only records whose fields equal those of `conditions`, a JSON object."""

    def names(self, prefix: str, limit: int, done: Done[list[str]], failed: Failed) -> None:
        """Semantic names with this prefix, sorted."""

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
        """Gives the id of the bond."""

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        """NotFound when there is no such bond."""

    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE) -> None:
        """The bonds below `root` as JSON, all trees if it is ""; `depth` 0 means every level."""

    # Types.

    def define(
        self, type_name: str, definition: bytes, done: Done[bool], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Gives True when the type is new."""

    def delete_type(self, type_name: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        """Conflict while it has snippets, or another definition is building its indexes."""

    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None:
        """The definition, byte for byte."""

    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None:
        """All definitions, sorted by name."""

    def check(
        self, type_name: str, after: str, limit: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Snippets that do not fit their type, page by page: see `contents.check_stored`."""

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
        """Sees every write committed before it."""

    def index(self, ref: str, done: Done[int], failed: Failed) -> None:
        """Index one snippet again, all if `ref` is ""; gives how many."""

    # Events.

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        """Write events for these subscribers by kind. `cause_of(by, snippet_id)` is the cause of a subscriber's own
        change."""

    def next_event(self, subscriber: str, done: Done[Event | None], failed: Failed) -> None:
        """The oldest committed event that is not acknowledged."""

    def ack(self, subscriber: str, event_id: int) -> None:
        """Events up to this one are delivered. A crash before they are deleted repeats them."""

    def drop_events(self, subscriber: str) -> None:
        """Discard the subscriber's waiting events."""

    def events_waiting(self) -> Mapping[str, int]:
        """Number of waiting events by subscriber."""

    def pop_ready(self) -> Collection[str]:
        """Subscribers with events committed since the last call."""

    # Changes, for watchers (`reed.store.changes`).

    def follow_changes(self, on_changes: Callable[[], None] | None) -> None:
        """Call it after each commit that has logged changes; None: nobody watches any more."""

    def watch_position(self, cursor: str, done: Done[int], failed: Failed) -> None:
        """The position of a cursor; "" is the last committed change. Raises Malformed and CursorTooOld."""

    def changes_after(self, position: int, done: Done[ChangePage], failed: Failed) -> None:
        """A page of committed changes. Raises CursorTooOld."""

    def cursor_of(self, position: int) -> str:
        """What a watcher names to continue after this position of the log, also at another time: `EPOCH-N`."""

    @property
    def schedules(self) -> ScheduleTable:
        """When the schedules of plugins are due."""

    # The turn.

    def work(self, until: float) -> bool:
        """Run long operations until about `until` (monotonic); True while some are left."""

    def commit(self) -> None:
        """Put the writes of this turn on the disk, then call their `done`, or their `failed`."""

    def when_idle(self, done: Callable[[], None]) -> None:
        """Call it when every write that was begun before has ended, whatever is begun meanwhile."""

    def stats(self) -> dict[str, Any]:
        """Figures for SYSTEM_STATS: "snippets", "types", "bonds", "events", "unindexed", "bytes", …"""

    def close(self) -> None:
        """Commit, and close; unfinished reads get no answer."""
