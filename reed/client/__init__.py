"""A blocking client of the core: one connection, a method for each command (protocol.md#commands).

    with Client() as core:
        snippet_id = core.snippet_create("page", "blog/intro", {"title": "Hello"})
        core.snippet_get("blog/intro").content                              # b'{"title":"Hello"}'
        core.plugin_send("simple-seo", "validate", "blog/intro").body       # b'{"score": …}'

A parameter of type Json takes JSON text as `bytes`, sent as it is, or any other value, which is encoded. A ref is a
snippet's UUID, the beginning of one, or a semantic name. Methods return records of `reed.wire`, whose JSON is `bytes`.

    CallError       the core rejected the request; the subclass follows error_code (reed.errors)
    NoAnswer        the connection ended or timed out before the response; a write may have been carried out
    CoreNotRunning  nobody listens on the socket

After NoAnswer the next call reconnects. A Client belongs to one thread; open several for concurrent calls.
`pipelined` (see `connection`) sends many requests without waiting for each response.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reed.client.connection import DEFAULT_RUNTIME_DIR, ClientConnection, NoAnswer, core_socket
from reed.client.pipeline import Request
from reed.wire.codes import Command, Flag, Signal
from reed.wire.commands import record_of
from reed.wire.common import JsonResponse

if TYPE_CHECKING:
    from reed.wire.plugins import PluginAnswer
    from reed.wire.registry import Definition
    from reed.wire.search import SearchPage
    from reed.wire.snippets import Record, SnippetPage, SnippetWritten

__all__ = ["DEFAULT_RUNTIME_DIR", "Client", "NoAnswer", "Request", "core_socket", "to_json"]

Json = Any


class Client(ClientConnection):
    """Every method raises CallError, NoAnswer or CoreNotRunning."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Snippets.

    def snippet_create(self, snippet_type: str, semantic_name: str, content: Json) -> str:
        """Create a snippet with a JSON object as its content; returns its id. `semantic_name` may be empty."""
        return self._write(Command.SNIPPET_CREATE, snippet_type, semantic_name, to_json(content))

    def snippet_update(self, ref: str, patch: Json, if_version: int = 0) -> str:
        """Apply a JSON Merge Patch (RFC 7396); returns the id. Conflict unless at `if_version` (0: any)."""
        return self._write(Command.SNIPPET_UPDATE, ref, if_version, to_json(patch))

    def snippet_delete(self, ref: str, *, cascade: bool = False) -> str:
        """Delete a snippet; returns its id. Conflict if it is bonded, unless `cascade` deletes its bonds too."""
        return self._write(Command.SNIPPET_DELETE, ref, cascade)

    def snippet_restore(
        self, record: Record, *, accept_unfit: bool = False, overwrite: bool = False, dry_run: bool = False
    ) -> SnippetWritten:
        """Write a snippet with its former id, version and times (protocol.md#snippet_restore).

        The status is 201 (new), 204 (an older version was replaced) or 200 (the store has the same). With
        `accept_unfit`, content that does not fit its type is written and `error` is a warning. Conflict if the store
        has a newer version, unless `overwrite`. With `dry_run` nothing is written.
        """
        from reed.wire.snippets import RestoreFlag

        flags = RestoreFlag.ACCEPT_UNFIT * accept_unfit | RestoreFlag.OVERWRITE * overwrite
        written: SnippetWritten = self._request(Command.SNIPPET_RESTORE, flags | RestoreFlag.DRY_RUN * dry_run, record)
        return written

    def snippet_rename(self, ref: str, semantic_name: str) -> str:
        """Change or remove ("") the name; returns the id. Conflict if the name is in use."""
        return self._write(Command.SNIPPET_RENAME, ref, semantic_name)

    def snippet_get(self, ref: str) -> Record:
        return _own(self._request(Command.SNIPPET_GET, ref).record)

    def snippet_list(self, snippet_type: str = "", after: str = "", limit: int = 0) -> SnippetPage:
        """A page in creation order. Its `cursor` is `after` for the next page, "" at the end. `limit` 0: 100."""
        return _own_page(self._request(Command.SNIPPET_LIST, snippet_type, after, limit))

    def snippet_find(self, snippet_type: str, conditions: Json, after: str = "", limit: int = 0) -> SnippetPage:
        """Like `snippet_list`, for snippets whose top-level fields equal `conditions`, {field: value}."""
        return _own_page(self._request(Command.SNIPPET_FIND, snippet_type, to_json(conditions), after, limit))

    def snippets(self, snippet_type: str = "", page_size: int = 0, where: Json = None) -> Iterator[Record]:
        """All snippets, of a type and with the conditions `where` if given, in creation order, read in pages."""
        cursor = ""
        while True:
            if where is None:
                page = self.snippet_list(snippet_type, cursor, page_size)
            else:
                page = self.snippet_find(snippet_type, where, cursor, page_size)
            yield from page.records
            cursor = page.cursor
            if not cursor:
                return

    def snippet_names(self, prefix: str = "", limit: int = 0) -> list[str]:
        """The first names with this prefix, sorted; at most `limit` (0: 100; at most 1000)."""
        return self._json_list(Command.SNIPPET_NAMES, prefix, limit)

    # Bonds.

    def schema_bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        """Put `child` below `parent`; returns the bond's id."""
        return str(self._request(Command.SCHEMA_BOND, parent, child, weight, path).bond_id)

    def schema_unbond(self, parent: str, child: str) -> None:
        self._request(Command.SCHEMA_UNBOND, parent, child)

    def schema_tree(self, root: str = "", depth: int = 0) -> Json:
        """{"id","type","name","weight","path","children":[…]}; a list of all roots without `root`. Depth 0: all."""
        return self._json(Command.SCHEMA_TREE, root, depth)

    # Types.

    def registry_define(self, type_name: str, definition: Json) -> bool:
        """Define a type or change its definition; True if the type is new."""
        return bool(self._request(Command.REGISTRY_DEFINE, type_name, to_json(definition)).status == 201)

    def registry_get(self, type_name: str) -> Definition:
        return _own_definition(self._request(Command.REGISTRY_GET, type_name).definition)

    def registry_check(self, type_name: str, after: str = "", limit: int = 0) -> dict[str, Json]:
        """{"checked","unfit","first":[{"id","name","problem"}],"cursor"}: snippets that do not fit their type.

        One call checks at most 1000 snippets. `cursor` is `after` for the next call, and "" at the end.
        """
        return self._json_object(Command.REGISTRY_CHECK, type_name, after, limit)

    def registry_list(self) -> list[Definition]:
        return [_own_definition(each) for each in self._request(Command.REGISTRY_LIST).definitions]

    # Search.

    def search(self, query: str, snippet_type: str = "", limit: int = 0, offset: int = 0) -> SearchPage:
        """Hits for words and "phrases", best first. The last word may be a prefix."""
        page: SearchPage = self._request(Command.SEARCH_QUERY, query, snippet_type, limit, offset)
        return page

    def search_index(self, ref: str = "") -> int:
        """Rebuild the index of one snippet, or of all (""); returns how many were indexed."""
        return int(self._request(Command.SEARCH_INDEX, ref).indexed)

    # Plugins. protocol.md#plugins lists the keys of the objects.

    def plugin_list(self) -> list[dict[str, Json]]:
        """{"name","type","version","state","auto_start","permissions","actions","pid","reason", …} for each row."""
        return self._json_list(Command.PLUGIN_LIST)

    def plugin_health(self, name: str = "") -> list[dict[str, Json]]:
        """{"name","state","pid","uptime_s","memory_bytes","calls","errors","latency_ms", …} of one or all plugins."""
        return self._json_list(Command.PLUGIN_HEALTH, name)

    def plugin_start(self, name: str) -> None:
        """Returns when the plugin is ready; PluginOffline if it cannot start."""
        self._request(Command.PLUGIN_START, name)

    def plugin_stop(self, name: str) -> None:
        """Returns when the plugin's process has exited."""
        self._request(Command.PLUGIN_STOP, name)

    def plugin_send(self, name: str, action: str, data: Json = b"") -> PluginAnswer:
        """Call an action; returns its status and body. For an action that takes a snippet, `data` is the ref.

        A plugin may answer with any status, also with an error. CallError means that it did not answer.
        """
        answer: PluginAnswer = self._request(Command.PLUGIN_SEND, name, action, to_json(data))
        return answer._replace(body=bytes(answer.body))

    def plugin_send_all(self, action: str, data: Json = b"") -> dict[str, Json]:
        """Call the action of every running plugin that has it: {NAME: {"status","answer"} or {"status","error"}}."""
        answer = self._request(Command.PLUGIN_SEND, "", action, to_json(data), flags=Flag.BROADCAST)
        answers: dict[str, Json] = json.loads(bytes(answer.body))
        return answers

    def plugin_signal(self, name: str, signal: Signal, data: bytes = b"", *, wait: bool = True) -> None:
        """Send a signal (reedcms-10.md#signals) to a plugin, or to all (""). With `wait` the core acknowledges it."""
        from time import time_ns

        flags = (0 if name else Flag.BROADCAST) | (0 if wait else Flag.SIGNAL)
        self._request(Command.PLUGIN_SIGNAL, signal, time_ns() // 1000, name, data, flags=flags)

    def plugin_reload(self, name: str = "") -> None:
        """Read plugin-registry.csv and the plugins' folders again, and replace the processes of what changed.

        With a name, replace that plugin, changed or not. Returns when calls go to the new processes. Invalid names a
        bad row (then nothing changed), or a plugin whose new version was rejected (then the old one keeps running).
        """
        self._request(Command.PLUGIN_RELOAD, name)

    def plugin_reload_report(self, name: str = "") -> list[dict[str, Json]]:
        """Like `plugin_reload`, returns {"name", "result", "reason"} of each plugin that changed.

        `result` is "added", "started", "renewed", "updated", "removed" or "failed". Returns when every started or
        replaced plugin is ready or has failed. Invalid names a bad row; a failed plugin raises nothing.
        """
        from reed.wire.plugins import PluginReload

        answer = self.call(Command.PLUGIN_RELOAD, PluginReload(name, report=True).pack())
        changes: list[dict[str, Json]] = json.loads(bytes(JsonResponse.unpack(answer).json))
        return changes

    def stats(self) -> dict[str, Json]:
        """{"version","pid","uptime_s","memory_bytes","connections","store","plugins","loop","limits", …}."""
        return self._json_object(Command.SYSTEM_STATS)

    def _request(self, command: Command, *fields: Any, flags: int = 0) -> Any:
        """Send the command's request record with these fields; returns its response record.

        The table names the records, and a module of records is imported on first use: importing all of them takes
        longer than a call.
        """
        payload = record_of(command.request)(*fields).pack() if command.request else b""
        answer = self.call(command, payload, flags)
        return record_of(command.response).unpack(answer) if command.response else None

    def _write(self, command: Command, *fields: Any) -> str:
        return str(self._request(command, *fields).snippet_id)

    def _json(self, command: Command, *fields: Any) -> Json:
        return json.loads(bytes(self._request(command, *fields).json))

    def _json_list(self, command: Command, *fields: Any) -> list[Any]:
        value: list[Any] = self._json(command, *fields)
        return value

    def _json_object(self, command: Command, *fields: Any) -> dict[str, Json]:
        value: dict[str, Json] = self._json(command, *fields)
        return value


def to_json(value: Json) -> bytes:
    """`bytes` as they are; the JSON text of anything else."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    from reed.wire import strict_json

    return strict_json.dumps(value)


def _own(record: Record) -> Record:
    """The record with `bytes` in place of the view of the payload."""
    return record._replace(content=bytes(record.content))


def _own_page(page: SnippetPage) -> SnippetPage:
    return page._replace(records=[_own(record) for record in page.records])


def _own_definition(definition: Definition) -> Definition:
    return definition._replace(definition=bytes(definition.definition))
