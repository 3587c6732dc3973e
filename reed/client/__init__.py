"""A blocking client of the core: one connection, a method for each command (protocol.md#commands).

    with Client() as core:
        snippet_id = core.snippet_create("page", "blog/intro", {"title": "Hello"})
        core.snippet_get("blog/intro").content                              # b'{"title":"Hello"}'
        core.plugin_send("simple-seo", "validate", "blog/intro").body       # b'{"score": …}'

What a method takes as JSON is either `bytes`, which travel as they are, or any other value, which is encoded. A ref is
a snippet's UUID in text or its semantic name. Records come as `reed.wire` has them; the JSON of a record stays `bytes`.

    CallError       the core refused: its subclass by error_code, with status, error_code and the text (reed.errors)
    NoAnswer        the connection ended, or the time was over, before the answer came: it may have been done or not
    CoreNotRunning  nobody listens there

After NoAnswer the next call connects anew. A Client is for one thread; who needs calls at the same time opens several.
For many calls in a row `pipelined` (see `connection`) does not wait for one answer before it sends the next request.

The records of each room of the protocol are imported where they are used: making all of them takes longer than a call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reed.client.connection import DEFAULT_RUNTIME_DIR, Connection, NoAnswer, core_socket
from reed.client.pipeline import Request
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse, SignalMessage
from reed.wire.structs import COUNT, NAME, NO_REF, REF, STATUS, pack_text

if TYPE_CHECKING:
    from reed.wire.plugins import PluginAnswer
    from reed.wire.registry import Definition
    from reed.wire.search import SearchPage
    from reed.wire.snippets import Record, SnippetPage, SnippetWritten

__all__ = ["DEFAULT_RUNTIME_DIR", "Client", "NoAnswer", "Request", "core_socket", "to_json"]

Json = Any


class Client(Connection):
    """A method for each command. They raise CallError, NoAnswer and CoreNotRunning, as told above."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Snippets.

    def snippet_create(self, snippet_type: str, semantic_name: str, content: Json) -> str:
        """Make a snippet with this JSON object; its id. `semantic_name` may be empty."""
        from reed.wire import snippets

        return self._write(
            Command.SNIPPET_CREATE, snippets.SnippetCreate(snippet_type, semantic_name, to_json(content)).pack()
        )

    def snippet_update(self, ref: str, patch: Json, if_version: int = 0) -> str:
        """Lay a JSON Merge Patch (RFC 7396) over the content; its id. Conflict when it is not at `if_version`."""
        from reed.wire import snippets

        return self._write(Command.SNIPPET_UPDATE, snippets.SnippetUpdate(ref, if_version, to_json(patch)).pack())

    def snippet_delete(self, ref: str, *, cascade: bool = False) -> str:
        """Delete a snippet; its id. Conflict when it is bonded, unless `cascade` takes its bonds along."""
        from reed.wire import snippets

        return self._write(Command.SNIPPET_DELETE, snippets.SnippetDelete(ref, cascade).pack())

    def snippet_restore(
        self, record: Record, *, accept_unfit: bool = False, overwrite: bool = False, dry_run: bool = False
    ) -> SnippetWritten:
        """Write a snippet as it once was, with its id, version and times.

        The status is 201 (new), 204 (an older version was replaced) or 200 (it is here alike). `accept_unfit` lets pass
        what does not fit its type or is of the future; `error` then says so. Conflict for what is here in a newer
        version, unless `overwrite`. With `dry_run` nothing is written.
        """
        from reed.wire import snippets

        flag = snippets.RestoreFlag
        chosen = (accept_unfit, flag.ACCEPT_UNFIT), (overwrite, flag.OVERWRITE), (dry_run, flag.DRY_RUN)
        flags = sum(int(bit) for wanted, bit in chosen if wanted)
        payload = snippets.SnippetRestore(flags, record).pack()
        return snippets.SnippetWritten.unpack(self.call(Command.SNIPPET_RESTORE, payload))

    def snippet_rename(self, ref: str, semantic_name: str) -> str:
        """Give a snippet another name, or none (""); its id. Conflict when the name is in use."""
        from reed.wire import snippets

        return self._write(Command.SNIPPET_RENAME, snippets.SnippetRename(ref, semantic_name).pack())

    def snippet_get(self, ref: str) -> Record:
        from reed.wire import snippets

        return _owned(snippets.SnippetGot.unpack(self.call(Command.SNIPPET_GET, pack_text(ref, REF.size))).record)

    def snippet_list(self, snippet_type: str = "", after: str = "", limit: int = 0) -> SnippetPage:
        """A page in creation order; its `cursor` is `after` for the next, empty at the end. `limit` 0: 100."""
        from reed.wire import snippets

        answer = self.call(Command.SNIPPET_LIST, snippets.SnippetList(snippet_type, after, limit).pack())
        page = snippets.SnippetPage.unpack(answer)
        return page._replace(records=[_owned(record) for record in page.records])

    def snippet_find(self, snippet_type: str, conditions: Json, after: str = "", limit: int = 0) -> SnippetPage:
        """As `snippet_list`, of a type's snippets whose top-level fields equal `conditions`, {field: value}."""
        from reed.wire import snippets

        request = snippets.SnippetFind(snippet_type, to_json(conditions), after, limit)
        page = snippets.SnippetPage.unpack(self.call(Command.SNIPPET_FIND, request.pack()))
        return page._replace(records=[_owned(record) for record in page.records])

    def snippets(self, snippet_type: str = "", page_size: int = 0, where: Json = None) -> Iterator[Record]:
        """All snippets (of a type, and with `where` those that fit its conditions) in creation order, by the page."""
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
        """The first names that begin with `prefix`, in their order; at most `limit` (0: 100; at most 1000)."""
        from reed.wire import snippets

        names: list[str] = _parsed(self.call(Command.SNIPPET_NAMES, snippets.SnippetNames(prefix, limit).pack()))
        return names

    # Bonds.

    def schema_bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        """Put `child` below `parent`; the bond's id."""
        from reed.wire import schema

        return schema.SchemaBonded.unpack(
            self.call(Command.SCHEMA_BOND, schema.SchemaBond(parent, child, weight, path).pack())
        ).bond_id

    def schema_unbond(self, parent: str, child: str) -> None:
        from reed.wire import schema

        self.call(Command.SCHEMA_UNBOND, schema.SchemaUnbond(parent, child).pack())

    def schema_tree(self, root: str = "", depth: int = 0) -> Json:
        """{"id","type","name","weight","path","children":[…]}; without a root a list of them. Depth 0: all levels."""
        from reed.wire import schema

        return _parsed(self.call(Command.SCHEMA_TREE, schema.SchemaTree(root, depth).pack()))

    # Types.

    def registry_define(self, type_name: str, definition: Json) -> bool:
        """Define a type, or define it anew; True when it is a new one."""
        from reed.wire import registry

        answer = self.call(Command.REGISTRY_DEFINE, registry.RegistryDefine(type_name, to_json(definition)).pack())
        return bool(STATUS.unpack_from(answer)[0] == 201)

    def registry_get(self, type_name: str) -> Definition:
        from reed.wire import registry

        definition = registry.RegistryGot.unpack(
            self.call(Command.REGISTRY_GET, pack_text(type_name, NAME.size))
        ).definition
        return registry.Definition(definition.type_name, bytes(definition.definition))

    def registry_check(self, type_name: str, after: str = "", limit: int = 0) -> dict[str, Json]:
        """{"checked","unfit","first":[{"id","name","problem"}],"cursor"}: which snippets do not fit their type.

        A part of them, 1000 at most; `cursor` is `after` for the next part, and empty at the end.
        """
        from reed.wire import registry

        payload = registry.RegistryCheck(type_name, after, limit).pack()
        part: dict[str, Json] = _parsed(self.call(Command.REGISTRY_CHECK, payload))
        return part

    def registry_list(self) -> list[Definition]:
        from reed.wire import registry

        page = registry.RegistryPage.unpack(self.call(Command.REGISTRY_LIST))
        return [registry.Definition(name, bytes(definition)) for name, definition in page.definitions]

    # Search.

    def search(self, query: str, snippet_type: str = "", limit: int = 0, offset: int = 0) -> SearchPage:
        """Hits for words, "words in a row" and the beginning of the last word, best first."""
        from reed.wire import search

        return search.SearchPage.unpack(
            self.call(Command.SEARCH_QUERY, search.SearchQuery(query, snippet_type, limit, offset).pack())
        )

    def search_index(self, ref: str = "") -> int:
        """Index one snippet or everything again; how many were indexed."""
        answer = self.call(Command.SEARCH_INDEX, pack_text(ref, REF.size) if ref else NO_REF)
        return int(COUNT.unpack(answer)[1])

    # Plugins.

    def plugin_list(self) -> list[dict[str, Json]]:
        """{"name","type","version","state","auto_start","permissions","actions","pid","reason", …} of each row."""
        plugins: list[dict[str, Json]] = _parsed(self.call(Command.PLUGIN_LIST))
        return plugins

    def plugin_health(self, name: str = "") -> list[dict[str, Json]]:
        """{"name","state","pid","uptime_s","memory_bytes","calls","errors","latency_ms", …} of one or all."""
        plugins: list[dict[str, Json]] = _parsed(self.call(Command.PLUGIN_HEALTH, pack_text(name, NAME.size)))
        return plugins

    def plugin_start(self, name: str) -> None:
        """Returns when the plugin is ready; PluginOffline says why it is not."""
        self.call(Command.PLUGIN_START, pack_text(name, NAME.size))

    def plugin_stop(self, name: str) -> None:
        """Returns when the plugin's process is gone."""
        self.call(Command.PLUGIN_STOP, pack_text(name, NAME.size))

    def plugin_send(self, name: str, action: str, data: Json = b"") -> PluginAnswer:
        """Call an action; its status and body. Where the action takes a snippet, `data` is its ref.

        A plugin answers with any status, also one of failure; CallError comes where it could not answer.
        """
        from reed.wire import plugins

        answer = plugins.PluginAnswer.unpack(
            self.call(Command.PLUGIN_SEND, plugins.PluginSend(name, action, to_json(data)).pack())
        )
        return answer._replace(body=bytes(answer.body))

    def plugin_send_all(self, action: str, data: Json = b"") -> dict[str, Json]:
        """Call the action of every running plugin that has it: {NAME: {"status","answer"} or {"status","error"}}."""
        from reed.wire import plugins

        payload = plugins.PluginSend("", action, to_json(data)).pack()
        body = plugins.PluginAnswer.unpack(self.call(Command.PLUGIN_SEND, payload, Flag.BROADCAST)).body
        answers: dict[str, Json] = json.loads(bytes(body))
        return answers

    def plugin_signal(self, name: str, signal: Signal, data: bytes = b"", *, wait: bool = True) -> None:
        """Send a plugin a signal (reedcms-10.md#signals); `name` "": every plugin.

        With `wait` the core answers that it took it, or why not; without, nothing comes back.
        """
        from time import time_ns

        payload = SignalMessage(signal, time_ns() // 1000, name, data).pack()
        flags = 0 if name else Flag.BROADCAST
        self.call(Command.PLUGIN_SIGNAL, payload, flags if wait else flags | Flag.SIGNAL)

    def plugin_reload(self, name: str = "") -> None:
        """Have plugin-registry.csv and the plugins' folders read again; what changed is launched anew beside what runs.

        Returns when calls go to the new processes. Invalid names the bad row, and then nothing has changed, or the
        plugin whose new version was refused, and then its old one goes on. With a name: that plugin alone, changed or
        not.
        """
        self.call(Command.PLUGIN_RELOAD, pack_text(name, NAME.size) if name else b"")

    def plugin_reload_report(self, name: str = "") -> list[dict[str, Json]]:
        """As `plugin_reload`, but gives what changed: {"name", "result", "reason"} of each plugin that did.

        `result` is "added", "started", "renewed", "updated", "removed" or "failed". Returns when every plugin that was
        started or renewed is ready or has failed. Invalid names the bad row; a plugin that failed raises nothing.
        """
        from reed.wire import plugins

        changes: list[dict[str, Json]] = _parsed(
            self.call(Command.PLUGIN_RELOAD, plugins.PluginReload(name, report=True).pack())
        )
        return changes

    def stats(self) -> dict[str, Json]:
        """{"version","pid","uptime_s","memory_bytes","connections","store","plugins","loop","limits", …}."""
        figures: dict[str, Json] = _parsed(self.call(Command.SYSTEM_STATS))
        return figures

    def _write(self, command: Command, payload: bytes) -> str:
        from reed.wire import snippets

        return snippets.SnippetWritten.unpack(self.call(command, payload)).snippet_id


def to_json(value: Json) -> bytes:
    """`bytes` as they are; the JSON text of anything else."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    from reed.wire import strict_json

    return strict_json.dumps(value)


def _parsed(payload: bytes) -> Json:
    return json.loads(bytes(JsonResponse.unpack(payload).json))


def _owned(record: Record) -> Record:
    return record._replace(content=bytes(record.content))
