"""A blocking client of the core: one connection, one method for each command.

    with Client() as core:
        snippet_id = core.snippet_create("page", "blog/intro", {"title": "Hello"})
        core.snippet_get("blog/intro").content                              # b'{"title":"Hello"}'
        core.plugin_send("simple-seo", "validate", "blog/intro").body       # b'{"score": …}'

Json is JSON text as `bytes`, or any value that can be encoded. A ref is a snippet's id, the start of one, or its name.

    CallError       the core rejected the request; reed.errors has a subclass for each error_code
    NoAnswer        the connection ended or timed out; a write may have been carried out
    CoreNotRunning  nothing listens on the socket

After NoAnswer the next call reconnects. Use a Client in one thread only. `pipelined` keeps many requests in flight.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from reed.client.connection import DEFAULT_RUNTIME_DIR, ClientConnection, NoAnswer, core_socket
from reed.client.pipeline import Request
from reed.wire.codes import Command, Flag, Signal
from reed.wire.commands import record_of
from reed.wire.common import JsonResponse

if TYPE_CHECKING:
    from reed.client.watch import Watch
    from reed.wire.plugins import PluginAnswer
    from reed.wire.registry import Definition
    from reed.wire.search import SearchPage
    from reed.wire.snippets import Record, SnippetPage, SnippetWritten

__all__ = ["DEFAULT_RUNTIME_DIR", "Client", "NoAnswer", "Request", "core_socket", "to_json"]

Json = Any


class Client(ClientConnection):
    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def assume(self, user: str, group: str) -> dict[str, Json]:
        """Give up permissions for good, also for later connections of this client: it becomes `user` of `group`.

        {"name","user","group","is_admin","permissions":[…]}. Once, and only for an admin; the log and `reed monitor`
        name the Unix user and `user`. NotFound names the groups of reed.yaml. A client that is refused stays refused.
        """
        from reed.wire.requests import ConnectionAssume

        answer = self._assume(ConnectionAssume(user, group).pack())
        found: dict[str, Json] = json.loads(bytes(JsonResponse.unpack(answer).json))
        return found

    # Snippets.

    def snippet_create(self, snippet_type: str, semantic_name: str, content: Json) -> str:
        """Returns the id. `content` is an object; `semantic_name` may be ""."""
        return self._write(Command.SNIPPET_CREATE, snippet_type, semantic_name, to_json(content))

    def snippet_update(self, ref: str, patch: Json, if_version: int = 0) -> str:
        """Apply a JSON Merge Patch; returns the id. Conflict unless the version is `if_version` (0: any)."""
        return self._write(Command.SNIPPET_UPDATE, ref, if_version, to_json(patch))

    def snippet_delete(self, ref: str, *, cascade: bool = False) -> str:
        """Returns the id. Conflict if the snippet has bonds, unless `cascade` deletes them too."""
        return self._write(Command.SNIPPET_DELETE, ref, cascade)

    def snippet_restore(
        self, record: Record, *, accept_unfit: bool = False, overwrite: bool = False, dry_run: bool = False
    ) -> SnippetWritten:
        """Write a snippet with its former id, version and times.

        The status is 201 (new), 204 (replaced an older version) or 200 (already the same). Conflict if the store has a
        newer version, unless `overwrite`. With `accept_unfit` content that does not fit its type only sets `error`.
        """
        from reed.wire.snippets import RestoreFlag

        flags = RestoreFlag.ACCEPT_UNFIT * accept_unfit | RestoreFlag.OVERWRITE * overwrite
        written: SnippetWritten = self._request(Command.SNIPPET_RESTORE, flags | RestoreFlag.DRY_RUN * dry_run, record)
        return written

    def snippet_rename(self, ref: str, semantic_name: str) -> str:
        """Returns the id. "" removes the name. Conflict if the name is in use."""
        return self._write(Command.SNIPPET_RENAME, ref, semantic_name)

    def snippet_get(self, ref: str) -> Record:
        return _own(self._request(Command.SNIPPET_GET, ref).record)

    def snippet_list(self, snippet_type: str = "", after: str = "", limit: int = 0) -> SnippetPage:
        """A page in creation order; its `cursor` is the next `after`, "" at the end. Limit 0: 100."""
        return _own_page(self._request(Command.SNIPPET_LIST, snippet_type, after, limit))

    def snippet_find(self, snippet_type: str, conditions: Json, after: str = "", limit: int = 0) -> SnippetPage:
        """Like `snippet_list`, of snippets whose top-level fields equal `conditions`, {field: value}."""
        return _own_page(self._request(Command.SNIPPET_FIND, snippet_type, to_json(conditions), after, limit))

    def snippets(self, snippet_type: str = "", page_size: int = 0, where: Json = None) -> Iterator[Record]:
        """All pages of `snippet_list`, or of `snippet_find` with the conditions `where`."""
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
        """Sorted names, at most 1000. Limit 0: 100."""
        return self._json_list(Command.SNIPPET_NAMES, prefix, limit)

    def watch(self, types: Iterable[str] = (), after: str = "", *, reconnect: bool = False) -> Watch:
        """Changes as they are committed, on a connection of its own, as an iterator that never ends by itself.

            for change in core.watch(types=["page"]):
                print(change.kind, change.name, change.cursor)

        Without `after`, a cursor, it begins at the present. With `reconnect` it goes on from its cursor when the core
        restarts. CursorTooOld if the core no longer has the changes after the cursor: list again, watch without one.
        """
        from reed.client.watch import Watch

        return Watch(self._begin_watch, types, after, reconnect=reconnect)

    def _begin_watch(self, payload: bytes) -> tuple[ClientConnection, bytes]:
        """Another connection of the same user, and its first response."""
        connection = ClientConnection(self.path, None)
        try:
            if self._assumed:
                connection._assume(self._assumed)
            return connection, connection.call(Command.SNIPPET_WATCH, payload)
        except BaseException:
            connection.close()
            raise

    # Bonds.

    def schema_bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        """Returns the bond's id."""
        return str(self._request(Command.SCHEMA_BOND, parent, child, weight, path).bond_id)

    def schema_unbond(self, parent: str, child: str) -> None:
        self._request(Command.SCHEMA_UNBOND, parent, child)

    def schema_tree(self, root: str = "", depth: int = 0) -> Json:
        """{"id","type","name","weight","path","children":[…]}; without `root` a list of all roots. Depth 0: all."""
        return self._json(Command.SCHEMA_TREE, root, depth)

    # Types.

    def registry_define(self, type_name: str, definition: Json) -> bool:
        """Define or redefine a type; returns whether it is new."""
        return bool(self._request(Command.REGISTRY_DEFINE, type_name, to_json(definition)).status == 201)

    def registry_get(self, type_name: str) -> Definition:
        return _own_definition(self._request(Command.REGISTRY_GET, type_name).definition)

    def registry_check(self, type_name: str, after: str = "", limit: int = 0) -> dict[str, Json]:
        """Check up to 1000 snippets against their type: {"checked","unfit","first":[{"id","name","problem"}],"cursor"}.

        `cursor` is the next `after`, "" at the end.
        """
        return self._json_object(Command.REGISTRY_CHECK, type_name, after, limit)

    def registry_delete(self, type_name: str) -> None:
        """Delete a type; Conflict while it has snippets."""
        self._request(Command.REGISTRY_DELETE, type_name)

    def registry_list(self) -> list[Definition]:
        return [_own_definition(each) for each in self._request(Command.REGISTRY_LIST).definitions]

    # Search.

    def search(self, query: str, snippet_type: str = "", limit: int = 0, offset: int = 0) -> SearchPage:
        """Hits for words and "phrases", best first; the last word may be a prefix."""
        page: SearchPage = self._request(Command.SEARCH_QUERY, query, snippet_type, limit, offset)
        return page

    def search_index(self, ref: str = "") -> int:
        """Rebuild the index of one snippet or of all; returns how many."""
        return int(self._request(Command.SEARCH_INDEX, ref).indexed)

    # Plugins (keys of the objects: protocol.md#plugins).

    def plugin_list(self) -> list[dict[str, Json]]:
        """[{"name","type","version","state","auto_start","permissions","actions","pid","reason", …}]."""
        return self._json_list(Command.PLUGIN_LIST)

    def plugin_health(self, name: str = "") -> list[dict[str, Json]]:
        """[{"name","state","pid","uptime_s","memory_bytes","calls","errors","latency_ms", …}] of one or all."""
        return self._json_list(Command.PLUGIN_HEALTH, name)

    def plugin_start(self, name: str) -> None:
        """Returns once the plugin is ready; PluginOffline if it cannot start."""
        self._request(Command.PLUGIN_START, name)

    def plugin_stop(self, name: str) -> None:
        """Returns once the plugin's process has exited."""
        self._request(Command.PLUGIN_STOP, name)

    def plugin_send(self, name: str, action: str, data: Json = b"") -> PluginAnswer:
        """Call an action; for one that takes a snippet, `data` is the ref.

        The plugin's own status may be an error; CallError means that it did not answer.
        """
        answer: PluginAnswer = self._request(Command.PLUGIN_SEND, name, action, to_json(data))
        return answer._replace(body=bytes(answer.body))

    def plugin_send_all(self, action: str, data: Json = b"") -> dict[str, Json]:
        """Call every running plugin with the action: {NAME: {"status","answer"} or {"status","error"}}."""
        answer = self._request(Command.PLUGIN_SEND, "", action, to_json(data), flags=Flag.BROADCAST)
        answers: dict[str, Json] = json.loads(bytes(answer.body))
        return answers

    def plugin_run_schedule(self, name: str, schedule: str) -> PluginAnswer:
        """Run a schedule of a plugin now; its next due time stays. Conflict while it runs; else as `plugin_send`."""
        answer: PluginAnswer = self._request(Command.PLUGIN_RUN_SCHEDULE, name, schedule)
        return answer._replace(body=bytes(answer.body))

    def plugin_signal(self, name: str, signal: Signal, data: bytes = b"", *, wait: bool = True) -> None:
        """Send a signal to a plugin, or to all (""). With `wait` the core acknowledges it."""
        from time import time_ns

        flags = (0 if name else Flag.BROADCAST) | (0 if wait else Flag.SIGNAL)
        self._request(Command.PLUGIN_SIGNAL, signal, time_ns() // 1000, name, data, flags=flags)

    def plugin_reload(self, name: str = "") -> None:
        """Apply changes of plugin-registry.csv and of plugins' folders. With a name, replace that plugin in any case.

        Returns once calls go to the new processes. Invalid for an invalid row (nothing changes), or for a new version
        that does not start (the old one keeps running).
        """
        self._request(Command.PLUGIN_RELOAD, name)

    def plugin_reload_report(self, name: str = "") -> list[dict[str, Json]]:
        """Like `plugin_reload`: [{"name","result","reason"}] of what changed.

        `result` is "added", "started", "renewed", "updated", "removed" or "failed". A failed plugin raises nothing.
        """
        from reed.wire.plugins import PluginReload

        answer = self.call(Command.PLUGIN_RELOAD, PluginReload(name, report=True).pack())
        changes: list[dict[str, Json]] = json.loads(bytes(JsonResponse.unpack(answer).json))
        return changes

    def stats(self) -> dict[str, Json]:
        """{"version","pid","uptime_s","memory_bytes","connections","store","plugins","loop","limits", …}."""
        return self._json_object(Command.SYSTEM_STATS)

    def _request(self, command: Command, *fields: Any, flags: int = 0) -> Any:
        """Send the command's request record; returns its response record. Modules of records are imported on first
        use, since importing all takes longer than a call.
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
    """`bytes` stay as they are."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    from reed.wire import strict_json

    return strict_json.dumps(value)


def _own(record: Record) -> Record:
    """With `bytes` in place of the view of the payload."""
    return record._replace(content=bytes(record.content))


def _own_page(page: SnippetPage) -> SnippetPage:
    return page._replace(records=[_own(record) for record in page.records])


def _own_definition(definition: Definition) -> Definition:
    return definition._replace(definition=bytes(definition.definition))
