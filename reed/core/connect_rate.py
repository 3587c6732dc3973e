"""How often one peer may connect: a token bucket for each plugin, and for each user who is not an admin.

    accepted ─┬─ its process was refused just now   429 again, before anything else is looked up (some 20 us)
              ├─ a token is left                    go on
              └─ none is                            429; its process is refused at once for REFUSED_FOR seconds

All connections wait in one queue of the kernel. What connects faster than it can be refused keeps everybody else out
of that queue: a plugin that goes on at such a rate is killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from reed.core.calls import Caller
from reed.errors import PluginBusy
from reed.peer_log import PeerLog
from reed.wire import frames
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse

REFUSED_FOR = 0.1  # seconds; the bucket fills meanwhile
MAX_REFUSED = 2000  # connections of one plugin within a second; then it is killed
_AFTER_KILL = 5.0  # seconds without another look
_LOG_INTERVAL = 10.0  # seconds between two lines about one peer
_MAX_IDLE = 1000  # buckets, and processes, that are kept until they are swept


class Limits(Protocol):
    """The settings of reed.yaml that hold here: connections a second; a burst may have as many at once."""

    @property
    def user_connects(self) -> int: ...
    @property
    def plugin_connects(self) -> int: ...


class _Bucket:
    """The tokens of one plugin, or of one user."""

    __slots__ = ("at", "count", "logged_at", "plugin", "refused", "since", "tokens")

    def __init__(self, plugin: str, tokens: float, now: float) -> None:
        self.plugin = plugin
        self.tokens = tokens
        self.at = now
        self.since = now  # of the second in which …
        self.count = 0  # … so many connections were refused
        self.refused = 0  # since the last line in the log
        self.logged_at = now - _LOG_INTERVAL


class ConnectRates:
    def __init__(
        self,
        limits: Limits,
        now: Callable[[], float],
        log: PeerLog,
        on_flood: Callable[[str, str], None] = lambda _plugin, _why: None,
    ) -> None:
        """`on_flood` is told the plugin that must be killed, and why."""
        self._limits = limits
        self._now = now
        self._log = log
        self._on_flood = on_flood
        self._buckets: dict[str | int, _Bucket] = {}  # by plugin, or by uid
        self._refused: dict[int, tuple[float, bytes, _Bucket]] = {}  # by pid: until when, and what it is told

    def refusal(self, pid: int) -> bytes | None:
        """The frame to refuse this process with, if it was refused just now."""
        found = self._refused.get(pid)
        if found is None:
            return None
        until, frame, bucket = found
        now = self._now()
        if now >= until:
            del self._refused[pid]
            return None
        self._count(bucket, now)
        return frame

    def connects(self, caller: Caller | None, pid: int, uid: int) -> bytes | None:
        """It connects: the frame to refuse it with, if that is too often. Without a caller: for its user."""
        if caller is not None and caller.is_admin:
            return None
        plugin = caller.plugin if caller is not None else ""
        rate = self._limits.plugin_connects if plugin else self._limits.user_connects
        now = self._now()
        bucket = self._bucket(plugin, uid, rate, now)
        bucket.tokens = min(rate, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return None
        who, setting = (f"plugin {plugin}", "plugin_connects") if plugin else (f"uid {uid}", "user_connects")
        error = PluginBusy(
            f"{who} opens more than {rate} connections a second", hint=f"limits.{setting} in reed.yaml is {rate}"
        )
        return self._refuse(error, pid, bucket, who)

    def _refuse(self, error: PluginBusy, pid: int, bucket: _Bucket, who: str) -> bytes:
        now = bucket.at
        if len(self._refused) >= _MAX_IDLE:
            self._refused = {pid: found for pid, found in self._refused.items() if found[0] > now}
        frame = frames.encode(0, ErrorResponse.of(error).pack(), Flag.RESPONSE | Flag.ERROR)
        if pid:  # 0: of another pid namespace, and not one process
            self._refused[pid] = now + REFUSED_FOR, frame, bucket
        self._count(bucket, now)
        if now - bucket.logged_at >= _LOG_INTERVAL:
            self._log.warning("refused %d connections: %s", bucket.refused, error, peer=who)
            bucket.logged_at, bucket.refused = now, 0
        return frame

    def _count(self, bucket: _Bucket, now: float) -> None:
        bucket.refused += 1
        if now - bucket.since >= 1:
            bucket.since, bucket.count = now, 0
        bucket.count += 1
        if bucket.count == MAX_REFUSED and bucket.plugin:
            bucket.since = now + _AFTER_KILL  # what it left in the queue counts for nothing
            self._on_flood(bucket.plugin, f"{MAX_REFUSED} connections within a second after it was refused")

    def _bucket(self, plugin: str, uid: int, rate: int, now: float) -> _Bucket:
        key = plugin or uid
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MAX_IDLE:  # one that was not used for a second is full again
                self._buckets = {key: each for key, each in self._buckets.items() if now - each.at < 1}
            bucket = self._buckets[key] = _Bucket(plugin, rate, now)
        return bucket
