"""`reed top`: the core and its plugins as they work, drawn anew every second until Ctrl-C.

SYSTEM_STATS, PLUGIN_HEALTH ── now and a moment ago ── calls a second ── a table, the busiest plugin first
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from reed.cli.options import connect
from reed.cli.output import Output, size, span
from reed.cli.parse import COUNT, Args, Form, Option, UsageError
from reed.errors import ReedError
from reed.text import safe

if TYPE_CHECKING:
    from rich.console import RenderableType

_TITLES = ("NAME", "STATE", "PID", "MEMORY", "CALLS/S", "CALLS", "ERRORS", "P50", "P99", "RESTARTS")
_COLOURS = {"ready": "green", "busy": "yellow", "sleeping": "blue", "backoff": "red", "failed": "bold red"}


class Look:
    """What the core told at one moment."""

    def __init__(self, at: float, stats: dict[str, Any], plugins: list[dict[str, Any]]) -> None:
        self.at = at
        self.stats = stats
        self.plugins = plugins

    def rates(self, before: Look) -> dict[str, float]:
        """Calls a second of each plugin since then. A count that fell began anew, with a new core."""
        passed = max(self.at - before.at, 1e-6)
        earlier = {plugin["name"]: plugin["calls"] for plugin in before.plugins}
        return {
            plugin["name"]: max(0, plugin["calls"] - earlier.get(plugin["name"], 0)) / passed for plugin in self.plugins
        }


def top(args: Args, output: Output) -> int:
    if not output.is_for_people:
        raise UsageError("reed top draws on a terminal", hint="for programs: `reed plugin health --json`")
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise ReedError("reed top needs the package rich", hint="pip install 'reed-cms[tui]'") from None
    every = max(args.number("--every", 1), 1)
    with connect(args) as core:

        def look() -> Look:
            return Look(time.monotonic(), core.stats(), core.plugin_health())

        before = now = look()
        console = Console(file=output.stream)
        try:
            with Live(drawing(now, before), console=console, auto_refresh=False, screen=True) as screen:
                while True:
                    time.sleep(every)
                    before, now = now, look()
                    screen.update(drawing(now, before), refresh=True)
        except KeyboardInterrupt:
            return 0


def drawing(now: Look, before: Look) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    stats = now.stats
    turn = stats["loop"]["turn_ms"]
    head = Text(
        f"reed {stats['version']}, pid {stats['pid']}, up {span(stats['uptime_s'])}, {size(stats['memory_bytes'])};"
        f" {stats['connections']} connections, {stats['store']['snippets']} snippets;"
        f" turns: p99 {turn['p99']:.2f} ms, longest {turn['longest']:.2f} ms\n"
    )
    table = Table(box=None, pad_edge=False)
    for title in _TITLES:
        table.add_column(title, justify="left" if title in {"NAME", "STATE"} else "right", no_wrap=True)
    rates = now.rates(before)
    for plugin in sorted(now.plugins, key=lambda plugin: (-rates[plugin["name"]], plugin["name"])):
        table.add_row(*map(Text, _cells(plugin, rates[plugin["name"]])), style=_COLOURS.get(plugin["state"], "dim"))
    return Group(head, table)


def _cells(plugin: dict[str, Any], rate: float) -> list[str]:
    latency = plugin.get("latency_ms") or {}
    return [
        safe(plugin["name"]),
        plugin["state"],
        str(plugin["pid"] or "-"),
        size(plugin["memory_bytes"]) if plugin["memory_bytes"] else "-",
        f"{rate:.0f}",
        str(plugin["calls"]),
        str(plugin["errors"]),
        *(f"{latency[part]:.1f} ms" if latency.get(part) is not None else "-" for part in ("p50", "p99")),
        str(plugin["restarts"]),
    ]


FORMS = {
    "top": Form(
        top,
        "",
        "The core and its plugins as they work, the busiest first; Ctrl-C ends it",
        (Option("--every", "SECONDS", "how often to look (1)", number=COUNT),),
        "It needs the package rich: pip install 'reed-cms[tui]'.",
    ),
}
