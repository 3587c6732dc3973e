"""Numbers of signals and messages, by the names of ReedCMS's documents."""

from __future__ import annotations


class signals:
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
