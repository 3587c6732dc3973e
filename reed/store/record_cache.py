"""An LRU cache of records, found by id and by name, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict

from reed.wire.snippets import Record

_OVERHEAD = 700  # bytes of a Record, its strings and its dict entries, measured
_MAX_SHARE = 8  # a record that would take more than this fraction of the cache is not kept


class RecordCache:
    __slots__ = ("_by_id", "_by_name", "_capacity", "size")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.size = 0  # bytes in use, estimated
        self._by_id: OrderedDict[str, Record] = OrderedDict()  # least recently used first
        self._by_name: dict[str, str] = {}

    def get(self, ref: str) -> Record | None:
        """The record with this id or name; None says nothing about the store."""
        record = self._by_id.get(ref)
        if record is None:
            snippet_id = self._by_name.get(ref)
            if snippet_id is None:
                return None
            record = self._by_id[snippet_id]
        self._by_id.move_to_end(record.id)
        return record

    def put(self, record: Record) -> None:
        if record.id in self._by_id:
            self.discard(record.id)
        size = _OVERHEAD + len(record.content)
        if size * _MAX_SHARE > self._capacity:
            return
        self.size += size
        self._by_id[record.id] = record
        if record.semantic_name:
            self._by_name[record.semantic_name] = record.id
        while self.size > self._capacity:
            self.discard(next(iter(self._by_id)))

    def discard(self, snippet_id: str) -> None:
        record = self._by_id.pop(snippet_id, None)
        if record is not None:
            self.size -= _OVERHEAD + len(record.content)
            if self._by_name.get(record.semantic_name) == snippet_id:  # another record may have the name now
                del self._by_name[record.semantic_name]

    def clear(self) -> None:
        self.size = 0
        self._by_id.clear()
        self._by_name.clear()

    def __len__(self) -> int:
        return len(self._by_id)
