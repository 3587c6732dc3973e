"""Messages to the service manager (sd_notify(3)), if NOTIFY_SOCKET names its socket.

    READY=1       the core serves, after a start and after a restart
    WATCHDOG=1    the loop turns; twice in each interval of the unit's WatchdogSec
    STOPPING=1    the core has begun to stop, which its plugins may delay by some seconds

`reed start` listens too, but only until READY=1.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from functools import partial

_MICROSECONDS = 1_000_000
CallLater = Callable[[float, Callable[[], None]], object]


class ServiceManager:
    """Sends nothing if NOTIFY_SOCKET is not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_seconds = _watchdog_seconds(environ)

    def ready(self, call_later: CallLater) -> str:
        """Returns why READY=1 could not be sent, or "". `call_later` is of the loop that the watchdog supervises."""
        problem = self._send("READY=1")
        if self._address and self._watchdog_seconds:
            self._feed_watchdog(call_later)
        return problem

    def stopping(self) -> None:
        self._send("STOPPING=1")  # `reed start` no longer listens, so a failure is expected

    def _feed_watchdog(self, call_later: CallLater) -> None:
        self._send("WATCHDOG=1")  # if it fails, the service manager notices that itself
        call_later(self._watchdog_seconds / 2, partial(self._feed_watchdog, call_later))

    def _send(self, state: str) -> str:
        """A socket for each message, because a service manager that was updated listens on a new one."""
        if not self._address:
            return ""
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(state.encode(), address)
        except OSError as error:
            return (
                f"{state} could not be sent to the service manager at NOTIFY_SOCKET={self._address}: {error.strerror}"
            )
        return ""


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """0: no watchdog, or one for another process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / _MICROSECONDS if microseconds.isdecimal() else 0.0
