"""`reed plugin status` and `reed plugin health`."""

from __future__ import annotations

from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, Output
from reed.cli.parse import Args
from reed.cli.plugin_schedules import show_schedules
from reed.figures import duration, milliseconds, size
from reed.supervision.explain import describe_sandbox
from reed.text import safe


def show_status(args: Args, output: Output) -> int:
    with connect(args) as core:
        sandbox = core.stats()["sandbox"]
        plugins = [{**plugin, "sandbox": sandbox} for plugin in core.plugin_health(args.arg("NAME"))]
    _show(plugins, output, _STATUS, [*(column.key for column in _STATUS), "reason", "error_data"])
    show_schedules(plugins, output)
    output.info("\nsandbox " + "\n    ".join(describe_sandbox(sandbox)))
    return 0


def show_health(args: Args, output: Output) -> int:
    with connect(args) as core:
        _show(core.plugin_health(args.arg("NAME")), output, _HEALTH, None)
    return 0


def _show(
    plugins: list[dict[str, Any]], output: Output, columns: tuple[Column, ...], pipe_keys: list[str] | None
) -> None:
    output.table(columns, plugins, pipe_keys)
    for plugin in plugins:
        if plugin.get("reason") and plugin["state"] in {"failed", "backoff"}:
            reason = plugin["reason"].removeprefix(f"{plugin['name']}: ")
            output.info(f"\n{plugin['name']} is {plugin['state']}: {reason}")
            for line in plugin.get("error_lines") or ():
                output.info(f"    {line}")
            if plugin.get("error_lines"):
                output.info(f"    full log: reed plugin logs {plugin['name']}")
        if plugin.get("events_slowed"):
            output.info(f"\nevents of {plugin['name']} are slowed down: {plugin['events_slowed']}")
        if plugin.get("error_data"):
            output.info(f"\n{plugin['name']} reported ERROR: {safe(plugin['error_data'])}")


_STATUS = (
    Column("NAME", "name", whole=True),
    Column("STATE", "state", whole=True, coloured=True),
    Column("PID", "pid", right=True),
    Column("UPTIME", "uptime_s", lambda seconds: duration(seconds) if seconds else "-", right=True),
    Column("MEMORY", "memory_bytes", lambda count: size(count) if count else "-", right=True),
    Column("CALLS", "calls", right=True),
    Column("ERRORS", "errors", right=True),
    Column("P50", "latency_ms.p50", milliseconds, right=True),
    Column("P99", "latency_ms.p99", milliseconds, right=True),
    Column("RESTARTS", "restarts", right=True),
)
_HEALTH = (
    Column("NAME", "name", whole=True),
    Column("STATE", "state", whole=True, coloured=True),
    Column("READY IN", "ready_ms", milliseconds, right=True),
    Column("UPTIME", "uptime_s", lambda seconds: duration(seconds) if seconds else "-", right=True),
    Column("CALLS", "calls", right=True),
    Column("ERRORS", "errors", right=True),
    Column("RESTARTS", "restarts", right=True),
    Column("EVENTS", "events_waiting", right=True),
    Column("LAST ERROR", "last_error", shrink=1),
)
