"""A documentation site: its pages are snippets of a reed core, which `reed import FOLDER --markdown` wrote.

browser ── Starlette ── Client ── core ── form-validator (a contact form), simple-seo or ai-core (keywords)
   ▲           │
   └─ /changes ┘ reloads a page when the core has changed it

python app.py [--listen 127.0.0.1:8000] [--type page]       the core is that of REED_RUNTIME_DIR
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from jinja2 import Environment, FileSystemLoader
from live import Changes
from pages import ROOT, Page, Pages, read
from render import html_of, marked
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reed.client import Client, core_socket
from reed.errors import CallError, NotFound, ReedError

_HERE = Path(__file__).parent
_TEMPLATES = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True)
_MAX_FORM = 64 * 1024  # bytes
_HITS = 20
_MESSAGE = "message"  # the type of what visitors send
_KEYWORD_ACTIONS = (("ai-core", "analyze", "text"), ("simple-seo", "keywords", "keyword"))
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Site:
    """`pages` are read again after a change; while changes cannot be noticed, for each request."""

    def __init__(self, core: str, page_type: str) -> None:
        self.core = core  # the path of core.sock
        self.type = page_type
        self.changes = Changes(core, page_type)
        self._pages: Pages | None = None

    def connect(self) -> Client:
        return Client(self.core, timeout=10)

    def pages(self) -> Pages:
        version = self.changes.version
        if self._pages is None or self._pages.version != version or not self.changes.is_followed:
            with self.connect() as core:
                self._pages = read(core, self.type, version)
        return self._pages

    @lru_cache(maxsize=1024)  # noqa: B019  there is one Site
    def keywords(self, snippet: str, version: int) -> list[str]:  # noqa: ARG002  of this version
        """Those that the first plugin of _KEYWORD_ACTIONS which runs finds in a page."""
        with self.connect() as core:
            for plugin, action, key in _KEYWORD_ACTIONS:
                with contextlib.suppress(CallError):  # it does not run, or has no time
                    answer = core.plugin_send(plugin, action, snippet)
                    if answer.status == 200:
                        return [str(each[key]) for each in json.loads(bytes(answer.body))["keywords"]][:8]
        return []


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def show(request: Request) -> Response:
    path = request.path_params.get("path", "").rstrip("/") or ROOT
    pages = site_of(request).pages()
    page = pages.by_path.get(path)
    if page is None:
        return _error(request, 404, "There is no such page." if pages.by_path else "There are no pages yet.")
    if path == ROOT and request.url.path != "/":
        return RedirectResponse("/", 308)
    return _page(request, pages, page, is_sent="sent" in request.query_params)


def search(request: Request) -> Response:
    site, query = site_of(request), request.query_params.get("q", "").strip()
    pages, hits, total = site.pages(), [], 0
    if any(letter.isalnum() for letter in query):
        with site.connect() as core:
            found = core.search(query, site.type, _HITS)
        total = found.total
        hits = [(pages.by_id[hit.id], list(marked(hit.excerpt, query))) for hit in found.hits if hit.id in pages.by_id]
    return _render(request, "search.html", pages, query=query, hits=hits, total=total)


async def send(request: Request) -> Response:
    """What a visitor wrote into the form of a page."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            return await asyncio.to_thread(_error, request, 413, "Your message is too long.")
    return await asyncio.to_thread(_send, request, bytes(body))


def _send(request: Request, body: bytes) -> Response:
    site = site_of(request)
    pages = site.pages()
    page = pages.by_path.get(request.path_params.get("path", "").rstrip("/") or ROOT)
    if page is None or not page.form:
        return _error(request, 405, "This page has no form.")
    try:
        data = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict"))
    except ValueError:
        return _error(request, 400, "The form cannot be read.")
    with site.connect() as core:
        answer = core.plugin_send("form-validator", "validate", {"form": page.id, "data": data})
        if answer.status != 200:
            return _error(request, 500, f"The form of this page is not right: {bytes(answer.body).decode()}")
        checked = json.loads(bytes(answer.body))
        if not checked["valid"] and not checked["spam"]:
            errors = {each["field"]: each["message"] for each in checked["errors"]}
            return _page(request, pages, page, 422, values=data, errors=errors)
        if checked["valid"]:  # spam is thanked for, and forgotten
            _keep(core, {"page": page.path, "sent": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **checked["values"]})
    return RedirectResponse(f"{page.url}?sent", 303)


def _keep(core: Client, message: dict[str, Any]) -> None:
    try:
        core.registry_get(_MESSAGE)
    except NotFound:
        core.registry_define(_MESSAGE, {"description": "What visitors sent by a form"})
    core.snippet_create(_MESSAGE, "", message)


async def changes(request: Request) -> Response:
    events = site_of(request).changes.events(request.query_params.get("since", ""))
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def unavailable(_request: Request, error: Exception) -> Response:
    """A ReedError of the core or a plugin. The pages, and with them the navigation, may not be known."""
    text = _TEMPLATES.get_template("error.html").render(status=503, text=f"Try again later: {error}")
    return HTMLResponse(text, 503)


def _page(request: Request, pages: Pages, page: Page, status: int = 200, **values: Any) -> Response:
    html, has_heading = html_of(str(page.content.get("body", "")), str(page.content.get("file", "")))
    keywords = page.content.get("keywords")
    if not isinstance(keywords, list):
        keywords = site_of(request).keywords(page.id, page.version)
    more = {"html": html, "has_heading": has_heading, "keywords": keywords, "trail": pages.trail(page.path)}
    return _render(request, "page.html", pages, status, page=page, **more, **values)


def _error(request: Request, status: int, text: str) -> Response:
    return _render(request, "error.html", site_of(request).pages(), status, text=text)


def _render(request: Request, template: str, pages: Pages, status: int = 200, **values: Any) -> Response:  # noqa: ARG001
    text = _TEMPLATES.get_template(template).render(pages=pages, status=status, **values)
    return HTMLResponse(text, status, {"Cache-Control": "no-cache"})


class Headers:
    """Adds _HEADERS to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._added]}
            await send(message)

        await self._app(scope, receive, with_headers)


def application(core: str, page_type: str = "page") -> Starlette:
    """`core` is the path of core.sock."""

    @contextlib.asynccontextmanager
    async def follow(app: Starlette) -> AsyncIterator[None]:
        app.state.site = Site(core, page_type)
        following = asyncio.create_task(app.state.site.changes.follow())
        yield
        following.cancel()

    return Starlette(
        routes=[
            Route("/search", search),
            Route("/changes", changes),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
            Route("/", send, methods=["POST"]),
            Route("/{path:path}", send, methods=["POST"]),
            Route("/", show),
            Route("/{path:path}", show),
        ],
        middleware=[Middleware(Headers)],
        exception_handlers={ReedError: unavailable},
        lifespan=follow,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the pages of a reed core.")
    parser.add_argument("--listen", default="127.0.0.1:8000", metavar="HOST:PORT", help="127.0.0.1:8000; port 0: any")
    parser.add_argument("--type", default="page", help="the type of the pages (page)")
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    with socket.create_server((host, int(port))) as listening:
        app = application(core_socket(os.environ.get("REED_RUNTIME_DIR") or "/tmp/reed-cms"), given.type)
        print(f"http://{host}:{listening.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=1)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
