"""The contract of a store. An operation ends in exactly one of three ways:

    raise CallError      at once: refused (NotFound, Conflict, Invalid, StoreFull, …)
    done(result)         at once or in a later turn; for a write: the transaction is on the disk
    failed(CallError)    at once or in a later turn

Answers come in any order. Writes of one `origin` take effect in their order. A read sees what is committed.

    a turn of the core:   operations …   work(until)   commit()   → `done` and `failed` send the replies

`on_due` of a store requests `commit` in this turn, or `work` in the next ones; `on_news`: events were committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from reed.errors import CallError, Conflict
from reed.store.workers import THE_STORE, Origin
from reed.wire.registry import Definition
from reed.wire.search import SearchHit
from reed.wire.snippets import Record

T = TypeVar("T")
Done = Callable[[T], None]
Failed = Callable[[CallError], None]


class RecordPage(NamedTuple):
    records: list[Record]  # in creation order
    cursor: str  # `after` of the next page; "": this is the last


class HitPage(NamedTuple):
    total: int
    hits: list[SearchHit]  # best first


class Cause(NamedTuple):
    """The chain of events that led to a plugin's write."""

    depth: int  # 0: unknown
    plugins: tuple[str, ...]  # that wrote along the chain, latest last


NO_CAUSE = Cause(0, ())
CauseOf = Callable[[str, str], Cause]


def no_cause(_by: str, _snippet_id: str) -> Cause:
    return NO_CAUSE


class Event(NamedTuple):
    """A change of a snippet, for one subscriber."""

    id: int  # rises: a subscriber recognises a repeat
    kind: str  # snippet.created, .updated or .deleted
    snippet_id: str
    snippet_type: str
    semantic_name: str
    version: int  # after the change; a deleted snippet's last
    at: int  # Unix microseconds
    lost: int  # events dropped before this one
    cause: Cause = NO_CAUSE  # lost by a restart


class Restored(NamedTuple):
    id: str
    outcome: Literal["created", "replaced", "unchanged"]
    warning: str = ""


class Preview(NamedTuple):
    record: Record  # the current one
    content: bytes  # after the update, not checked against its type


class Overtaken(Conflict):
    """Another write has changed the snippet."""


class Store(Protocol):
    """`ref` is a semantic name, an id, or a unique prefix of an id (8 characters at least). `type_name` "" means every
    type. `origin`: whose operation it is; a plugin gets no event for its own change."""

    @property
    def changes(self) -> int:
        """Differs if a read may give another result than before."""

    @property
    def has_work(self) -> bool:
        """Must `work` be called in the next turn?"""

    @property
    def fsync_seconds(self) -> float:
        """Time that commits waited for the disk."""

    # Snippets. `content`, stored byte for byte, and `patch` are JSON.

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Gives the id."""

    def update(
        self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Apply a JSON Merge Patch; Overtaken unless `if_version` is 0 or current. Gives the id."""

    def preview(
        self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """What `update` would write."""

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
        """Overtaken unless `seen` is the current record. `name` None keeps it."""

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        """ "" removes the name."""

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        """Conflict when the snippet has bonds, unless `cascade`. Gives the id."""

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
        """Write a record with its own id, version and times (see `restoring`)."""

    def get(self, ref: str, done: Done[Record], failed: Failed) -> None:
        """The committed record."""

    def page(
        self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """In creation order, beyond the id `after`."""

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
        """As `page`, if their fields equal those of `conditions`, a JSON object."""

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
        """NotFound unless they are bonded."""

    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE) -> None:
        """JSON (see `tree_text`); `root` "": all trees. `depth` 0: every level."""

    # Types.

    def define(
        self, type_name: str, definition: bytes, done: Done[bool], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """Gives True when the type is new."""

    def delete_type(self, type_name: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        """Conflict while it has snippets, or another definition is building its indexes."""

    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None:
        """Byte for byte."""

    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None:
        """Sorted by name."""

    def check(
        self, type_name: str, after: str, limit: int, done: Done[bytes], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        """See `fitting`."""

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
        """Index one snippet again, or all ("")."""

    # Events.

    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        """`subscribers` by kind of event. `cause_of(by, snippet_id)`: of a subscriber's own change."""

    def next_event(self, subscriber: str, done: Done[Event | None], failed: Failed) -> None:
        """The oldest that is committed and not acknowledged."""

    def ack(self, subscriber: str, event_id: int) -> None:
        """Events up to this one are delivered. A crash before they are deleted repeats them."""

    def drop_events(self, subscriber: str) -> None:
        """Discard those that wait."""

    def events_waiting(self) -> Mapping[str, int]:
        """By subscriber."""

    def pop_ready(self) -> Collection[str]:
        """With events committed since the last call."""

    # The turn.

    def work(self, until: float) -> bool:
        """Run slices until about `until` (monotonic); True while some are left."""

    def commit(self) -> None:
        """Put the writes of this turn on the disk, then call `done` or `failed`."""

    def when_idle(self, done: Callable[[], None]) -> None:
        """Call it when every write begun before has ended."""

    def stats(self) -> dict[str, Any]:
        """For SYSTEM_STATS: "snippets", "types", "bonds", "events", "unindexed", "bytes", …"""

    def close(self) -> None:
        """Commit, and close; unfinished reads get no answer."""
