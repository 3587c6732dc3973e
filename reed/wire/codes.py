"""Every number of the protocol (protocol.md, reedcms-10.md). The commands are in `commands`."""

from __future__ import annotations

from enum import IntEnum

from reed.errors import ErrorCode
from reed.wire.commands import Command, Permission

__all__ = ["Command", "ErrorCode", "Flag", "MessageType", "Permission", "Signal"]

VERSION = 1
MAGIC = 0x52454544  # "REED"; travels as 44 45 45 52
MESSAGE_MAGIC = 0x504C4D47  # "PLMG"; travels as 47 4D 4C 50


class Flag(IntEnum):
    """Bits of the header's flags."""

    ASYNC = 0x01  # no response, not even an error
    SIGNAL = 0x02  # the payload is a SignalMessage; no response
    BROADCAST = 0x04  # to all plugins
    RESPONSE = 0x08
    ERROR = 0x10  # the payload is an ErrorResponse


# On a plugin connection these are the plugin's own actions.
FIRST_ACTION_ID = 0x01
LAST_ACTION_ID = 0xEF


class Signal(IntEnum):
    """signal_type of a SignalMessage. Those below 0x10 go from a plugin to the core, the others to a plugin."""

    PLUGIN_READY = 0x01
    PLUGIN_BUSY = 0x02
    PLUGIN_SLEEPING = 0x04
    PLUGIN_ERROR = 0x05
    SHUTDOWN_GRACEFUL = 0x10
    RELOAD_CONFIG = 0x12
    HEALTH_CHECK = 0x13
    WAKE_UP = 0x15


class MessageType(IntEnum):
    """message_type of a PluginMessage on a FIFO. Plugins define the other numbers among themselves."""

    KEYWORD_OPTIMIZED = 0x01
    CONTENT_ANALYZED = 0x02
    RESPONSE_ACK = 0xF0
    RESPONSE_ERROR = 0xF1
    RESPONSE_DATA = 0xF2
