"""Monitor: the frames of the core as they pass, decoded; recorded for `reed monitor --from-file`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from reed.client import Client
from reed.errors import ReedError
from reed.web.context import context_of, number_of
from reed.web.watching import Filter, Watch
from reed.wire.decode import action_names

_MAX_SECONDS = 600  # of a recording
_DEFAULT_SECONDS = 10


async def show(request: Request) -> Response:
    web = context_of(request)
    await web.require_admin(request)
    plugins = await web.ask(request, Client.plugin_list)
    peers = [f"plugin {each['name']}" for each in plugins]
    return web.render(request, "monitor.html", peers=peers, chosen=_filter(request), seconds=_seconds(request))


async def events(request: Request) -> Response:
    watch = await _watch(request)

    async def batches() -> AsyncIterator[tuple[str, Any]]:
        try:
            async for batch in watch.batches():
                yield "frames", batch
        except ReedError as error:
            yield "problem", str(error)
        finally:
            watch.close()

    return context_of(request).events(batches())


async def as_text(request: Request) -> Response:
    """For browsers without JavaScript: a line for each frame, as it passes."""
    watch = await _watch(request)

    async def lines() -> AsyncIterator[str]:
        try:
            async for frame, _ in watch.records(_seconds(request)):
                yield "  ".join(watch.describe(frame).values()) + "\n"
        except ReedError as error:
            yield f"{error}\n"
        finally:
            watch.close()

    return StreamingResponse(lines(), media_type="text/plain; charset=utf-8", headers=_UNBUFFERED)


async def recording(request: Request) -> Response:
    watch = await _watch(request)

    async def records() -> AsyncIterator[bytes]:
        try:
            async for _, raw in watch.records(_seconds(request)):
                yield raw
        except ReedError:  # the core stopped: the recording ends
            pass
        finally:
            watch.close()

    headers = {**_UNBUFFERED, "Content-Disposition": 'attachment; filename="reed.frames"'}
    return StreamingResponse(records(), media_type="application/octet-stream", headers=headers)


async def _watch(request: Request) -> Watch:
    web = context_of(request)
    await web.require_admin(request)
    plugins = await web.ask(request, Client.plugin_list)
    folder = os.path.dirname(web.connections.path)
    return Watch.open(os.path.join(folder, "monitor.sock"), action_names(plugins), _filter(request))


def _filter(request: Request) -> Filter:
    return Filter(request.query_params.get("peer", ""), request.query_params.get("text", ""))


def _seconds(request: Request) -> int:
    return number_of(request, "seconds", _DEFAULT_SECONDS, _MAX_SECONDS)


_UNBUFFERED = {"X-Accel-Buffering": "no"}  # for nginx
NAVIGATION = ("Monitor", "/monitor")
ROUTES = [
    Route("/monitor", show),
    Route("/monitor/events", events),
    Route("/monitor/text", as_text),
    Route("/monitor/recording", recording),
]
