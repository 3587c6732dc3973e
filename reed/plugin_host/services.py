"""The core's commands for the SDK (sdk/reed.lua; protocol.md#commands).

Arguments arrive as one JSON array, content as a JSON text of its own, whose bytes are passed on unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from reed.errors import CallError, Internal, Malformed
from reed.wire import jsonl, strict_json
from reed.wire.codes import Command
from reed.wire.commands import WRITE_ERRORS, record_of
from reed.wire.snippets import Record
from reed.wire.structs import Bytes

Request = Callable[[int, bytes], Bytes]

_load, _dump = strict_json.loads, strict_json.dumps


class Write(NamedTuple):
    command: Command
    result: Callable[[Any], Any]  # of the response
    fields: Callable[..., Iterable[Any]] = lambda arguments, *content: (*_load(arguments), *content)


def _snippet_id(response: Any) -> Any:
    return response.snippet_id


def _restored(arguments: bytes, content: bytes) -> tuple[Any, ...]:
    flags, *fields = _load(arguments)
    return flags, Record._make([*fields, content])


WRITES = {
    b"snippet.create": Write(Command.SNIPPET_CREATE, _snippet_id),
    b"snippet.update": Write(Command.SNIPPET_UPDATE, _snippet_id),
    b"snippet.rename": Write(Command.SNIPPET_RENAME, _snippet_id),
    b"snippet.delete": Write(Command.SNIPPET_DELETE, _snippet_id),
    b"snippet.restore": Write(
        Command.SNIPPET_RESTORE, lambda response: [response.status, response.error], fields=_restored
    ),
    b"schema.bond": Write(Command.SCHEMA_BOND, lambda response: response.bond_id),
    b"schema.unbond": Write(Command.SCHEMA_UNBOND, lambda _: True),
    b"registry.define": Write(Command.REGISTRY_DEFINE, lambda response: response.status == 201),
    b"registry.delete": Write(Command.REGISTRY_DELETE, lambda _: True),
}


class CoreServices:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._records = {
            command: (record_of(command.request) if command.request else None, record_of(command.response))
            for command in Command
            if command < Command.PLUGIN_REGISTER
        }

    def table(self) -> dict[bytes, Callable[..., bytes]]:
        """By the SDK's names, such as b"snippet.get"."""
        names = [name for name in vars(type(self)) if name.count("_") == 1 and not name.startswith("_")]
        return {
            **{name.replace("_", ".").encode(): getattr(self, name) for name in names},
            **{name: partial(self._write, name) for name in WRITES},
        }

    # Writes.

    def pack_write(self, name: bytes, *arguments: bytes) -> tuple[Command, bytes]:
        """Raises Malformed."""
        command, _, fields = WRITES[name]
        return command, self._pack(command, *fields(*arguments))

    def unpack_write(self, name: bytes, response: Bytes) -> bytes:
        """Raises CallError."""
        command, result, _ = WRITES[name]
        return _dump(result(self._unpack(command, response)))

    def _write(self, name: bytes, *arguments: bytes) -> bytes:
        command, payload = self.pack_write(name, *arguments)
        return self.unpack_write(name, self._request(command, payload))

    # Reads.

    def snippet_get(self, arguments: bytes) -> bytes:
        return bytes(self._ask(Command.SNIPPET_GET, *_load(arguments)).record.as_json())

    def snippet_list(self, arguments: bytes) -> bytes:
        options = strict_json.load_object(arguments)
        query = options.pop("type", ""), options.pop("after", ""), options.pop("limit", 0)
        if options:
            raise Malformed(f"snippet.list: unknown option {next(iter(options))!r}", hint="options: type, after, limit")
        return _page(self._ask(Command.SNIPPET_LIST, *query))

    def snippet_find(self, arguments: bytes, conditions: bytes) -> bytes:
        kind, after, limit = _load(arguments)
        return _page(self._ask(Command.SNIPPET_FIND, kind, conditions, after, limit))

    def snippet_lines(self, arguments: bytes) -> bytes:
        """A page as lines of an export, after a line {"ids", "cursor", "skipped"}; skipped: longer than `max_line`."""
        kind, after, limit, only_ids, max_line = _load(arguments)
        page = self._ask(Command.SNIPPET_LIST, kind, after, limit)
        parts: list[bytes] = []
        skipped: list[dict[str, Any]] = []
        for record in () if only_ids else page.records:
            line = jsonl.of_snippet(record)
            if len(line) > max_line:
                skipped.append({"id": record.id, "name": record.semantic_name, "bytes": len(record.content)})
            else:
                parts.append(line)
        ids = [record.id for record in page.records]
        return b"\n".join((_dump({"ids": ids, "cursor": page.cursor, "skipped": skipped}), b"".join(parts)))

    def schema_tree(self, arguments: bytes) -> bytes:
        return bytes(self._ask(Command.SCHEMA_TREE, *_load(arguments)).json)

    def registry_get(self, arguments: bytes) -> bytes:
        return bytes(self._ask(Command.REGISTRY_GET, *_load(arguments)).definition.definition)

    def registry_list(self) -> bytes:
        pairs = [_dump(name) + b":" + text for name, text in self._ask(Command.REGISTRY_LIST).definitions]
        return b"{%b}" % b",".join(pairs)

    def registry_lines(self) -> bytes:
        return b"".join(map(jsonl.of_type, self._ask(Command.REGISTRY_LIST).definitions))

    def search_query(self, arguments: bytes) -> bytes:
        page = self._ask(Command.SEARCH_QUERY, *_load(arguments))
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
        return _dump({"total": page.total, "hits": hits})

    def search_index(self, arguments: bytes) -> bytes:
        return _dump(self._ask(Command.SEARCH_INDEX, *_load(arguments)).indexed)

    def _ask(self, command: Command, *fields: Any) -> Any:
        return self._unpack(command, self._request(command, self._pack(command, *fields)))

    def _pack(self, command: Command, *fields: Any) -> bytes:
        request, _ = self._records[command]
        try:
            return bytes(request(*fields).pack()) if request else b""
        except (struct.error, TypeError, AttributeError, OverflowError) as error:  # a value of a wrong type
            raise Malformed(f"{command.name}: {error}") from None

    def _unpack(self, command: Command, payload: Bytes) -> Any:
        _, response = self._records[command]
        answer = response.unpack(payload)
        status = getattr(answer, "status", 200)
        if status >= 400:
            raise CallError(answer.error, status=status, error_code=WRITE_ERRORS.get(status, Internal).error_code)
        return answer


def _page(page: Any) -> bytes:
    records = b",".join(map(Record.as_json, page.records))
    return b'{"cursor":%b,"snippets":[%b]}' % (_dump(page.cursor), records)
