"""What a store must do: keep snippets, bonds and types, find them again, and lose nothing.

How an operation ends. Each takes `done` and `failed` and does exactly one of these, at once or in a later turn:

    raise CallError          it could not be done (NotFound, Conflict, Invalid, StoreFull, …)
    done(value)              a read: here is the value.  A write: it is on the disk
    failed(error)            it could not be done after all

So a write's `done` comes out of `commit()`, when its transaction is on the disk, and a store on another machine may
answer when it likes. Nothing here ever waits for anything but this machine's disk.

    the turn:   operations …   work(until)   commit()   (the core then sends what `done` and `failed` replied)

Between a write and its commit the store is `dirty`: a read now would see what may yet fail, so the core waits with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from reed.errors import CallError
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


class Store(Protocol):
    """`ref` is a snippet's UUID in text or its semantic name. `type_name` "" means every type."""

    @property
    def dirty(self) -> bool: ...
    @property
    def has_work(self) -> bool:
        """Long operations are under way: `work` is wanted in every turn."""

    # Snippets. `content` and `patch` are JSON texts; content is kept exactly as it came.
    def create(self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed) -> None: ...
    def update(self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed) -> None: ...
    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed) -> None: ...
    def get(self, ref: str, done: Done[Record], failed: Failed) -> None: ...
    def page(self, type_name: str, after: str, limit: int, done: Done[RecordPage], failed: Failed) -> None: ...

    # Bonds.
    def bond(self, parent: str, child: str, weight: int, path: str, done: Done[str], failed: Failed) -> None: ...
    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed) -> None: ...
    def tree(self, root: str, depth: int, done: Done[bytes], failed: Failed) -> None: ...

    # Types. `define` gives True for a new one.
    def define(self, type_name: str, definition: bytes, done: Done[bool], failed: Failed) -> None: ...
    def definition(self, type_name: str, done: Done[Definition], failed: Failed) -> None: ...
    def definitions(self, done: Done[list[Definition]], failed: Failed) -> None: ...

    # Search. `index` with ref "" indexes everything; gives the number of snippets indexed.
    def search(
        self, query: str, type_name: str, limit: int, offset: int, done: Done[HitPage], failed: Failed
    ) -> None: ...
    def index(self, ref: str, done: Done[int], failed: Failed) -> None: ...

    # The turn.
    def work(self, until: float) -> bool:
        """Go on with long operations (tree, index) until about `until` (monotonic seconds); True while some is left."""

    def commit(self) -> None:
        """Put this turn's writes on the disk and call their `done`, or their `failed`. Never raises for a full disk."""

    def stats(self) -> dict[str, Any]:
        """Figures for SYSTEM_STATS: {"snippets", "types", "bonds", "unindexed", "bytes", …}."""

    def close(self) -> None: ...
