"""`reed plugin list`, `status` and `health`: tables of plugins, and below them what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, Output
from reed.cli.parse import Args
from reed.figures import duration, local_time, milliseconds, size
from reed.text import safe


def list_plugins(args: Args, output: Output) -> None:
    if args.has("--available"):
        from reed.cli.plugin.package import list_available

        list_available(args, output)
        return
    with connect(args) as core:
        plugins = core.plugin_list()
    output.table(_LIST, plugins)
    if not plugins:
        output.info("no plugins; `reed plugin list --available` lists those that can be added")


_LIST = (
    Column("NAME", "name", whole=True),
    Column("TYPE", "type"),
    Column("VERSION", "version"),
    Column("STATE", "state", whole=True, coloured=True),
    Column("AUTO", "auto_start"),
    Column("ACTIONS", "actions", ", ".join, shrink=2),
    Column("DESCRIPTION", "description", shrink=1),
)


def show_status(args: Args, output: Output) -> None:
    from reed.supervision.explain import describe_sandbox

    with connect(args) as core:
        sandbox = core.stats()["sandbox"]
        plugins = [{**plugin, "sandbox": sandbox} for plugin in core.plugin_health(args.arg("NAME"))]
    _show(plugins, output, _STATUS, [*(column.key for column in _STATUS), "reason", "error_data"])
    _show_schedules(plugins, output)
    output.info("\nsandbox " + "\n    ".join(describe_sandbox(sandbox)))


def show_health(args: Args, output: Output) -> None:
    with connect(args) as core:
        _show(core.plugin_health(args.arg("NAME")), output, _HEALTH, None)


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


def _show_schedules(plugins: Iterable[dict[str, Any]], output: Output) -> None:
    """A table on a terminal, and what is wrong. `plugins`: entries of PLUGIN_HEALTH."""
    rows = [{**each, "plugin": plugin["name"]} for plugin in plugins for each in plugin.get("schedules", ())]
    if not rows or not output.is_interactive:
        return
    output.info("")
    output.table(_SCHEDULES, rows)
    for row in rows:
        what = f"the schedule {row['name']} of {row['plugin']}"
        if row["problem"]:
            output.info(f"\n{what} does not run: {row['problem']}")
        elif row["last_error"]:
            output.info(f"\n{what} failed at {local_time(row['last_run'])}: {row['last_error']}")


_SCHEDULES = (
    Column("PLUGIN", "plugin", whole=True),
    Column("SCHEDULE", "name", whole=True),
    Column("RULE", "rule", whole=True),
    Column("ACTION", "action"),
    Column("STATE", "state", whole=True, coloured=True),
    Column("NEXT", "due", local_time),
    Column("LAST RUN", "last_run", local_time),
    Column("RUNS", "runs", right=True),
    Column("FAILED", "failures", right=True),
)
