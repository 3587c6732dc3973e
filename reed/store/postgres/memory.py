"""What a core keeps in memory of the database, which other cores change.

records, never older than promised:

own write committed    put, unless the log has shown a later change of another core already
another core's change  discarded
a read's answer        put, unless the record has changed since the read was sent; for a write it is read again then
no news for a second   nothing in memory is used until the log has been read again (`trust`)

types, each with a revision, which the write of a content names. No revision of a name is used twice, also after the
type was deleted (see `defining.define`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from reed.store.record_cache import RecordCache
from reed.store.types import TypeCatalog
from reed.wire.snippets import Record

TRUST_SECONDS = 1.0  # what other cores do is seen within this time


class RowCount:
    """The number of rows of a table, as of a batch of the log."""

    def __init__(self, value: int, seq: int) -> None:
        self.value = value
        self._seq = seq  # counted in the database then; later lines change it

    def add(self, seq: int, number: int) -> None:
        if seq > self._seq:
            self.value += number

    def set(self, value: int, seq: int) -> None:
        self.value, self._seq = value, seq


class Records:
    def __init__(self, capacity: int, now: Callable[[], float]) -> None:
        self.cache = RecordCache(capacity)
        self._now = now
        self._changes = 0
        self._trusted_until = now() + TRUST_SECONDS
        self._tick = 0
        self._forgot_at = 0  # the tick
        self._newest = 0  # the last batch of another core that has changed something
        self._out = 0  # reads that may bring an old record
        self._recent: dict[str, int] = {}  # id -> tick of its last change, while some are out

    @property
    def age(self) -> float:
        """Seconds since the log was read that memory is as new as."""
        return max(self._now() - self._trusted_until + TRUST_SECONDS, 0.0)

    @property
    def changes(self) -> int:
        """Differs whenever a read may give something else than before: also while memory is too old to tell."""
        if self._now() > self._trusted_until:
            self._changes += 1
        return self._changes

    def trust(self, read_at: float) -> None:
        """The log was read, by a query sent at this time: memory is as new as that."""
        self._trusted_until = read_at + TRUST_SECONDS

    def get(self, ref: str) -> Record | None:
        return None if self._now() > self._trusted_until else self.cache.get(ref)

    def begin(self) -> int:
        """A read is sent; pass the result to `end`."""
        self._out += 1
        return self._tick

    def end(self, began: int, record: Record | None = None) -> bool:
        """The answer has come, with a record if the read found one. False: that has changed since the read was sent."""
        is_current = record is None or max(self._recent.get(record.id, 0), self._forgot_at) <= began
        if record is not None and is_current:
            self.cache.put(record)
        self._out -= 1
        if not self._out:
            self._recent.clear()
        return is_current

    def wrote(self, seq: int, snippet_id: str, record: Record | None, name: str = "") -> None:
        """This core's own write was committed; None: deleted, or not to be kept. `name`: what it is called now; who had
        the name before has lost it, even if the log has not shown that yet."""
        self._changes += 1
        self._tick += 1
        self.cache.discard(snippet_id)
        holder = self.cache.get(name)
        if holder is not None:
            self.cache.discard(holder.id)
        if record is not None and self._newest < seq:
            self.cache.put(record)
        if self._out:
            self._recent[snippet_id] = self._tick

    def changed(self, seq: int, snippet_id: str) -> None:
        """Another core has changed it."""
        self._changes += 1
        self._tick += 1
        self._newest = seq
        self.cache.discard(snippet_id)
        if self._out:
            self._recent[snippet_id] = self._tick

    def doubt(self, ref: str) -> None:
        """Memory was wrong about this, or may have been."""
        self._changes += 1
        found = self.cache.get(ref)
        if found is not None:
            self.cache.discard(found.id)

    def forget(self) -> None:
        """The log does not say what has changed: everything may have."""
        self._changes += 1
        self._tick += 1
        self._forgot_at = self._tick
        self.cache.clear()


class Types:
    def __init__(self) -> None:
        self.catalog = TypeCatalog()
        self._revisions: dict[str, int] = {}

    def load(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """Rows of the table. A type whose revision is known stays as it is, so that nothing is compiled twice."""
        for name, revision, definition in rows:
            if self._revisions.get(name) != revision:
                self._revisions[name] = revision
                self.catalog.load_one(name, definition)

    def outdated(self, revisions: Iterable[tuple[str, int]]) -> list[str]:
        """The names of those that have another revision than here."""
        return [name for name, revision in revisions if self._revisions.get(name) != revision]

    def revision(self, name: str) -> bytes:
        """0, which none has, for a type that was deleted meanwhile."""
        return b"%d" % self._revisions.get(name, 0)

    def known(self) -> dict[str, int]:
        """The revision of each type."""
        return dict(self._revisions)

    def drop(self, known: Mapping[str, int], found: Collection[str]) -> None:
        """Those that were `known` when the table was read, and were not `found` in it, are deleted."""
        for name, revision in known.items():
            if name not in found and self._revisions.get(name) == revision:
                del self._revisions[name]
                self.catalog.remove(name)
