"""Status of a plugin as JSON: an entry of PLUGIN_HEALTH, and the report behind `reed plugin explain`."""

from __future__ import annotations

from typing import Any

from reed.config import Config
from reed.supervision.lifecycle import State
from reed.supervision.manifest import FILE_NAME
from reed.supervision.plugin import Plugin

_CRASHED = frozenset({State.FAILED, State.BACKOFF})


def health(plugin: Plugin, now: float, *, fresh: bool) -> dict[str, Any]:
    """`fresh` measures the memory now, which takes 0.2 ms."""
    process, last = plugin.process, plugin.last_process
    if fresh and process is not None:
        process.measure()
    return {
        "name": plugin.name,
        "type": plugin.row.plugin_type,
        "version": plugin.row.version,
        "state": str(plugin.state),
        "auto_start": plugin.row.auto_start,
        "pid": plugin.pid,
        "generation": plugin.generation,
        "uptime_s": round(now - process.launched_at, 3) if process is not None and process.pid else 0,
        "memory_bytes": process.memory_bytes if process is not None else 0,
        "restarts": plugin.backoff.total,
        "signals": plugin.signals,
        "ready_ms": None if plugin.ready_ms is None else round(plugin.ready_ms, 3),
        "reason": plugin.reason or plugin.replacement.refused,
        "last_error": plugin.last_error,
        "error_data": plugin.error_data.decode("utf-8", "replace"),
        "error_lines": last.error_lines if last is not None and plugin.state in _CRASHED else [],
        "last_lines": list(plugin.output.last_lines),
        "log": str(plugin.output.path),
    }


def permission_report(plugin: Plugin, config: Config) -> dict[str, Any]:
    row, spec, own = plugin.row, plugin.spec, config.plugin(plugin.name)
    launch = spec.launch if spec else None
    return {
        "row": f"{config.registry}:{row.line}",
        "manifest": str(launch.folder / FILE_NAME) if launch else "",
        "folder": str(launch.folder) if launch else "",
        "data_dir": str(launch.data_dir) if launch and launch.data_dir else "",
        "paths": [str(path) for path in own.paths],
        "asks_network": spec.manifest.network if spec else "",
        "allowed_ports": list(own.network),
        "groups": {name: _members(config, name) for name in sorted(row.user_groups)},
    }


def _members(config: Config, name: str) -> list[str]:
    group = config.groups.get(name)
    if group is None:
        return []
    named = [(str(word.value), word) for word in group.users]
    named += [(f"the Unix group {word.value}", word) for word in group.unix_groups]
    return [f"{who} ({word.path}:{word.line})" for who, word in named]
