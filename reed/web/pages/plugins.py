"""Plugins: their state and figures, start and stop, what each may do and why, its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import CallError, NotFound
from reed.figures import duration, local_time, milliseconds, size
from reed.supervision.explain import answers, describe_sandbox, plugin_named
from reed.web import log_tail
from reed.web.context import context_of, field_of, session_of
from reed.web.pages import actions

Plugin = dict[str, Any]  # an entry of PLUGIN_HEALTH or PLUGIN_LIST

_STOPPED = frozenset({"stopped", "failed"})
_DASH = "–"


async def show_all(request: Request) -> Response:
    web = context_of(request)
    listed = {each["name"]: each for each in await web.ask(request, Client.plugin_list)}
    plugins = await web.ask(request, Client.plugin_health)
    rows = [
        (each, listed.get(each["name"], {}).get("description", ""), _running(each), _cells(each)) for each in plugins
    ]
    return web.render(request, "plugins.html", rows=rows)


async def figures(request: Request) -> Response:
    """{"values": {key: text}, "names": [of the plugins]}"""
    web = context_of(request)
    plugins = await web.ask(request, Client.plugin_health)
    values = {f"{each['name']}/{key}": text for each in plugins for key, text in _all_texts(each).items()}
    return web.json({"values": values, "names": [each["name"] for each in plugins]})


async def show(request: Request) -> Response:
    web, name = context_of(request), request.path_params["name"]
    plugin = plugin_named(name, await web.ask(request, Client.plugin_list))
    (health,) = await web.ask(request, Client.plugin_health, name)
    sandbox = (await web.ask(request, Client.stats))["sandbox"]
    found = answers(plugin, sandbox)
    return web.render(
        request,
        "plugin.html",
        plugin=plugin,
        health=health,
        facts=_facts(health),
        texts=_all_texts(health),
        may=[each for each in found if each["may"]],
        may_not=[each for each in found if not each["may"]],
        sandbox=describe_sandbox(sandbox),
        log=_tail(health["log"]),
        local_time=local_time,
    )


async def log_events(request: Request) -> Response:
    web, name = context_of(request), request.path_params["name"]
    (health,) = await web.ask(request, Client.plugin_health, name)
    place = request.headers.get("last-event-id") or request.query_params.get("place", "")
    return web.events(log_tail.follow(health["log"], place))


async def change(request: Request) -> Response:
    """POST /plugins/NAME/start, stop, restart or reload; `back` is the page to show then."""
    web, name, verb = context_of(request), request.path_params["name"], request.path_params["verb"]
    if verb not in _VERBS:
        raise NotFound(f"a plugin cannot be told to {verb}", hint=f"one of {', '.join(_VERBS)}")
    back = "/plugins" if field_of(request, "back") == "list" else f"/plugins/{name}"
    try:
        done = await web.ask(request, _VERBS[verb], name)
    except CallError as error:
        return web.redirect(request, back, problem=error)
    return web.redirect(request, back, done)


async def reload_all(request: Request) -> Response:
    web = context_of(request)
    try:
        changes = await web.ask(request, Client.plugin_reload_report)
    except CallError as error:
        return web.redirect(request, "/plugins", problem=error)
    for each in changes:
        if each["result"] == "failed":
            session_of(request).notice(f"{each['name']} failed: {each['reason']}", "problem")
    done = [f"{each['name']} {each['result']}" for each in changes if each["result"] != "failed"]
    return web.redirect(request, "/plugins", ", ".join(done) or ("" if changes else "nothing has changed"))


def _start(core: Client, name: str) -> str:
    core.plugin_start(name)
    return f"{name} is ready"


def _stop(core: Client, name: str) -> str:
    core.plugin_stop(name)
    return f"{name} is stopped"


def _restart(core: Client, name: str) -> str:
    core.plugin_reload(name)  # no effect on a stopped plugin
    core.plugin_start(name)
    return f"{name} has restarted"


def _reload(core: Client, name: str) -> str:
    changes = core.plugin_reload_report(name)
    if not changes:
        return f"{name} is not running; its next start uses the new version"
    if changes[0]["result"] == "failed":
        raise CallError(changes[0]["reason"])
    return f"{name} {changes[0]['result']}"


_VERBS: dict[str, Callable[[Client, str], str]] = {
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "reload": _reload,
}


def _cells(health: Plugin) -> dict[str, str]:
    """The numbers of a plugin, by key."""
    latency = health.get("latency_ms") or {}
    return {
        "calls": f"{health['calls']:,}",
        "errors": f"{health['errors']:,}",
        "p50": milliseconds(latency["p50"]) if latency.get("p50") is not None else _DASH,
        "p99": milliseconds(latency["p99"]) if latency.get("p99") is not None else _DASH,
        "memory": size(health["memory_bytes"]) if health["memory_bytes"] else _DASH,
        "events": f"{health['events_waiting']:,}",
        "restarts": f"{health['restarts']:,}",
    }


def _all_texts(health: Plugin) -> dict[str, str]:
    facts = {key: text for key, _, text in _facts(health)}
    about = {"state": health["state"], "running": _running(health), "problem": _problem(health)}
    return {**about, **_cells(health), **facts}


def _running(health: Plugin) -> str:
    return "no" if health["state"] in _STOPPED else "yes"


def _facts(health: Plugin) -> list[tuple[str, str, str]]:
    """(key, title, text)"""
    cells = _cells(health)
    uptime = duration(health["uptime_s"]) if health["uptime_s"] else _DASH
    ready = _DASH if health["ready_ms"] is None else milliseconds(health["ready_ms"])
    return [
        ("pid", "Process", f"pid {health['pid']}, for {uptime}" if health["pid"] else "none"),
        ("ready", "Ready after", ready),
        ("memory", "Memory", cells["memory"]),
        ("calls", "Calls", cells["calls"]),
        ("errors", "Errors", cells["errors"]),
        ("latency", "Latency", f"median {cells['p50']}, p99 {cells['p99']}"),
        ("events", "Events waiting", cells["events"]),
        ("restarts", "Restarts", cells["restarts"]),
    ]


def _problem(health: Plugin) -> str:
    """Why it does not do what it should; "" if it does."""
    reasons = [health["reason"].removeprefix(f"{health['name']}: ")] if health["state"] in {"failed", "backoff"} else []
    reasons += [f"events are not delivered: {health['events_parked']}"] if health["events_parked"] else []
    reasons += [f"events are slowed down: {health['events_slowed']}"] if health["events_slowed"] else []
    reasons += [f"it reported an error: {health['error_data']}"] if health["error_data"] else []
    return "\n".join([*reasons, *health["error_lines"]])


def _tail(path: str) -> log_tail.Tail:
    try:
        return log_tail.tail(path)
    except FileNotFoundError:
        return log_tail.Tail("", "")
    except OSError as error:
        return log_tail.Tail(f"{path} cannot be read: {error.strerror}", "")


NAVIGATION = ("Plugins", "/plugins")
ROUTES = [
    Route("/plugins", show_all),
    Route("/plugins.json", figures),
    Route("/plugins/reload", reload_all, methods=["POST"]),
    Route("/plugins/{name}", show),
    Route("/plugins/{name}/log", log_events),
    *actions.ROUTES,
    Route("/plugins/{name}/{verb}", change, methods=["POST"]),
]
