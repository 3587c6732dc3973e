"""The log of the core, for what peers cause: plugins, people's programs, whoever connects.

    warning(text, peer=…) ── the peer's budget ─┬─ tokens left     safe text, one line
                                                └─ none            counted; the count follows as a line of its own

Each peer has a token bucket: a burst of lines, then so many a second. A plugin has three, so that no flood hides a
crash: `NAME` for what the core says about its process, `plugin NAME` for what it does on its connections, `output of
NAME` for what it writes. The rooms core, registry, peers and zygote log through here alone; a line that no peer causes
has the peer THE_CORE, and a budget as well. Only a traceback has several lines, and those are indented: no text of a
peer can pass for a line of the log.
"""

from __future__ import annotations

import logging
import traceback

from reed.loop.loop import Loop
from reed.text import safe, safe_lines

THE_CORE = "the core"
ORPHANS = "orphans"  # processes that plugins left behind, taken together: each has another pid
_BURST_SECONDS = 10  # a peer that was quiet may log so many seconds' worth at once
_REPORT_SECONDS = 5.0  # from the first line that is suppressed to the count
_MOST_CHARACTERS = 2500  # of a line
_MOST_OF_TRACEBACK = 20_000  # characters
_MOST_BUDGETS = 1000


class _Budget:
    """The token bucket of one peer. Times are the loop's."""

    __slots__ = ("at", "suppressed", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at
        self.suppressed = 0


class PeerLog:
    """See the module."""

    def __init__(self, log: logging.Logger, loop: Loop, lines_per_second: int = 10) -> None:
        self._log = log
        self._loop = loop
        self._rate = lines_per_second
        self._budgets: dict[str, _Budget] = {}

    def debug(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.DEBUG, text, args, peer)

    def info(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.INFO, text, args, peer)

    def warning(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.WARNING, text, args, peer)

    def error(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.ERROR, text, args, peer)

    def bug(self, error: BaseException) -> None:
        """An exception that nobody expected, with its traceback."""
        if self._log.isEnabledFor(logging.ERROR) and self._may_log(THE_CORE):
            lines = "".join(traceback.format_exception(error)).rstrip("\n")[-_MOST_OF_TRACEBACK:]
            self._log.error("%s", safe_lines(f"a bug in the core; it goes on\n{lines}", indent="    "))

    def close(self) -> None:
        """Write the counts that are due."""
        for peer in list(self._budgets):
            self._report(peer)

    def _write(self, level: int, text: str, args: tuple[object, ...], peer: str) -> None:
        if self._log.isEnabledFor(level) and self._may_log(peer):
            self._log.log(level, "%s", safe((text % args)[:_MOST_CHARACTERS])[:_MOST_CHARACTERS])

    def _may_log(self, peer: str) -> bool:
        """Take a token of the peer's."""
        now = self._loop.now()
        most = float(self._rate * _BURST_SECONDS)
        budget = self._budgets.get(peer)
        if budget is None:
            if len(self._budgets) >= _MOST_BUDGETS:
                self._forget_idle(now)
            budget = self._budgets[peer] = _Budget(most, now)
        budget.tokens = min(most, budget.tokens + (now - budget.at) * self._rate)
        budget.at = now
        if budget.tokens >= 1:
            budget.tokens -= 1
            return True
        budget.suppressed += 1
        if budget.suppressed == 1:
            self._loop.call_later(_REPORT_SECONDS, lambda: self._report(peer))
        return False

    def _report(self, peer: str) -> None:
        budget = self._budgets[peer]
        if budget.suppressed:
            text = "%s: %d more log lines suppressed: over %d a second (limits.log_lines in reed.yaml)"
            self._log.warning(text, safe(peer), budget.suppressed, self._rate)
            budget.suppressed = 0

    def _forget_idle(self, now: float) -> None:
        """Drop the budgets that are full again."""
        for peer, budget in list(self._budgets.items()):
            if not budget.suppressed and now - budget.at >= _BURST_SECONDS:
                del self._budgets[peer]
