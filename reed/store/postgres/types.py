"""Types in memory. Any core may redefine or delete one, so each has a revision, which the write of a content names.

No revision of a name is used twice, also after the type was deleted (see `defining.define`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from reed.store.types import TypeCatalog


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
        return str(self._revisions.get(name, 0)).encode()

    def known(self) -> dict[str, int]:
        """The revision of each type."""
        return dict(self._revisions)

    def drop(self, known: Mapping[str, int], found: Collection[str]) -> None:
        """Those that were `known` when the table was read, and were not `found` in it, are deleted."""
        for name, revision in known.items():
            if name not in found and self._revisions.get(name) == revision:
                del self._revisions[name]
                self.catalog.remove(name)

    @property
    def limits(self) -> dict[str, int]:
        """`max_depth` of the types that have one."""
        return {type_.name: type_.max_depth for type_ in self.catalog if type_.max_depth is not None}
