"""Records kept in memory, found by id and by name; the one not read for longest goes first.

The bound is in bytes: content and what a record costs beside it. A record too big to be worth it is not kept.
"""

from __future__ import annotations

from collections import OrderedDict

from reed.wire.snippets import Record

_OVERHEAD = 700  # bytes of a Record, its texts and its places in the two maps, measured
_LARGEST_SHARE = 8  # one record takes at most this part of the whole


class RecordCache:
    __slots__ = ("_by_id", "_by_name", "_size", "capacity")

    def __init__(self, capacity: int) -> None:
        """`capacity` in bytes; 0 keeps nothing."""
        self.capacity = capacity
        self._size = 0
        self._by_id: OrderedDict[str, Record] = OrderedDict()  # least recently read first
        self._by_name: dict[str, str] = {}

    def get(self, ref: str) -> Record | None:
        """The record with this id or name, if it is here; None says nothing about the store."""
        record = self._by_id.get(ref)
        if record is None:
            snippet_id = self._by_name.get(ref)
            if snippet_id is None:
                return None
            record = self._by_id[snippet_id]
        self._by_id.move_to_end(record.id)
        return record

    def put(self, record: Record) -> None:
        """Keep this record, in place of an older one with its id."""
        if record.id in self._by_id:
            self.forget(record.id)
        size = _OVERHEAD + len(record.content)
        if size * _LARGEST_SHARE > self.capacity:
            return
        self._size += size
        self._by_id[record.id] = record
        if record.semantic_name:
            self._by_name[record.semantic_name] = record.id
        while self._size > self.capacity:
            self.forget(next(iter(self._by_id)))

    def forget(self, snippet_id: str) -> None:
        record = self._by_id.pop(snippet_id, None)
        if record is not None:
            self._size -= _OVERHEAD + len(record.content)
            if record.semantic_name:
                del self._by_name[record.semantic_name]

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def size(self) -> int:
        """Bytes in use, about."""
        return self._size
