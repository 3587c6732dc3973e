"""Copies one store to another, and compares two; no core may use either of them meanwhile.

    types ─ snippets with their ids, versions, times and indexed fields ─ bonds ─ events that are not delivered

Both sides are read in the same order and compared as in a merge sort. What TO lacks is written, unchecked, in
transactions of some hundred rows, so an interrupted copy continues when it is run again. TO may hold a part of FROM and
nothing else; with `overwrite` it becomes equal. The core makes the search index again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import count, groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol, TypeVar

from reed.errors import Conflict
from reed.store.deleted import Deleted

T = TypeVar("T")

PAGE_ROWS = 500
SCHEDULES = "plugin, name, rule, due, last_due, began, ended, error, runs, failures, skipped"  # columns
PAGE_BYTES = 4 * 1024 * 1024  # of contents; then a page ends
_MAX_NAMED = 5  # differences in a message


class Entry(NamedTuple):
    field: str
    value: str  # its `field_values.text_of_key`
    is_unique: bool  # may no other snippet of the type have this value?


class Snippet(NamedTuple):
    id: str
    type: str
    name: str
    version: int
    created_at: int
    updated_at: int
    content: bytes
    entries: tuple[Entry, ...]  # sorted


class Bond(NamedTuple):
    child: str
    parent: str
    weight: int
    path: str
    id: str


class Change(NamedTuple):
    kind: str
    id: str
    type: str
    name: str
    version: int
    at: int
    deleted: Deleted
    waiting: frozenset[str]  # subscribers


class Counts(NamedTuple):
    snippets: int
    types: int
    bonds: int


class Side(Protocol):
    place: str  # for messages

    def counts(self) -> Counts: ...
    def types(self) -> dict[str, bytes]: ...

    def snippets(self, after: str) -> list[Snippet]:
        """The next page by id; `after` is the last id of the one before, or ""."""

    def bonds(self, after: tuple[str, str]) -> list[Bond]:
        """The next page by child and parent; `after` is the last pair of the one before, or ("", "")."""

    def changes(self) -> Iterator[Change]:
        """In the order of their ids."""

    def lost(self) -> dict[str, int]:
        """Events that each subscriber has lost and not heard of."""

    def last_event(self) -> tuple[int, int]:
        """The last number of the log, and the last id of an event."""

    def schedules(self) -> list[tuple[Any, ...]]:
        """Rows with the columns SCHEDULES."""

    def check_idle(self) -> None:
        """Raises StoreFailed if a core uses the store by now."""

    # Each of these is one transaction.

    def put_types(self, types: Mapping[str, bytes], deleted: Collection[str]) -> None: ...
    def put_snippets(self, snippets: Collection[Snippet], deleted: Collection[str]) -> None: ...
    def put_bonds(self, bonds: Collection[Bond], deleted: Collection[Bond]) -> None: ...

    def put_events(self, source: Side) -> int:
        """Make the waiting events those of `source`, with numbers that neither side has used; gives how many."""

    def put_schedules(self, rows: Collection[tuple[Any, ...]]) -> None:
        """In place of those that there are."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Copied:
    written: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("types", "snippets", "bonds", "events"), 0))
    deleted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("types", "snippets", "bonds"), 0))
    unchanged: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("types", "snippets", "bonds"), 0))


def copy(
    source: Side, target: Side, *, overwrite: bool = False, progress: Callable[[int], None] = lambda _: None
) -> Copied:
    """`progress` is called with the number of snippets and bonds that are done. Raises Conflict if `target` has
    anything else than a part of `source`, StoreFailed."""
    if not overwrite:
        _check_part(source, target)
    copied, tick = Copied(), _counting(progress)
    _copy_types(source, target, copied)
    if overwrite:
        _delete_bonds(source, target, copied)
    _copy_rows("snippets", _snippet_pairs(source, target), target.put_snippets, _id, copied, tick)
    _copy_rows("bonds", _bond_pairs(source, target), target.put_bonds, _same, copied, tick)
    copied.written["events"] = target.put_events(source)
    target.put_schedules(source.schedules())
    source.check_idle()
    return copied


def differences(source: Side, target: Side, progress: Callable[[int], None] = lambda _: None) -> Iterator[str]:
    for name, (ours, theirs) in _both(source.types(), target.types()):
        if ours != theirs:
            yield _difference(f"type {name}", ours, theirs, "the definitions differ")
    tick = _counting(progress)
    for snippet_id, snippet, other in _snippet_pairs(source, target):
        tick()
        if snippet != other:
            yield _difference(f"snippet {snippet_id}", snippet, other, _snippets_differ(snippet, other))
    for (child, parent), bond, other_bond in _bond_pairs(source, target):
        tick()
        if bond != other_bond:
            yield _difference(f"bond {parent} > {child}", bond, other_bond, "weight, path or id differ")
    lost, other_lost = source.lost(), target.lost()
    for name, (waiting, others) in _both(_events_of(source), _events_of(target)):
        if waiting != others:
            counts = f"{len(waiting or ())} in FROM, {len(others or ())} in TO"
            yield f"events of {name}: {'other ones' if waiting and others else 'waiting'}, {counts}"
        elif lost.get(name, 0) != other_lost.get(name, 0):
            yield f"events of {name}: {lost.get(name, 0)} lost in FROM, {other_lost.get(name, 0)} in TO"


class WaitingEvents(NamedTuple):
    kinds: frozenset[str]
    total: int


def waiting_events(changes: Iterable[Change]) -> dict[str, WaitingEvents]:
    kinds: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for change in changes:
        for name in change.waiting:
            kinds.setdefault(name, set()).add(change.kind)
            counts[name] = counts.get(name, 0) + 1
    return {name: WaitingEvents(frozenset(kinds[name]), count) for name, count in counts.items()}


# Reading both sides at once.

Pairs = Iterator[tuple[Any, T | None, T | None]]  # the key of a row, the row in FROM, the row in TO


def _snippet_pairs(source: Side, target: Side) -> Pairs[Snippet]:
    return _pairs(_pages(source.snippets, _id, ""), _pages(target.snippets, _id, ""), _id)


def _bond_pairs(source: Side, target: Side) -> Pairs[Bond]:
    return _pairs(_pages(source.bonds, _ends, ("", "")), _pages(target.bonds, _ends, ("", "")), _ends)


def _pages(page: Callable[[Any], list[T]], key: Callable[[T], Any], after: Any) -> Iterator[T]:
    while rows := page(after):
        yield from rows
        after = key(rows[-1])


def _pairs(ours: Iterator[T], theirs: Iterator[T], key: Callable[[T], Any]) -> Pairs[T]:
    """Rows with equal keys together; both iterators are sorted by key."""
    rows = merge(((key(row), 0, row) for row in ours), ((key(row), 1, row) for row in theirs), key=itemgetter(0))
    for shared, group in groupby(rows, key=itemgetter(0)):
        found = {side: row for _, side, row in group}
        yield shared, found.get(0), found.get(1)


def _counting(progress: Callable[[int], None]) -> Callable[[], None]:
    """Each call tells one more."""
    numbers = count(1)
    return lambda: progress(next(numbers))


def _both(ours: Mapping[str, T], theirs: Mapping[str, T]) -> Iterator[tuple[str, tuple[T | None, T | None]]]:
    for name in sorted(ours.keys() | theirs.keys()):
        yield name, (ours.get(name), theirs.get(name))


def _id(snippet: Snippet) -> str:
    return snippet.id


def _ends(bond: Bond) -> tuple[str, str]:
    return bond.child, bond.parent


def _same(bond: Bond) -> Bond:
    return bond


def _events_of(side: Side) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for change in side.changes():
        for name in change.waiting:
            found.setdefault(name, []).append(change[:-1])
    return found


def _difference(what: str, ours: object, theirs: object, both: str) -> str:
    return f"{what}: {'only in TO' if ours is None else 'only in FROM' if theirs is None else both}"


def _snippets_differ(ours: Snippet | None, theirs: Snippet | None) -> str:
    if ours is None or theirs is None:
        return ""
    if ours.version != theirs.version:
        return f"version {ours.version} in FROM, {theirs.version} in TO"
    names = [name for name, mine, other in zip(Snippet._fields, ours, theirs, strict=True) if mine != other]
    return f"differs in {', '.join(names)}".replace("entries", "its indexed fields")


# Copying.


def _check_part(source: Side, target: Side) -> None:
    ours = source.types()
    found = [f"type {name}" for name, text in target.types().items() if ours.get(name) != text]
    found += [f"snippet {other.id}" for other in _not_in(source.snippets, target.snippets, _id, "")]
    found += [f"bond {bond.parent} > {bond.child}" for bond in _not_in(source.bonds, target.bonds, _ends, ("", ""))]
    if found:
        more = ", …" if len(found) > _MAX_NAMED else ""
        raise Conflict(
            f"{target.place} has content that {source.place} does not have: {', '.join(found[:_MAX_NAMED])}{more}",
            hint="nothing was written; copy into an empty store, or use --overwrite to replace its content",
        )


def _not_in(
    ours: Callable[[Any], list[T]], theirs: Callable[[Any], list[T]], key: Callable[[T], Any], first: Any
) -> list[T]:
    """Some rows of TO that FROM does not have, or has otherwise."""
    found: list[T] = []
    if not theirs(first):
        return found
    for _, mine, other in _pairs(_pages(ours, key, first), _pages(theirs, key, first), key):
        if other is not None and mine != other:
            found.append(other)
            if len(found) > _MAX_NAMED:
                break
    return found


def _copy_types(source: Side, target: Side, copied: Copied) -> None:
    ours, theirs = source.types(), target.types()
    new = {name: text for name, text in ours.items() if theirs.get(name) != text}
    deleted = theirs.keys() - ours.keys()
    if new or deleted:
        target.put_types(new, deleted)
    copied.written["types"], copied.deleted["types"] = len(new), len(deleted)
    copied.unchanged["types"] = len(ours) - len(new)


def _delete_bonds(source: Side, target: Side, copied: Copied) -> None:
    """First, so that snippets can be deleted."""
    batch: list[Bond] = []
    for _, bond, other in _bond_pairs(source, target):
        if other is not None and bond != other:
            batch.append(other)
            copied.deleted["bonds"] += bond is None
        if len(batch) >= PAGE_ROWS:
            target.put_bonds((), batch)
            batch = []
    if batch:
        target.put_bonds((), batch)


def _copy_rows(
    what: str,
    pairs: Pairs[T],
    put: Callable[[Collection[T], Collection[Any]], None],
    name: Callable[[T], Any],
    copied: Copied,
    tick: Callable[[], None],
) -> None:
    batch: list[T] = []
    deleted: list[Any] = []
    size = 0

    def write() -> None:
        nonlocal size
        if batch or deleted:
            put(tuple(batch), tuple(deleted))
        copied.written[what] += len(batch)
        copied.deleted[what] += len(deleted)
        size = 0
        batch.clear()
        deleted.clear()

    for _, mine, other in pairs:
        tick()
        if mine is None and other is not None:
            deleted.append(name(other))
        elif mine is not None and mine != other:
            batch.append(mine)
            size += len(mine.content) if isinstance(mine, Snippet) else 0
        else:
            copied.unchanged[what] += 1
        if len(batch) + len(deleted) >= PAGE_ROWS or size >= PAGE_BYTES:
            write()
    write()
