"""The core's commands for the SDK: JSON in, JSON out (sdk/reed.lua; protocol.md#commands).

Arguments arrive as one JSON array, content as a JSON text of its own. The bytes of content are passed on unchanged in
both directions. A CallError becomes a failure in Lua.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from reed.errors import CallError, Internal, Malformed
from reed.wire import common, jsonl, strict_json
from reed.wire.codes import Command
from reed.wire.commands import WRITE_ERRORS
from reed.wire.registry import RegistryDefine, RegistryGot, RegistryPage
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond
from reed.wire.search import SearchIndexed, SearchPage, SearchQuery
from reed.wire.snippets import (
    Record,
    SnippetCreate,
    SnippetDelete,
    SnippetFind,
    SnippetGot,
    SnippetList,
    SnippetPage,
    SnippetRename,
    SnippetRestore,
    SnippetUpdate,
    SnippetWritten,
)
from reed.wire.structs import Bytes, pack_text

Request = Callable[[int, bytes], Bytes]


class CoreServices:
    """One method for each command; `request(command, payload)` returns the payload of the core's response."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def table(self) -> dict[bytes, Callable[..., bytes]]:
        """The methods by the SDK's names, such as b"snippet.get"."""
        names = [name for name in vars(type(self)) if name.count("_") == 1 and not name.startswith("_")]
        return {name.replace("_", ".").encode(): getattr(self, name) for name in names}

    def snippet_get(self, arguments: bytes) -> bytes:
        (ref,) = strict_json.loads(arguments)
        return SnippetGot.unpack(self._request(Command.SNIPPET_GET, pack_text(ref, 36))).record.as_json()

    def snippet_list(self, arguments: bytes) -> bytes:
        options = strict_json.load_object(arguments)
        query = SnippetList(options.pop("type", ""), options.pop("after", ""), options.pop("limit", 0))
        if options:
            raise Malformed(f"snippet.list: unknown option {next(iter(options))!r}", hint="options: type, after, limit")
        return _page(self._request(Command.SNIPPET_LIST, _packed(query)))

    def snippet_find(self, arguments: bytes, conditions: bytes) -> bytes:
        kind, after, limit = strict_json.loads(arguments)
        return _page(self._request(Command.SNIPPET_FIND, _packed(SnippetFind(kind, conditions, after, limit))))

    def snippet_lines(self, arguments: bytes) -> bytes:
        """A page as lines of an export, after a line {"ids", "cursor", "skipped"}; skipped: longer than `max_line`."""
        kind, after, limit, only_ids, max_line = strict_json.loads(arguments)
        page = SnippetPage.unpack(self._request(Command.SNIPPET_LIST, _packed(SnippetList(kind, after, limit))))
        parts: list[bytes] = []
        skipped: list[dict[str, Any]] = []
        for record in () if only_ids else page.records:
            line = jsonl.of_snippet(record)
            if len(line) > max_line:
                skipped.append({"id": record.id, "name": record.semantic_name, "bytes": len(record.content)})
            else:
                parts.append(line)
        ids = [record.id for record in page.records]
        head = strict_json.dumps({"ids": ids, "cursor": page.cursor, "skipped": skipped})
        return b"\n".join((head, b"".join(parts)))

    def snippet_create(self, arguments: bytes, content: bytes) -> bytes:
        kind, name = strict_json.loads(arguments)
        return self._written(Command.SNIPPET_CREATE, SnippetCreate(kind, name, content))

    def snippet_restore(self, arguments: bytes, content: bytes) -> bytes:
        flags, snippet_id, kind, name, version, created_at, updated_at = strict_json.loads(arguments)
        request = SnippetRestore(flags, Record(snippet_id, kind, name, version, created_at, updated_at, content))
        answer = SnippetWritten.unpack(self._request(Command.SNIPPET_RESTORE, _packed(request)))
        _check(answer.status, answer.error)
        return strict_json.dumps([answer.status, answer.error])

    def snippet_update(self, arguments: bytes, patch: bytes) -> bytes:
        ref, if_version = strict_json.loads(arguments)
        return self._written(Command.SNIPPET_UPDATE, SnippetUpdate(ref, if_version, patch))

    def snippet_rename(self, arguments: bytes) -> bytes:
        return self._written(Command.SNIPPET_RENAME, SnippetRename(*strict_json.loads(arguments)))

    def snippet_delete(self, arguments: bytes) -> bytes:
        return self._written(Command.SNIPPET_DELETE, SnippetDelete(*strict_json.loads(arguments)))

    def schema_bond(self, arguments: bytes) -> bytes:
        request = SchemaBond(*strict_json.loads(arguments))
        answer = SchemaBonded.unpack(self._request(Command.SCHEMA_BOND, _packed(request)))
        _check(answer.status, answer.error)
        return strict_json.dumps(answer.bond_id)

    def schema_unbond(self, arguments: bytes) -> bytes:
        self._done(Command.SCHEMA_UNBOND, SchemaUnbond(*strict_json.loads(arguments)))
        return b"true"

    def schema_tree(self, arguments: bytes) -> bytes:
        request = SchemaTree(*strict_json.loads(arguments))
        answer = self._request(Command.SCHEMA_TREE, _packed(request))
        return bytes(common.JsonResponse.unpack(answer).json)

    def registry_define(self, arguments: bytes, definition: bytes) -> bytes:
        (name,) = strict_json.loads(arguments)
        status = self._done(Command.REGISTRY_DEFINE, RegistryDefine(name, definition))
        return b"true" if status == 201 else b"false"

    def registry_get(self, arguments: bytes) -> bytes:
        (name,) = strict_json.loads(arguments)
        answer = RegistryGot.unpack(self._request(Command.REGISTRY_GET, pack_text(name, 32)))
        return bytes(answer.definition.definition)

    def registry_list(self) -> bytes:
        page = RegistryPage.unpack(self._request(Command.REGISTRY_LIST, b""))
        pairs = [strict_json.dumps(name) + b":" + text for name, text in page.definitions]
        return b"{%b}" % b",".join(pairs)

    def registry_lines(self) -> bytes:
        return b"".join(map(jsonl.of_type, RegistryPage.unpack(self._request(Command.REGISTRY_LIST, b"")).definitions))

    def search_query(self, arguments: bytes) -> bytes:
        request = SearchQuery(*strict_json.loads(arguments))
        page = SearchPage.unpack(self._request(Command.SEARCH_QUERY, _packed(request)))
        hits = [
            {
                "id": hit.id,
                "type": hit.snippet_type,
                "name": hit.semantic_name,
                "score": hit.score,
                "excerpt": hit.excerpt,
            }
            for hit in page.hits
        ]
        return strict_json.dumps({"total": page.total, "hits": hits})

    def search_index(self, arguments: bytes) -> bytes:
        (ref,) = strict_json.loads(arguments)
        answer = self._request(Command.SEARCH_INDEX, pack_text(ref or "", 36))
        return strict_json.dumps(SearchIndexed.unpack(answer).indexed)

    def _written(self, command: Command, request: Any) -> bytes:
        answer = SnippetWritten.unpack(self._request(command, _packed(request)))
        _check(answer.status, answer.error)
        return strict_json.dumps(answer.snippet_id)

    def _done(self, command: Command, request: Any) -> int:
        answer = common.Done.unpack(self._request(command, _packed(request)))
        _check(answer.status, answer.error)
        return answer.status


def _packed(request: Any) -> bytes:
    """The payload of a request record; a value of the wrong type is the plugin's error, not the host's."""
    try:
        return bytes(request.pack())
    except (struct.error, TypeError, AttributeError, OverflowError) as error:
        raise Malformed(f"{type(request).__name__}: {error}") from None


def _check(status: int, error: str) -> None:
    if status >= 400:
        raise CallError(error, status=status, error_code=WRITE_ERRORS.get(status, Internal).error_code)


def _page(answer: Bytes) -> bytes:
    page = SnippetPage.unpack(answer)
    records = b",".join(map(Record.as_json, page.records))
    return b'{"cursor":%b,"snippets":[%b]}' % (strict_json.dumps(page.cursor), records)
