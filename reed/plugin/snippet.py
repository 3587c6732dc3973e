"""Snippets: `reed.snippet`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reed.plugin import writes
from reed.plugin.failure import Error
from reed.plugin.records import Lines, Page, Restored, Snippet
from reed.plugin.services import ask, ask_json, encode
from reed.plugin.writes import Json, written, written_id
from reed.wire import strict_json

_LINE = 64 * 1024 * 1024  # bytes of the longest line of an export


class Snippets:
    """A `ref` is an id or a name. Every method raises Error; 404 for a snippet that does not exist."""

    def get(self, ref: str) -> Snippet:
        return Snippet.of(ask_json("snippet.get", encode([ref])))

    def list(self, *, type: str = "", after: str = "", limit: int = 0) -> Page:
        """In the order of their creation; `limit` is 100 by default, at most 1000."""
        return _page(ask_json("snippet.list", encode({"type": type, "after": after, "limit": limit})))

    def find(self, type: str, where: Mapping[str, Any], *, after: str = "", limit: int = 0) -> Page:
        """As `list`, of the snippets of a type whose top-level fields have these values; None matches null."""
        return _page(ask_json("snippet.find", encode([type, after, limit]), encode(dict(where))))

    def each(self, *, type: str = "", where: Mapping[str, Any] | None = None, limit: int = 0) -> Iterator[Snippet]:
        """All snippets of a type, or those whose fields equal `where`. Pages of `limit` are read when they are needed.

        A snippet that is created meanwhile comes at the end, a deleted one does not come, a changed one comes as it is
        when its page is read. Raises Error at once for `where` without `type`.
        """
        if where is not None and not type:
            raise Error("snippet.each: `where` requires a `type`", status=400)
        return self._each(type, where, limit)

    def _each(self, type: str, where: Mapping[str, Any] | None, limit: int) -> Iterator[Snippet]:
        after = ""
        while True:
            if where is None:
                page = self.list(type=type, after=after, limit=limit)
            else:
                page = self.find(type, where, after=after, limit=limit)
            yield from page.snippets
            after = page.cursor
            if not after:
                return

    def lines(self, *, type: str = "", after: str = "", limit: int = 0, only_ids: bool = False) -> Lines:
        text = ask("snippet.lines", encode([type, after, limit, only_ids, _LINE])) or b""
        head, _, lines = text.partition(b"\n")
        page = strict_json.load_object(head)
        return Lines(lines, page["ids"], page["cursor"], page["skipped"])

    def create(self, type: str, name: str, content: Json) -> str:
        """The id. `name` may be ""."""
        return written_id(writes.create(type, name, content))

    def update(self, ref: str, patch: Json, if_version: int = 0) -> str:
        """The id. `patch` is a merge patch: None removes a field. Error 409 if the snippet has another version."""
        return written_id(writes.update(ref, patch, if_version))

    def rename(self, ref: str, name: str) -> str:
        """The id. "" removes the name; Error 409 if it is in use."""
        return written_id(writes.rename(ref, name))

    def delete(self, ref: str, cascade: bool = False) -> str:
        """The id. Error 409 for a bonded snippet without `cascade`."""
        return written_id(writes.delete(ref, cascade))

    def restore(
        self, snippet: Snippet, *, accept_unfit: bool = False, overwrite: bool = False, dry_run: bool = False
    ) -> Restored:
        """Writes a snippet with its id, version and times, as `reed import` does."""
        return Restored(*written(writes.restore(snippet, accept_unfit, overwrite, dry_run)))


def _page(page: Mapping[str, Any]) -> Page:
    return Page([Snippet.of(each) for each in page["snippets"]], page["cursor"])
