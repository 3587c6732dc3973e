"""What a store must do: keep snippets, bonds and types, find them again, and lose nothing.

How an operation ends. Each takes `done` and `failed` and does exactly one of these, at once or in a later turn:

    raise CallError          it could not be done (NotFound, Conflict, Invalid, StoreFull, …)
    done(value)              a read: here is the value.  A write: it is on the disk
    failed(error)            it could not be done after all

So a write's `done` comes out of `commit()`, when its transaction is on the disk, and a store on another machine may
answer when it likes. Nothing here ever waits for anything but this machine's disk.

    the turn:   operations …   work(until)   commit()   (the core then sends what `done` and `failed` replied)

A store says when it has become dirty or has got work, so that nobody has to ask it in each turn.
Between a write and its commit the store is `dirty`: a read now would see what may yet fail, so the core waits with it.

Others may be told of changes: a subscriber, to the store a plain name, finds an Event for each change in its outbox,
written in the change's own transaction, and it stays there until the subscriber was told (`told`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from reed.errors import CallError, Conflict
from reed.wire.registry import Definition
from reed.wire.search import SearchHit
from reed.wire.snippets import Record

T = TypeVar("T")
Done = Callable[[T], None]
Failed = Callable[[CallError], None]


class RecordPage(NamedTuple):
    records: list[Record]  # in creation order
    cursor: str  # `after` for the next page; empty: the end


class HitPage(NamedTuple):
    total: int
    hits: list[SearchHit]  # best first


class Cause(NamedTuple):
    """Why a subscriber made a change: it answered an event, which may have come of an answer itself."""

    depth: int  # of that chain of events; 0: nothing is known
    plugins: tuple[str, ...]  # whose changes it is made of, the newest last


NO_CAUSE = Cause(0, ())
CauseOf = Callable[[str, str], Cause]


def no_cause(_by: str, _snippet_id: str) -> Cause:
    return NO_CAUSE


class Event(NamedTuple):
    """A change that a subscriber is to be told of."""

    id: int  # rising, never used twice: it tells a repeat
    kind: str  # "snippet.created", "snippet.updated" or "snippet.deleted"
    snippet_id: str
    snippet_type: str
    semantic_name: str
    version: int  # that it made; of a deleted snippet, its last
    at: int  # Unix microseconds
    lost: int  # events right before this one that the full outbox had no room for
    cause: Cause = NO_CAUSE  # kept in memory: after a restart there is none


class Restored(NamedTuple):
    """What became of a snippet that was to be restored."""

    id: str
    outcome: Literal["created", "replaced", "unchanged"]
    warning: str = ""  # why the content does not fit its type, where it was accepted all the same


class Preview(NamedTuple):
    """What an update would do."""

    record: Record  # as it is
    content: bytes  # as it would be, not yet checked against its type


class Overtaken(Conflict):
    """The snippet is no longer as it was seen: another write came first."""


class Store(Protocol):
    """`ref` is a snippet's semantic name, its UUID in text, or the beginning of that (8 characters at least) where it
    is the only one. `type_name` "" means every type."""

    changes: int  # another number whenever what a read gives may have changed

    @property
    def dirty(self) -> bool: ...
    @property
    def has_work(self) -> bool:
        """Long operations are under way: `work` is wanted in every turn."""

    # Snippets. `content` and `patch` are JSON texts; content is kept exactly as it came.
    # `by` is the subscriber who makes the change: it is not told of its own.
    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, *, by: str = ""
    ) -> None: ...
    def update(
        self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, *, by: str = ""
    ) -> None: ...
    def preview(self, ref: str, if_version: int, patch: bytes, done: Done[Preview], failed: Failed) -> None:
        """What `update` would write; it may yet be refused."""

    def replace(
        self, seen: Record, content: bytes, done: Done[str], failed: Failed, *, name: str | None = None, by: str = ""
    ) -> None:
        """Write new content in place of what `seen` has, and a new name unless None; Overtaken when the snippet is no
        longer as it was seen."""

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, *, by: str = "") -> None:
        """An update of the name alone; "" takes it away."""

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, *, by: str = "") -> None: ...
    def restore(
        self,
        record: Record,
        done: Done[Restored],
        failed: Failed,
        *,
        accept_unfit: bool = False,
        overwrite: bool = False,
        dry_run: bool = False,
        by: str = "",
    ) -> None:
        """Write a snippet as it once was: id, version and times are the record's. What is here alike is left alone, an
        older version is replaced; a newer one, or another content under the same version, is a Conflict unless
        `overwrite`. With `dry_run` nothing is written."""

    def get(self, ref: str, done: Done[Record], failed: Failed) -> None: ...
    def page(self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed) -> None: ...
    def find(
        self, type_name: str, conditions: bytes, after: str, limit: int, done: Done[RecordPage], failed: Failed
    ) -> None:
        """As `page`, of a type's snippets whose fields have the values of `conditions`, a JSON object."""

    def names(self, prefix: str, limit: int, done: Done[list[str]], failed: Failed) -> None:
        """The first names, in their order, that begin with `prefix`."""

    # Bonds.
    def bond(self, parent: str, child: str, weight: int, path: str, done: Done[str], failed: Failed) -> None: ...
    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed) -> None: ...
    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed) -> None: ...

    # Types. `define` gives True for a new one.
    def define(self, type_name: str, definition: bytes, done: Done[bool], failed: Failed) -> None: ...
    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None: ...
    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None: ...

    def check(self, type_name: str, after: str, limit: int, done: Done[bytes], failed: Failed) -> None:
        """Which snippets do not fit the definition of their type, a part at a time: see `sqlite.fitting`."""

    # Search. `index` with ref "" indexes everything; gives the number of snippets indexed.
    def search(
        self, query: str, type_name: str, limit: int, offset: int, done: Done[HitPage], failed: Failed
    ) -> None: ...
    def index(self, ref: str, done: Done[int], failed: Failed) -> None: ...

    # The outbox.
    def subscribe(self, subscribers: Mapping[str, Collection[str]], cause_of: CauseOf = no_cause) -> None:
        """By event, who is told of it from now on. What waits already goes on waiting. `cause_of` is asked what a
        subscriber (`by`) answers with its change of a snippet (id): the change's events carry that."""

    def next_event(self, subscriber: str, done: Done[Event | None], failed: Failed) -> None:
        """The oldest event that is on the disk and that the subscriber was not told of."""

    def told(self, subscriber: str, event_id: int) -> None:
        """It was told of all up to this one: they go, soon. After a crash before that, they are there again."""

    def forget(self, subscriber: str) -> None:
        """Nobody of this name is to be told any more: drop what waits."""

    def events_waiting(self) -> Mapping[str, int]:
        """How many events wait, by subscriber."""

    def pop_ready(self) -> Collection[str]:
        """Who has new events on the disk since this was asked last."""

    # The turn.
    def work(self, until: float) -> bool:
        """Go on with long operations (tree, index) until about `until` (monotonic seconds); True while some is left."""

    def commit(self) -> None:
        """Put this turn's writes on the disk and call their `done`, or their `failed`. Never raises for a full disk."""

    def stats(self) -> dict[str, Any]:
        """Figures for SYSTEM_STATS: {"snippets", "types", "bonds", "unindexed", "bytes", …}."""

    def close(self) -> None: ...
