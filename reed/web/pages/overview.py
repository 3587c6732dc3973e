"""Overview: what the core does, holds and uses."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.figures import duration, plural, size
from reed.web.context import context_of

Facts = list[tuple[str, str]]


async def show(request: Request) -> Response:
    web = context_of(request)
    stats = await web.ask(request, Client.stats)
    return web.render(request, "overview.html", groups=_groups(stats))


def _groups(stats: dict[str, Any]) -> list[tuple[str, Facts]]:
    return [("Core", _core(stats)), ("Store", _store(stats["store"])), ("Plugins", _plugins(stats["plugins"]))]


def _core(stats: dict[str, Any]) -> Facts:
    turn = stats["loop"]["turn_ms"]
    return [
        ("Version", f"reed {stats['version']}, pid {stats['pid']}"),
        ("Running for", duration(stats["uptime_s"])),
        ("Memory", size(stats["memory_bytes"])),
        ("Connections", f"{stats['connections']} now, {stats['accepted']} so far"),
        ("Turns", f"p99 {turn['p99']:.2f} ms, longest {turn['longest']:.2f} ms"),
        ("Requests denied", str(stats["denied"])),
    ]


def _store(store: dict[str, Any]) -> Facts:
    facts = [(f"{thing.capitalize()}s", f"{store[f'{thing}s']:,}") for thing in ("snippet", "type", "bond")]
    if store.get("bytes"):
        facts.append(("Size", size(store["bytes"])))
    if store.get("unindexed"):
        facts.append(("Not yet indexed", plural(store["unindexed"], "snippet")))
    return facts


def _plugins(states: dict[str, int]) -> Facts:
    return [(state.capitalize(), str(count)) for state, count in states.items()] or [("None", "0")]


NAVIGATION = ("Overview", "/")
ROUTES = [Route("/", show)]
