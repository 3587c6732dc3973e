"""`reed top`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from reed.cli.options import connect, optional
from reed.cli.output import Output
from reed.cli.parse import U32, Args, Option, Subcommand, UsageError
from reed.figures import duration, milliseconds, pool, size
from reed.text import safe

if TYPE_CHECKING:
    from rich.console import RenderableType

_TITLES = ("NAME", "STATE", "PID", "MEMORY", "CALLS/S", "CALLS", "ERRORS", "P50", "P99", "RESTARTS")
_COLOURS = {"ready": "green", "busy": "yellow", "sleeping": "blue", "backoff": "red", "failed": "bold red"}


class Sample(NamedTuple):
    at: float  # seconds
    stats: dict[str, Any]
    plugins: list[dict[str, Any]]

    def rates(self, before: Sample) -> dict[str, float]:
        """Calls per second by plugin; 0 after a new core has reset the counter."""
        seconds = max(self.at - before.at, 1e-6)
        earlier = {plugin["name"]: plugin["calls"] for plugin in before.plugins}
        calls = {plugin["name"]: plugin["calls"] - earlier.get(plugin["name"], 0) for plugin in self.plugins}
        return {name: max(0, count) / seconds for name, count in calls.items()}


def top(args: Args, output: Output) -> None:
    if not output.is_interactive:
        raise UsageError("reed top requires a terminal", hint="for programs: `reed plugin health --json`")
    with optional("reed top", "tui", "rich"):
        from rich.console import Console
        from rich.live import Live

    interval = max(args.number("--interval", 1), 1)
    with connect(args) as core:

        def sample() -> Sample:
            return Sample(time.monotonic(), core.stats(), core.plugin_health())

        before = now = sample()
        console = Console(file=output.stream)
        try:
            with Live(_render(now, before), console=console, auto_refresh=False, screen=True) as screen:
                while True:
                    time.sleep(interval)
                    before, now = now, sample()
                    screen.update(_render(now, before), refresh=True)
        except KeyboardInterrupt:
            return


def _render(now: Sample, before: Sample) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    stats = now.stats
    turn = stats["loop"]["turn_ms"]
    head = Text(
        f"reed {stats['version']}, pid {stats['pid']}, up {duration(stats['uptime_s'])}, {size(stats['memory_bytes'])};"
        f" {stats['connections']} connections, {stats['store']['snippets']} snippets;"
        f" turns: p99 {turn['p99']:.2f} ms, longest {turn['longest']:.2f} ms\n"
    )
    if "workers" in stats:
        head.append(f"workers: {pool(stats['workers'])}\n")
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
        *(milliseconds(latency[part]) if latency.get(part) is not None else "-" for part in ("p50", "p99")),
        str(plugin["restarts"]),
    ]


SUBCOMMANDS = {
    "top": Subcommand(
        top,
        "",
        "Live view of the core and its plugins, the busiest first; Ctrl-C ends it",
        (Option("--interval", "SECONDS", "seconds between two samples (1)", number=U32),),
        "Requires the package rich: pip install 'reed-cms[tui]'.",
    ),
}
