"""Schedules on the command line: in `reed plugin status` and `explain`, and `reed plugin run-schedule`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, Output
from reed.cli.parse import Args
from reed.cli.plugin_answer import print_answer, with_origin
from reed.errors import CallError


def run_schedule(args: Args, output: Output) -> int:
    name, schedule = args.arg("NAME"), args.arg("SCHEDULE")
    with connect(args, timeout=None) as core:
        try:
            answer = core.plugin_run_schedule(name, schedule)
        except CallError as error:
            raise with_origin(error, name, f"schedule {schedule}") from None
    return print_answer(answer, output, f"plugin {name}, schedule {schedule}")


def show_schedules(plugins: Iterable[dict[str, Any]], output: Output) -> None:
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
            output.info(f"\n{what} failed at {local(row['last_run'])}: {row['last_error']}")


def explained(schedule: dict[str, Any], manifest: str) -> str:
    """ "nightly: cron 0 3 * * *, calls snapshot (plugin.yaml); next 2026-03-29 03:00:00"."""
    place = schedule["changed_by"] or manifest
    following = f"next {local(schedule['due'])}" if schedule["due"] else schedule["state"]
    problem = f": {schedule['problem']}" if schedule["problem"] else ""
    return f"{schedule['name']}: {schedule['rule']}, calls {schedule['action']} ({place}); {following}{problem}"


def local(when: str | None) -> str:
    """Of the core's local time, as it is: "2026-03-29 03:00:00"."""
    return when[:19].replace("T", " ") if when else "-"


_SCHEDULES = (
    Column("PLUGIN", "plugin", whole=True),
    Column("SCHEDULE", "name", whole=True),
    Column("RULE", "rule", whole=True),
    Column("ACTION", "action"),
    Column("STATE", "state", whole=True, coloured=True),
    Column("NEXT", "due", local),
    Column("LAST RUN", "last_run", local),
    Column("RUNS", "runs", right=True),
    Column("FAILED", "failures", right=True),
)
