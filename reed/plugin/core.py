"""`reed`: the core's commands, the log, and the settings. Every method that asks the core raises Error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from reed.plugin.failure import Error
from reed.plugin.records import Lines, Page, Restored, SearchHit, SearchPage, Snippet, TreeNode
from reed.plugin.services import ask, ask_json, encode
from reed.plugin.writes import (
    Batch,
    RegistryWrites,
    SchemaWrites,
    SnippetWrites,
    Write,
    is_written,
    written,
    written_id,
)
from reed.wire import strict_json

_LINE = 64 * 1024 * 1024  # bytes of the longest line of an export


def _restored(write: Write) -> Restored:
    return Restored(*written(write))


class Snippets(SnippetWrites[str, Restored]):
    """`reed.snippet`. A `ref` is an id or a name. Error 404 for a snippet that does not exist."""

    def __init__(self) -> None:
        super().__init__(written_id, _restored)

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


def _page(page: Mapping[str, Any]) -> Page:
    return Page([Snippet.of(each) for each in page["snippets"]], page["cursor"])


class Schema(SchemaWrites[str, bool]):
    """`reed.schema`: bonds between snippets."""

    def __init__(self) -> None:
        super().__init__(written_id, is_written)

    def tree(self, root: str = "", depth: int = 0) -> list[TreeNode]:
        """The tree below a snippet, as a list of one; without a root, all roots. `depth` 0: everything."""
        found = ask_json("schema.tree", encode([root, depth]))
        return [TreeNode.of(each) for each in (found if isinstance(found, list) else [found])]


class Registry(RegistryWrites[bool]):
    """`reed.registry`: types of snippets."""

    def __init__(self) -> None:
        super().__init__(is_written)

    def get(self, name: str) -> dict[str, Any]:
        """The definition."""
        return dict(ask_json("registry.get", encode([name])))

    def list(self) -> dict[str, dict[str, Any]]:
        """All definitions by type name."""
        return dict(ask_json("registry.list"))

    def lines(self) -> tuple[bytes, int]:
        """All types in the format of `reed export`, and their number."""
        text = ask("registry.lines") or b""
        return text, text.count(b"\n")


class Search:
    """`reed.search`: the search index."""

    def query(self, text: str, *, type: str = "", limit: int = 0, offset: int = 0) -> SearchPage:
        found = ask_json("search.query", encode([text, type, limit, offset]))
        hits = [SearchHit(**{name: hit[name] for name in SearchHit._fields}) for hit in found["hits"]]
        return SearchPage(found["total"], hits)

    def index(self, ref: str = "") -> int:
        """The number of snippets that were indexed; without a ref, all are."""
        return int(ask_json("search.index", encode([ref])))


class Log:
    """`reed.log`: lines in the plugin's log and the core's, up to `limits.log_lines` a second.

    With arguments, `message` is a format: `log.info("%s has %d words", name, words)`. A dict is written as JSON.
    """

    def debug(self, message: object, *arguments: object) -> None:
        _write(b"debug", message, arguments)

    def info(self, message: object, *arguments: object) -> None:
        _write(b"info", message, arguments)

    def warn(self, message: object, *arguments: object) -> None:
        _write(b"warn", message, arguments)

    def error(self, message: object, *arguments: object) -> None:
        _write(b"error", message, arguments)


def _write(level: bytes, message: object, arguments: tuple[object, ...]) -> None:
    text = encode(message).decode() if isinstance(message, dict) else str(message)
    ask("log", level, (text % arguments if arguments else text).encode("utf-8", "replace"))


class signals:
    """Numbers, by the names of ReedCMS's documents."""

    READY = 0x01
    BUSY = 0x02
    SLEEPING = 0x04
    ERROR = 0x05
    SHUTDOWN_GRACEFUL = 0x10
    RELOAD_CONFIG = 0x12
    HEALTH_CHECK = 0x13
    WAKE_UP = 0x15


class messages:
    KEYWORD_OPTIMIZED = 0x01
    CONTENT_ANALYZED = 0x02
    RESPONSE_ACK = 0xF0
    RESPONSE_ERROR = 0xF1
    RESPONSE_DATA = 0xF2


class Reed:
    """`settings`: those of plugin.yaml, overridden by those of reed.yaml; RELOAD_CONFIG changes this dict in place."""

    signals = signals
    messages = messages

    def __init__(self) -> None:
        self.snippet = Snippets()
        self.schema = Schema()
        self.registry = Registry()
        self.search = Search()
        self.log = Log()
        self.settings: dict[str, Any] = {}

    def batch(self) -> Batch:
        """Many writes that are sent together: `with reed.batch() as batch: batch.snippet.create(…)`."""
        return Batch()

    def fail(self, status: int, message: str) -> NoReturn:
        """Ends the call with a status from 400 to 599."""
        raise Error(message, status=status)
