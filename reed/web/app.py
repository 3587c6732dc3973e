"""The application: the routes of all pages, signing in and out, error pages, static files."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from reed.errors import ReedError
from reed.web.connections import Connections
from reed.web.context import Context, context_of, session_of
from reed.web.pages import content, metrics, monitor, overview, plugins, search
from reed.web.security import Access, Guard, cookie_of
from reed.web.sessions import Sessions

PAGES = (overview, plugins, content, search, monitor)  # in the order of the navigation
_STATIC = Path(__file__).parent / "static"


def application(connections: Connections, sessions: Sessions, access: Access) -> ASGIApp:
    context = Context(connections, sessions, [page.NAVIGATION for page in PAGES])
    app = Starlette(
        routes=[
            *(route for page in PAGES for route in page.ROUTES),
            *metrics.ROUTES,
            *(() if access.proxy else _SIGNING_IN),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        exception_handlers={ReedError: _reed_error, HTTPException: _http_error, Exception: _bug},
    )
    app.state.context = context
    app.state.access = access
    return Guard(app, context, access)


async def sign_in(request: Request) -> Response:
    web, access = context_of(request), _access_of(request)
    session = web.sessions.use_link(request.path_params["token"])
    if session is None:
        message = "this link does not sign in: it was used, is too old, or was never made"
        hint = "`kill -USR1` makes `reed web` print a new one, and so does the button at the end of every page"
        return web.error(request, ReedError(message, hint=hint), 403)
    # A page, no redirect: browsers would not send a SameSite=Strict cookie with one that began at another site.
    answer = web.render(request, "signed-in.html")
    answer.headers["Refresh"] = "0; url=/"
    answer.headers["Set-Cookie"] = cookie_of(request, access, session)
    return answer


async def sign_out(request: Request) -> Response:
    web = context_of(request)
    web.sessions.end(session_of(request))
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(_access_of(request).cookie, httponly=True, samesite="strict")
    return answer


async def new_link(request: Request) -> Response:
    """A link for another browser of the same person."""
    web = context_of(request)
    link = str(request.url.replace(path=f"/sign-in/{web.sessions.new_link()}", query=""))
    return web.render(request, "link.html", link=link)


_SIGNING_IN = (
    Route("/sign-in/{token}", sign_in),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/links", new_link, methods=["POST"]),
)


def _access_of(request: Request) -> Access:
    found: Access = request.app.state.access
    return found


async def _reed_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReedError)
    return context_of(request).error(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: f"there is no page {request.url.path}", 405: f"{request.method} is not possible here"}
    shown = ReedError(texts.get(error.status_code, error.detail))
    return context_of(request).error(request, shown, error.status_code)


async def _bug(request: Request, _error: Exception) -> Response:
    """Starlette raises the error again, so that its traceback is logged."""
    hint = "a bug in reed web; its log has the traceback"
    return context_of(request).error(request, ReedError("this page could not be made", hint=hint), 500)
