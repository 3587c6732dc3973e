"""The core's log with a rate limit for each peer (architecture.md#log).

A plugin has three buckets, so that a flood cannot hide a crash: `NAME` for its processes, `plugin NAME` for its
connections, `output of NAME` for what it writes. Only tracebacks have several lines, and these are indented, so that a
peer cannot forge a line.
"""

from __future__ import annotations

import logging
import traceback

from reed.loop.loop import Loop
from reed.text import safe, safe_lines

THE_CORE = "the core"
ORPHANS = "orphans"  # one bucket, because each has another pid
_BURST_SECONDS = 10  # the size of a bucket
_REPORT_SECONDS = 5.0  # from the first suppressed line
_MAX_LINE = 2500  # characters
_MAX_TRACEBACK = 20_000  # characters
_MAX_BUCKETS = 1000


class _TokenBucket:
    __slots__ = ("at", "suppressed", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at
        self.suppressed = 0


class PeerLog:
    def __init__(self, log: logging.Logger, loop: Loop, lines_per_second: int = 10) -> None:
        self._log = log
        self._loop = loop
        self._rate = lines_per_second
        self._buckets: dict[str, _TokenBucket] = {}

    def debug(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.DEBUG, text, args, peer)

    def info(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.INFO, text, args, peer)

    def info_lines(self, lines: list[str], prefix: str, peer: str) -> None:
        """`info` of each line. Lines after the first one over the limit are only counted: a flood costs little."""
        if not self._log.isEnabledFor(logging.INFO):
            return
        for at, line in enumerate(lines):
            if not self._may_log(peer):
                self._buckets[peer].suppressed += len(lines) - at - 1
                return
            self._write_line(logging.INFO, prefix + line)

    def warning(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.WARNING, text, args, peer)

    def error(self, text: str, *args: object, peer: str) -> None:
        self._write(logging.ERROR, text, args, peer)

    def bug(self, error: BaseException) -> None:
        if self._log.isEnabledFor(logging.ERROR) and self._may_log(THE_CORE):
            lines = "".join(traceback.format_exception(error)).rstrip("\n")[-_MAX_TRACEBACK:]
            self._log.error("%s", safe_lines(f"a bug in the core; the core continues\n{lines}", indent="    "))

    def close(self) -> None:
        for peer in list(self._buckets):
            self._report(peer)

    def _write(self, level: int, text: str, args: tuple[object, ...], peer: str) -> None:
        if self._log.isEnabledFor(level) and self._may_log(peer):
            self._write_line(level, text % args)

    def _write_line(self, level: int, text: str) -> None:
        self._log.log(level, "%s", safe(text[:_MAX_LINE])[:_MAX_LINE])

    def _may_log(self, peer: str) -> bool:
        now = self._loop.now()
        size = float(self._rate * _BURST_SECONDS)
        bucket = self._buckets.get(peer)
        if bucket is None:
            if len(self._buckets) >= _MAX_BUCKETS:
                self._drop_idle(now)
            bucket = self._buckets[peer] = _TokenBucket(size, now)
        bucket.tokens = min(size, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return True
        bucket.suppressed += 1
        if bucket.suppressed == 1:
            self._loop.call_later(_REPORT_SECONDS, lambda: self._report(peer))
        return False

    def _report(self, peer: str) -> None:
        bucket = self._buckets[peer]
        if bucket.suppressed:
            text = "%s: %d more log lines suppressed: over %d a second (limits.log_lines in reed.yaml)"
            self._log.warning(text, safe(peer), bucket.suppressed, self._rate)
            bucket.suppressed = 0

    def _drop_idle(self, now: float) -> None:
        for peer, bucket in list(self._buckets.items()):
            if not bucket.suppressed and now - bucket.at >= _BURST_SECONDS:
                del self._buckets[peer]
