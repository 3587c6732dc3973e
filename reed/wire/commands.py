"""The command table: one row for each command to the core (protocol.md#commands, adding-a-command.md).

Records are named, not imported: importing all of them takes longer than a call of the command line.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any, Literal

from reed.errors import CallError, Conflict, Invalid, NotFound


class Permission(StrEnum):
    """See permissions.md."""

    SNIPPET_READ = "snippet_read"
    SNIPPET_WRITE = "snippet_write"
    SNIPPET_RESTORE = "snippet_restore"
    SCHEMA_READ = "schema_read"
    SCHEMA_WRITE = "schema_write"
    REGISTRY_READ = "registry_read"
    REGISTRY_WRITE = "registry_write"
    SEARCH_READ = "search_read"
    SEARCH_WRITE = "search_write"
    SYSTEM_STATS = "system_stats"
    FILE_WRITE = "file_write"  # opens no command, but a folder for files
    PLUGIN_SEND = "plugin_send"


Access = Literal["–", "reads", "writes"]  # to the store

_NONE: Access = "–"
_READS: Access = "reads"
_WRITES: Access = "writes"
_ADMIN = None
_WRITTEN, _JSON, _STATUS = "snippets.SnippetWritten", "common.JsonResponse", ""


class Command(IntEnum):
    request: str  # "MODULE.RECORD" below reed.wire; "": no payload
    response: str  # "": only a status
    permission: Permission | None  # None: only the group admin, and REGISTER only a plugin
    access: Access
    is_idempotent: bool  # a client may retry it when the connection ended without a response

    SNIPPET_CREATE = 0x01, "snippets.SnippetCreate", _WRITTEN, Permission.SNIPPET_WRITE, _WRITES, False
    SNIPPET_UPDATE = 0x02, "snippets.SnippetUpdate", _WRITTEN, Permission.SNIPPET_WRITE, _WRITES, False
    SNIPPET_DELETE = 0x03, "snippets.SnippetDelete", _WRITTEN, Permission.SNIPPET_WRITE, _WRITES, False
    SNIPPET_GET = 0x04, "requests.Ref", "snippets.SnippetGot", Permission.SNIPPET_READ, _READS, True
    SNIPPET_LIST = 0x05, "snippets.SnippetList", "snippets.SnippetPage", Permission.SNIPPET_READ, _READS, True
    SNIPPET_WATCH = 0x06, "watch.SnippetWatch", "watch.SnippetChanges", Permission.SNIPPET_READ, _READS, True
    SNIPPET_FIND = 0x07, "snippets.SnippetFind", "snippets.SnippetPage", Permission.SNIPPET_READ, _READS, True
    SNIPPET_RESTORE = 0x08, "snippets.SnippetRestore", _WRITTEN, Permission.SNIPPET_RESTORE, _WRITES, False
    SNIPPET_RENAME = 0x09, "snippets.SnippetRename", _WRITTEN, Permission.SNIPPET_WRITE, _WRITES, False
    SNIPPET_NAMES = 0x0A, "snippets.SnippetNames", _JSON, Permission.SNIPPET_READ, _READS, True
    SCHEMA_BOND = 0x10, "schema.SchemaBond", "schema.SchemaBonded", Permission.SCHEMA_WRITE, _WRITES, False
    SCHEMA_UNBOND = 0x11, "schema.SchemaUnbond", "common.Done", Permission.SCHEMA_WRITE, _WRITES, False
    SCHEMA_TREE = 0x12, "schema.SchemaTree", _JSON, Permission.SCHEMA_READ, _READS, True
    REGISTRY_DEFINE = 0x20, "registry.RegistryDefine", "common.Done", Permission.REGISTRY_WRITE, _WRITES, False
    REGISTRY_GET = 0x21, "requests.Name", "registry.RegistryGot", Permission.REGISTRY_READ, _READS, True
    REGISTRY_LIST = 0x22, "", "registry.RegistryPage", Permission.REGISTRY_READ, _READS, True
    # It reads contents and names snippets.
    REGISTRY_CHECK = 0x23, "registry.RegistryCheck", _JSON, Permission.SNIPPET_READ, _READS, True
    REGISTRY_DELETE = 0x24, "requests.Name", "common.Done", Permission.REGISTRY_WRITE, _WRITES, False
    SEARCH_QUERY = 0x30, "search.SearchQuery", "search.SearchPage", Permission.SEARCH_READ, _READS, True
    SEARCH_INDEX = 0x31, "requests.Ref", "search.SearchIndexed", Permission.SEARCH_WRITE, _WRITES, False
    PLUGIN_REGISTER = 0xF0, "plugins.PluginRegister", _JSON, _ADMIN, _NONE, False
    CONNECTION_ASSUME = 0xF1, "requests.ConnectionAssume", _JSON, _ADMIN, _NONE, False
    PLUGIN_HEALTH = 0xF2, "requests.Name", _JSON, Permission.SYSTEM_STATS, _NONE, True
    PLUGIN_SIGNAL = 0xF3, "requests.SignalMessage", _STATUS, _ADMIN, _NONE, False
    PLUGIN_LIST = 0xF4, "", _JSON, Permission.SYSTEM_STATS, _NONE, True
    PLUGIN_START = 0xF5, "requests.Name", _STATUS, _ADMIN, _NONE, False
    PLUGIN_STOP = 0xF6, "requests.Name", _STATUS, _ADMIN, _NONE, False
    # The core looks up the snippet that an action takes.
    PLUGIN_SEND = 0xF7, "plugins.PluginSend", "plugins.PluginAnswer", Permission.PLUGIN_SEND, _READS, False
    PLUGIN_RELOAD = 0xF8, "plugins.PluginReload", _STATUS, _ADMIN, _NONE, False
    SYSTEM_STATS = 0xF9, "", _JSON, Permission.SYSTEM_STATS, _NONE, True
    # It calls an action with an input that says so.
    PLUGIN_RUN_SCHEDULE = (
        0xFA,
        "plugins.PluginRunSchedule",
        "plugins.PluginAnswer",
        Permission.PLUGIN_SEND,
        _NONE,
        False,
    )

    def __new__(
        cls,
        number: int,
        request: str = "",
        response: str = "",
        permission: Permission | None = None,
        access: Access = _NONE,
        is_idempotent: bool = False,
    ) -> Command:
        command = int.__new__(cls, number)
        command._value_ = number
        command.request, command.response = request, response
        command.permission, command.access, command.is_idempotent = permission, access, is_idempotent
        return command

    @property
    def reports_write_errors(self) -> bool:
        """Whether the response record itself reports WRITE_ERRORS (protocol.md#responses)."""
        return self.response == _WRITTEN


WRITE_ERRORS: dict[int, type[CallError]] = {each.status: each for each in (NotFound, Conflict, Invalid)}


def record_of(name: str) -> Any:
    """The class that a row's `request` or `response` names."""
    found = _records.get(name)
    if found is None:
        module, _, record = name.partition(".")
        found = _records[name] = getattr(__import__(f"reed.wire.{module}", fromlist=[record]), record)
    return found


_records: dict[str, Any] = {}  # those that were named


STORE_READS = frozenset(int(command) for command in Command if command.access == _READS)
STORE_WRITES = frozenset(int(command) for command in Command if command.access == _WRITES)
