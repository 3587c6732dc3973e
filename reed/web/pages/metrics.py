"""/metrics: OpenMetrics text for Prometheus (reed.metrics). Not in the navigation: a program reads it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client, NoAnswer
from reed.errors import CoreNotRunning
from reed.metrics import CONTENT_TYPE, render, render_down
from reed.web.context import context_of
from reed.web.security import METRICS
from reed.web.sessions import Session


async def show(request: Request) -> Response:
    session: Session | None = request.scope.get("reed.session")  # None: with the token for metrics
    try:
        text = await context_of(request).connections.ask(session.user if session else None, _text)
    except (CoreNotRunning, NoAnswer):
        text = render_down()
    return Response(text, media_type=CONTENT_TYPE)


def _text(core: Client) -> str:
    return render(core.stats(), core.plugin_health())


ROUTES = [Route(METRICS, show)]
