"""Every number of the protocol, except the commands."""

from __future__ import annotations

from enum import IntEnum

from reed.errors import ErrorCode
from reed.wire.commands import Command, Permission

__all__ = ["Command", "ErrorCode", "Flag", "MessageType", "Permission", "Signal"]

VERSION = 1
MAGIC = 0x52454544  # "REED"
MESSAGE_MAGIC = 0x504C4D47  # "PLMG"


class Flag(IntEnum):
    ASYNC = 0x01  # no response, not even an error
    SIGNAL = 0x02  # the payload is a SignalMessage; no response
    BROADCAST = 0x04  # to all plugins
    RESPONSE = 0x08
    ERROR = 0x10  # the payload is an ErrorResponse


# A plugin's own actions, on its connection.
FIRST_ACTION_ID = 0x01
LAST_ACTION_ID = 0xEF


class Signal(IntEnum):
    """Those below 0x10 go to the core, the others to a plugin."""

    PLUGIN_READY = 0x01
    PLUGIN_BUSY = 0x02
    PLUGIN_SLEEPING = 0x04
    PLUGIN_ERROR = 0x05
    SHUTDOWN_GRACEFUL = 0x10
    RELOAD_CONFIG = 0x12
    HEALTH_CHECK = 0x13
    WAKE_UP = 0x15


SIGNALS = frozenset(Signal)


class MessageType(IntEnum):
    """Plugins define the other numbers among themselves."""

    KEYWORD_OPTIMIZED = 0x01
    CONTENT_ANALYZED = 0x02
    RESPONSE_ACK = 0xF0
    RESPONSE_ERROR = 0xF1
    RESPONSE_DATA = 0xF2
