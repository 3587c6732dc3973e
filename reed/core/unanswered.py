"""What goes wrong on a connection and nobody is told: calls with ASYNC, signals, responses to nothing.

It is logged under the peer's name, but one connection never fills the log: after the first few they are only counted.
"""

from __future__ import annotations

import logging

_MOST_NOTES = 10


class Unanswered:
    """Those of one connection."""

    __slots__ = ("_log", "_name", "failures")

    def __init__(self, name: str, log: logging.Logger) -> None:
        self.failures = 0
        self._name = name
        self._log = log

    def note(self, what: str) -> None:
        self.failures += 1
        if self.failures <= _MOST_NOTES:
            self._log.warning("%s: %s", self._name, what)
        if self.failures == _MOST_NOTES:
            self._log.warning("%s: further failures of this connection are only counted", self._name)

    def end(self) -> None:
        """The connection is closed: say how many there were."""
        if self.failures > _MOST_NOTES:
            self._log.warning("%s: %d failures were not answered", self._name, self.failures)
