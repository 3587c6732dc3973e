"""What is told about a plugin: an entry of PLUGIN_HEALTH, to which the core adds its calls (WIRE.md, F2)."""

from __future__ import annotations

from typing import Any

from reed.registry.lifecycle import State
from reed.registry.plugin import Plugin

_CRASHED = frozenset({State.FAILED, State.BACKOFF})


def figures(plugin: Plugin, now: float, *, fresh: bool) -> dict[str, Any]:
    """`fresh`: read its memory now (some 0.2 ms); else as it was at the last health check."""
    run = plugin.run
    if fresh and run is not None:
        run.measure()
    return {
        "name": plugin.name,
        "type": plugin.row.plugin_type,
        "version": plugin.row.version,
        "state": str(plugin.state),
        "auto_start": plugin.row.auto_start,
        "pid": plugin.pid,
        "generation": plugin.generation,
        "uptime_s": round(now - run.launched_at, 3) if run is not None and run.pid else 0,
        "memory_bytes": run.memory_bytes if run is not None else 0,
        "restarts": plugin.restarts.total,
        "signals": plugin.signals,
        "ready_ms": None if plugin.ready_ms is None else round(plugin.ready_ms, 3),
        "reason": plugin.reason or plugin.renewal.refused,
        "last_error": plugin.last_error,
        "error_data": plugin.error_data.decode("utf-8", "replace"),
        "error_lines": plugin.latest.error_lines if plugin.latest and plugin.state in _CRASHED else [],
        "last_lines": list(plugin.last_lines),
        "log": str(plugin.output.path),
    }
