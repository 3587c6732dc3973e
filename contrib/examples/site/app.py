"""A documentation site: its pages are snippets of a reed core, which `reed import FOLDER --markdown` wrote.

browser ── Starlette ── AsyncClient ── core ── form-validator (a contact form), simple-seo or ai-core (keywords)
   ▲           │
   └─ /changes ┘ reloads a page when the core has changed it

python app.py [--listen 127.0.0.1:8000] [--type page]       the core is that of REED_RUNTIME_DIR
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from jinja2 import Environment, FileSystemLoader
from live import Changes
from pages import ROOT, Page, Pages, read
from render import html_of, marked
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reed.client import core_socket
from reed.client.aio import AsyncClient
from reed.errors import CallError, NotFound, ReedError

_HERE = Path(__file__).parent
_TEMPLATES = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True)
_MAX_FORM = 64 * 1024  # bytes
_HITS = 20
_MESSAGE = "message"  # the type of what visitors send
_KEYWORD_ACTIONS = (("ai-core", "analyze", "text"), ("simple-seo", "keywords", "keyword"))
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Site:
    """`pages` are read again after a change; while changes cannot be noticed, for each request."""

    def __init__(self, core: AsyncClient, page_type: str) -> None:
        self.core = core
        self.type = page_type
        self.changes = Changes(core, page_type)
        self._pages: Pages | None = None

    async def pages(self) -> Pages:
        version = self.changes.version
        if self._pages is None or self._pages.version != version or not self.changes.is_followed:
            self._pages = await read(self.core, self.type, version)
        return self._pages

    async def keywords(self, pages: Pages, page: Page) -> list[str]:
        """Those of the front matter; else those that the first plugin of _KEYWORD_ACTIONS which runs finds."""
        if isinstance(page.content.get("keywords"), list):
            return [str(each) for each in page.content["keywords"]]
        for plugin, action, key in _KEYWORD_ACTIONS if page.path not in pages.keywords else ():
            with contextlib.suppress(CallError):  # it does not run, or has no time
                answer = await self.core.plugin_send(plugin, action, page.id)
                if answer.status == 200:
                    found = json.loads(bytes(answer.body))["keywords"]
                    pages.keywords[page.path] = [str(each[key]) for each in found[:8]]
                    break
        return pages.keywords.get(page.path, [])


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def path_of(request: Request) -> str:
    return str(request.path_params.get("path", "")).rstrip("/") or ROOT


async def show(request: Request) -> Response:
    pages = await site_of(request).pages()
    page = pages.by_path.get(path_of(request))
    if page is None:
        return _error(pages, 404, "There is no such page." if pages.by_path else "There are no pages yet.")
    if page.path == ROOT and request.url.path != "/":
        return RedirectResponse("/", 308)
    return await _page(request, pages, page, is_sent="sent" in request.query_params)


async def search(request: Request) -> Response:
    site, query = site_of(request), request.query_params.get("q", "").strip()
    pages, hits, total = await site.pages(), [], 0
    if any(letter.isalnum() for letter in query):
        found = await site.core.search(query, site.type, _HITS)
        total = found.total
        hits = [(pages.by_id[hit.id], list(marked(hit.excerpt, query))) for hit in found.hits if hit.id in pages.by_id]
    return _render("search.html", pages, query=query, hits=hits, total=total)


async def send(request: Request) -> Response:
    """What a visitor wrote into the form of a page."""
    site = site_of(request)
    pages = await site.pages()
    page = pages.by_path.get(path_of(request))
    if page is None or not page.form:
        return _error(pages, 405, "This page has no form.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            return _error(pages, 413, "Your message is too long.")
    try:
        data = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict"))
    except ValueError:
        return _error(pages, 400, "The form cannot be read.")
    answer = await site.core.plugin_send("form-validator", "validate", {"form": page.id, "data": data})
    if answer.status != 200:
        return _error(pages, 500, f"The form of this page is not right: {bytes(answer.body).decode()}")
    checked = json.loads(bytes(answer.body))
    if not checked["valid"] and not checked["spam"]:
        errors = {each["field"]: each["message"] for each in checked["errors"]}
        return await _page(request, pages, page, 422, values=data, errors=errors)
    if checked["valid"]:  # spam is thanked for, and forgotten
        await _keep(site.core, {"page": page.path, "sent": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **checked["values"]})
    return RedirectResponse(f"{page.url}?sent", 303)


async def _keep(core: AsyncClient, message: dict[str, Any]) -> None:
    try:
        await core.registry_get(_MESSAGE)
    except NotFound:
        await core.registry_define(_MESSAGE, {"description": "What visitors sent by a form"})
    await core.snippet_create(_MESSAGE, "", message)


async def changes(request: Request) -> Response:
    events = site_of(request).changes.events(request.query_params.get("since", ""))
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def unavailable(_request: Request, error: Exception) -> Response:
    """A ReedError of the core or a plugin. The pages, and with them the navigation, may not be known."""
    return _error(Pages(""), 503, f"Try again later: {error}")


async def _page(request: Request, pages: Pages, page: Page, status: int = 200, **values: Any) -> Response:
    html, has_heading = html_of(str(page.content.get("body", "")), str(page.content.get("file", "")))
    values |= {"html": html, "has_heading": has_heading, "trail": pages.trail(page.path)}
    values |= {"page": page, "keywords": await site_of(request).keywords(pages, page)}
    return _render("page.html", pages, status, **values)


def _error(pages: Pages, status: int, text: str) -> Response:
    return _render("error.html", pages, status, text=text)


def _render(template: str, pages: Pages, status: int = 200, **values: Any) -> Response:
    text = _TEMPLATES.get_template(template).render(pages=pages, status=status, **values)
    return HTMLResponse(text, status, _HEADERS)


def application(core: str, page_type: str = "page") -> Starlette:
    """`core` is the path of core.sock."""

    @contextlib.asynccontextmanager
    async def follow(app: Starlette) -> AsyncIterator[None]:
        client = AsyncClient(core, timeout=10)
        app.state.site = Site(client, page_type)
        following = asyncio.create_task(app.state.site.changes.follow())
        yield
        following.cancel()
        await client.close()

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
        exception_handlers={ReedError: unavailable},
        lifespan=follow,
    )


class Server(uvicorn.Server):
    """Ends the events of open pages before it waits for the end of all answers."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=5))
        self._state = app.state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if hasattr(self._state, "site"):
            self._state.site.changes.close()
        super().handle_exit(sig, frame)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the pages of a reed core.")
    parser.add_argument("--listen", default="127.0.0.1:8000", metavar="HOST:PORT", help="127.0.0.1:8000; port 0: any")
    parser.add_argument("--type", default="page", help="the type of the pages (page)")
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    with socket.create_server((host, int(port))) as listening:
        app = application(core_socket(), given.type)
        print(f"http://{host}:{listening.getsockname()[1]}/", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            Server(app).run(sockets=[listening])


if __name__ == "__main__":
    main()
