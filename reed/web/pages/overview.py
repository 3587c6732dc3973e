"""Overview: what the core does, holds and uses, with charts of the last minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.figures import database, duration, milliseconds, other_core, plural, pool, size
from reed.supervision.explain import describe_sandbox
from reed.web.context import context_of
from reed.web.history import Chart

Facts = list[tuple[str, str]]
Group = tuple[str, Facts]  # title, facts

_MAX_COMMANDS = 12


class Shown(NamedTuple):
    """A chart with its texts."""

    key: str
    title: str
    now: str
    top: str
    chart: Chart


async def show(request: Request) -> Response:
    web = context_of(request)
    stats, charts = await _read(request)
    return web.render(request, "overview.html", groups=_groups(stats), charts=charts, commands=_commands(stats))


async def figures(request: Request) -> Response:
    """{"values": {key: text}, "charts": {key: {"line", "area"}}}"""
    stats, charts = await _read(request)
    values = {f"{title}/{name}": value for title, facts in _groups(stats) for name, value in facts}
    values |= {f"command/{name}/{key}": text for name, cells in _commands(stats) for key, text in cells.items()}
    values |= {f"chart/{each.key}/now": each.now for each in charts}
    values |= {f"chart/{each.key}/top": each.top for each in charts}
    lines = {each.key: {"line": each.chart.line, "area": each.chart.area} for each in charts}
    return context_of(request).json({"values": values, "charts": lines})


async def _read(request: Request) -> tuple[dict[str, Any], list[Shown]]:
    web = context_of(request)
    stats = await web.ask(request, Client.stats)
    web.history.add(stats)
    return stats, _charts(web.history.charts())


def _charts(charts: dict[str, Chart]) -> list[Shown]:
    return [
        Shown(key, title, text(charts[key].now), text(charts[key].top), charts[key])
        for key, (title, text) in _CHARTS.items()
    ]


def _count(value: float) -> str:
    return f"{value:,.0f}"


_CHARTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "requests": ("Requests per second", _count),
    "turn": ("Turns, p99", milliseconds),
    "memory": ("Memory", lambda value: size(round(value))),
    "connections": ("Connections", _count),
}


def _groups(stats: dict[str, Any]) -> list[Group]:
    groups = [("Core", _core(stats)), ("Store", _store(stats["store"])), ("Plugins", _plugins(stats["plugins"]))]
    pools = [(name, pool(stats[name])) for name in ("workers", "indexer") if name in stats]
    if pools:
        groups.append(("Workers", [(name.capitalize(), text) for name, text in pools]))
    cores = stats["store"].get("cores", ())
    if cores:
        groups.append(("Other cores", [(each["name"], other_core(each)) for each in cores]))
    return groups


def _core(stats: dict[str, Any]) -> Facts:
    turn = stats["loop"]["turn_ms"]
    return [
        ("Version", f"reed {stats['version']}, pid {stats['pid']}"),
        ("Running for", duration(stats["uptime_s"])),
        ("Memory", size(stats["memory_bytes"])),
        ("Connections", f"{stats['connections']:,} now, {stats['accepted']:,} so far"),
        ("Turns", f"{stats['loop']['turns']:,}; p99 {turn['p99']:.2f} ms, longest {turn['longest']:.2f} ms"),
        ("Disk", f"longest wait {milliseconds(stats['loop']['disk_longest_ms'])}"),
        ("Denied", plural(stats["denied"], "request")),
        ("Sandbox", "; ".join(describe_sandbox(stats["sandbox"]))),
        ("Runtime folder", stats["runtime_dir"]),
        ("Data folder", stats["data_dir"]),
    ]


def _store(store: dict[str, Any]) -> Facts:
    facts = [(f"{thing.capitalize()}s", f"{store[f'{thing}s']:,}") for thing in ("snippet", "type", "bond")]
    if store.get("bytes"):
        facts.append(("Size", size(store["bytes"])))
    if "unindexed" in store:
        facts.append(("Not yet indexed", plural(store["unindexed"], "snippet")))
    if "is_connected" in store:
        facts.append(("Database", database(store)))
    return facts


def _plugins(states: dict[str, int]) -> Facts:
    return [(state.capitalize(), str(count)) for state, count in sorted(states.items())] or [("Plugins", "none")]


def _commands(stats: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """The commands that were called most, with calls, errors and the mean time."""
    commands = stats.get("commands", {})
    often = sorted(commands.items(), key=lambda item: (-item[1]["calls"], item[0]))[:_MAX_COMMANDS]
    return [
        (
            name,
            {
                "calls": f"{each['calls']:,}",
                "errors": f"{sum(each['errors'].values()):,}",
                "mean": milliseconds(each["seconds"] / max(each["calls"], 1) * 1000),
                "bytes": size(each["bytes_in"] + each["bytes_out"]),
            },
        )
        for name, each in often
    ]


NAVIGATION = ("Overview", "/")
ROUTES = [Route("/", show), Route("/overview.json", figures)]
