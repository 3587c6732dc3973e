"""Every id of the protocol (protocol.md, reedcms-10.md)."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from reed.errors import ErrorCode

__all__ = ["Command", "ErrorCode", "Flag", "MessageType", "Permission", "Signal"]

VERSION = 1
MAGIC = 0x52454544  # "REED"; travels as 44 45 45 52
MESSAGE_MAGIC = 0x504C4D47  # "PLMG"; travels as 47 4D 4C 50


class Flag(IntEnum):
    """Bits of the header's flags. RESPONSE and ERROR are protocol.md's, the others reedcms-10.md's."""

    ASYNC = 0x01  # no response expected, not even an error
    SIGNAL = 0x02  # the payload is a SignalMessage; never answered
    BROADCAST = 0x04  # to all plugins
    RESPONSE = 0x08
    ERROR = 0x10  # the payload is an ErrorResponse


class Command(IntEnum):
    """Commands to the core; F0, F2 and F3 travel on plugin connections too."""

    SNIPPET_CREATE = 0x01
    SNIPPET_UPDATE = 0x02
    SNIPPET_DELETE = 0x03
    SNIPPET_GET = 0x04
    SNIPPET_LIST = 0x05
    SNIPPET_FIND = 0x07
    SNIPPET_RESTORE = 0x08
    SNIPPET_RENAME = 0x09
    SNIPPET_NAMES = 0x0A
    SCHEMA_BOND = 0x10
    SCHEMA_UNBOND = 0x11
    SCHEMA_TREE = 0x12
    REGISTRY_DEFINE = 0x20
    REGISTRY_GET = 0x21
    REGISTRY_LIST = 0x22
    REGISTRY_CHECK = 0x23
    SEARCH_QUERY = 0x30
    SEARCH_INDEX = 0x31
    PLUGIN_REGISTER = 0xF0
    PLUGIN_HEALTH = 0xF2
    PLUGIN_SIGNAL = 0xF3
    PLUGIN_LIST = 0xF4
    PLUGIN_START = 0xF5
    PLUGIN_STOP = 0xF6
    PLUGIN_SEND = 0xF7
    PLUGIN_RELOAD = 0xF8
    SYSTEM_STATS = 0xF9


# A plugin registers its actions in a command space of its own.
FIRST_ACTION_ID = 0x01
LAST_ACTION_ID = 0xEF


class Signal(IntEnum):
    """signal_type of a SignalMessage: below 0x10 from a plugin to the core, from 0x10 on the other way."""

    PLUGIN_READY = 0x01
    PLUGIN_BUSY = 0x02
    PLUGIN_SLEEPING = 0x04
    PLUGIN_ERROR = 0x05
    SHUTDOWN_GRACEFUL = 0x10
    RELOAD_CONFIG = 0x12
    HEALTH_CHECK = 0x13
    WAKE_UP = 0x15


class MessageType(IntEnum):
    """message_type of a PluginMessage on a FIFO; types not named here are the plugins' own."""

    KEYWORD_OPTIMIZED = 0x01
    CONTENT_ANALYZED = 0x02
    RESPONSE_ACK = 0xF0
    RESPONSE_ERROR = 0xF1
    RESPONSE_DATA = 0xF2


class Permission(StrEnum):
    """What a plugin or a person may do (permissions.md)."""

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
    FILE_WRITE = "file_write"
    PLUGIN_SEND = "plugin_send"


# Answered by a SnippetWritten, which also reports what is wrong with the snippet itself.
SNIPPET_WRITES = frozenset(
    {
        Command.SNIPPET_CREATE,
        Command.SNIPPET_UPDATE,
        Command.SNIPPET_DELETE,
        Command.SNIPPET_RESTORE,
        Command.SNIPPET_RENAME,
    }
)

# What changes nothing: it may be asked again.
READS = frozenset(
    {
        Command.SNIPPET_GET,
        Command.SNIPPET_LIST,
        Command.SNIPPET_FIND,
        Command.SNIPPET_NAMES,
        Command.SCHEMA_TREE,
        Command.REGISTRY_GET,
        Command.REGISTRY_LIST,
        Command.REGISTRY_CHECK,
        Command.SEARCH_QUERY,
        Command.PLUGIN_HEALTH,
        Command.PLUGIN_LIST,
        Command.SYSTEM_STATS,
    }
)
