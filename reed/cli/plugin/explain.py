"""`reed plugin explain`: for each command, file_write and network whether the plugin may use it, and why."""

from __future__ import annotations

from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, Output
from reed.cli.parse import Args, UsageError
from reed.errors import nearest
from reed.figures import local_time
from reed.supervision.explain import answers, describe_sandbox, plugin_named
from reed.text import safe_lines

_COLUMNS = (
    Column("WHAT", "what", whole=True),
    Column("MAY", "may", whole=True, coloured=True),
    Column("WHY", "why"),
    Column("TO CHANGE IT", "change"),
)


def explain(args: Args, output: Output) -> int:
    name, asked = args.arg("NAME"), args.arg("COMMAND")
    with connect(args) as core:
        plugin = plugin_named(name, core.plugin_list())
        sandbox = core.stats()["sandbox"]
    found = answers(plugin, sandbox)
    if not asked:
        _show(plugin, found, sandbox, output)
        return 0
    answer = _find(asked, found)
    if output.as_json:
        output.json(answer)
    else:
        verb = "may" if answer["may"] else "may not"
        change = f"\nto change it: {answer['change']}" if answer["change"] else ""
        text = f"{name} {verb} {answer['what']}: {answer['why']}{change}\n"
        output.stream.write(safe_lines(text) if output.is_terminal else text)
    return 0 if answer["may"] else 1


def _show(plugin: dict[str, Any], found: list[dict[str, Any]], sandbox: dict[str, Any], output: Output) -> None:
    if output.as_json:
        keys = {key: plugin[key] for key in ("name", "grounds", "schedules")}
        output.json({**keys, "answers": found, "sandbox": sandbox})
        return
    output.info(f"{plugin['name']} ({plugin['type']} {plugin['version']}) is {plugin['state']}\n")
    output.table(_COLUMNS, found)
    grounds = plugin["grounds"]
    output.info(f"\nrow       {grounds['row']}\nmanifest  {grounds['manifest'] or 'unreadable'}")
    output.info("callers   the group admin")
    for group, members in grounds["groups"].items():
        if group != "admin":
            output.info(f"          the group {group}: {', '.join(members) or 'no members in reed.yaml'}")
    for number, schedule in enumerate(plugin["schedules"]):
        output.info(f"{'' if number else 'schedules':10}{_explained(schedule, grounds['manifest'])}")
    output.info("sandbox   " + f"\n{'':10}".join(describe_sandbox(sandbox)))


def _explained(schedule: dict[str, Any], manifest: str) -> str:
    """ "nightly: cron 0 3 * * *, calls snapshot (plugin.yaml); next 2026-03-29 03:00:00"."""
    place = schedule["changed_by"] or manifest
    following = f"next {local_time(schedule['due'])}" if schedule["due"] else schedule["state"]
    problem = f": {schedule['problem']}" if schedule["problem"] else ""
    return f"{schedule['name']}: {schedule['rule']}, calls {schedule['action']} ({place}); {following}{problem}"


def _find(asked: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Case, spaces, dots and dashes do not matter."""
    name = asked.lower().translate({ord(sign): "_" for sign in " .-"})
    for answer in found:
        if name in (answer["what"].lower(), answer["permission"]):
            return answer
    known = [answer["what"] for answer in found] + [answer["permission"] for answer in found]
    raise UsageError(
        f"unknown command or permission {asked!r}",
        hint=nearest(name, [each.lower() for each in known]) or "`reed plugin explain NAME` lists all",
    )
