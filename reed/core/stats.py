"""SYSTEM_STATS (protocol.md#plugins)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from reed import __version__
from reed.core.plugin_endpoint import CoreContext
from reed.core.router import Router
from reed.store.base import Store

_TURN_BUCKETS = 32  # the longest is 36 minutes


class Stats:
    def __init__(
        self,
        context: CoreContext,
        store: Store,
        router: Router,
        pools: Mapping[str, Callable[[], dict[str, int]]],
        sandbox: dict[str, Any],
    ) -> None:
        self._context = context
        self._store = store
        self._router = router
        self._pools = pools
        self._sandbox = sandbox
        self._started = context.loop.now()

    def __call__(self, connections: int, accepted: int) -> dict[str, Any]:
        config, loop = self._context.config, self._context.loop
        times, quotas = loop.times, self._context.quotas
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(loop.now() - self._started, 3),
            "memory_bytes": _memory_bytes(),
            "connections": connections,
            "accepted": accepted,
            "denied": self._router.denied,
            "refused": {**quotas.refused, **quotas.rates.refused},
            "cpu_s": round(time.process_time(), 3),
            "commands": self._context.counters.as_json(),
            "cache_hits": self._context.counters.hits,
            "store": self._store.stats(),
            "plugins": Counter(str(plugin.state) for plugin in self._context.supervisor.plugins.values()),
            "loop": {
                "turns": times.turns,
                "turn_ms": {
                    "p50": round(times.quantile(0.5) * 1000, 3),
                    "p99": round(times.quantile(0.99) * 1000, 3),
                    "p99.9": round(times.quantile(0.999) * 1000, 3),
                    "longest": round(times.longest * 1000, 3),
                },
                "histogram": times.buckets[:_TURN_BUCKETS],
                "seconds": round(times.seconds, 6),
                "disk_longest_ms": round(times.disk_longest * 1000, 3),
                "disk": times.disk.as_json(),
            },
            **{name: stats() for name, stats in self._pools.items()},
            "sandbox": self._sandbox,
            "limits": asdict(config.limits),
            "runtime_dir": str(config.runtime_dir),
            "data_dir": str(config.data_dir),
        }


def _memory_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
