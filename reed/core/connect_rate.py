"""Rate limit for new connections: a token bucket for each plugin and for each user who is not an admin.

A process without a token is refused for REFUSE_SECONDS before any other lookup. One that connects faster than it can be
refused keeps everybody else out of the kernel's backlog, so a plugin that continues is killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from reed.config import Limits
from reed.core.calls import Caller
from reed.errors import PluginBusy
from reed.peer_log import PeerLog
from reed.wire import frames
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse

REFUSE_SECONDS = 0.1
MAX_REFUSED = 2000  # connections of one plugin within a second; then it is killed
_GRACE_AFTER_KILL = 5.0
_LOG_INTERVAL = 10.0  # for each peer
_MAX_ENTRIES = 1000  # buckets, and refused processes, above which idle ones are swept


@dataclass(slots=True)
class _Bucket:
    plugin: str
    tokens: float
    refilled_at: float
    window_start: float
    logged_at: float
    count: int = 0  # refused connections in the second from `window_start`
    refused: int = 0  # since the last log line


class ConnectRates:
    def __init__(
        self,
        limits: Limits,
        now: Callable[[], float],
        log: PeerLog,
        on_flood: Callable[[str, str], None] = lambda _plugin, _why: None,
    ) -> None:
        """A rate is also the size of a burst. `on_flood(plugin, why)` kills the plugin."""
        self.refused: Counter[str] = Counter()  # connections, by setting
        self._limits = limits
        self._now = now
        self._log = log
        self._on_flood = on_flood
        self._buckets: dict[str | int, _Bucket] = {}  # by plugin or uid
        self._refused: dict[int, tuple[float, bytes, _Bucket]] = {}  # by pid: until when, and the response

    def refusal(self, pid: int) -> bytes | None:
        """The response frame for a process that was just refused."""
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
        """Count a new connection; the response frame if it is refused. Without a caller it counts for its uid."""
        if caller is not None and caller.is_admin:
            return None
        plugin = caller.plugin if caller is not None else ""
        rate = self._limits.plugin_connects if plugin else self._limits.user_connects
        now = self._now()
        bucket = self._bucket(plugin, uid, rate, now)
        bucket.tokens = min(rate, bucket.tokens + (now - bucket.refilled_at) * rate)
        bucket.refilled_at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return None
        who, setting = (f"plugin {plugin}", "plugin_connects") if plugin else (f"uid {uid}", "user_connects")
        error = PluginBusy(
            f"{who} opens more than {rate} connections a second", hint=f"limits.{setting} in reed.yaml is {rate}"
        )
        return self._refuse(error, pid, bucket, who)

    def _refuse(self, error: PluginBusy, pid: int, bucket: _Bucket, who: str) -> bytes:
        now = bucket.refilled_at
        if len(self._refused) >= _MAX_ENTRIES:
            self._refused = {pid: found for pid, found in self._refused.items() if found[0] > now}
        frame = frames.encode(0, ErrorResponse.of(error).pack(), Flag.RESPONSE | Flag.ERROR)
        if pid:  # 0: any process of another pid namespace
            self._refused[pid] = now + REFUSE_SECONDS, frame, bucket
        self._count(bucket, now)
        if now - bucket.logged_at >= _LOG_INTERVAL:
            self._log.warning("refused %d connections: %s", bucket.refused, error, peer=who)
            bucket.logged_at, bucket.refused = now, 0
        return frame

    def _count(self, bucket: _Bucket, now: float) -> None:
        self.refused["limits.plugin_connects" if bucket.plugin else "limits.user_connects"] += 1
        bucket.refused += 1
        if now - bucket.window_start >= 1:
            bucket.window_start, bucket.count = now, 0
        bucket.count += 1
        if bucket.count == MAX_REFUSED and bucket.plugin:
            bucket.window_start = now + _GRACE_AFTER_KILL
            self._on_flood(bucket.plugin, f"{MAX_REFUSED} connections within a second after it was refused")

    def _bucket(self, plugin: str, uid: int, rate: int, now: float) -> _Bucket:
        key = plugin or uid
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MAX_ENTRIES:  # a bucket is full again after a second
                self._buckets = {key: each for key, each in self._buckets.items() if now - each.refilled_at < 1}
            bucket = self._buckets[key] = _Bucket(plugin, rate, now, now, now - _LOG_INTERVAL)
        return bucket
