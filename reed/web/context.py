"""What a page needs: its request's session and form, the core, templates and answers."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from reed import __version__
from reed.client import Client, NoAnswer
from reed.errors import CallError, CoreNotRunning, ErrorCode, Malformed, PermissionDenied, ReedError
from reed.figures import plural, size, timestamp
from reed.text import safe, safe_lines
from reed.web.connections import Connections
from reed.web.history import History
from reed.web.sessions import Session, Sessions

P = ParamSpec("P")
T = TypeVar("T")
Form = ImmutableMultiDict[str, str]

_FOLDER = Path(__file__).parent
RETRY_SECONDS = 5  # until a page that could not be shown because the core is away is loaded again


class Context:
    """One for the process; `context_of(request)` returns it."""

    def __init__(self, connections: Connections, sessions: Sessions, navigation: Sequence[tuple[str, str]]) -> None:
        self.connections = connections
        self.sessions = sessions
        self.history = History(time.monotonic)
        self._navigation = navigation
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "plural": plural,
            "safe_text": safe,
            "safe_lines": safe_lines,
            "size": size,
            "timestamp": timestamp,
        }
        self._templates.globals["version"] = __version__

    async def ask(
        self, request: Request, method: Callable[Concatenate[Client, P], T], *args: P.args, **named: P.kwargs
    ) -> T:
        """Call a method of Client with the permissions of the request's user; `method` may be any function of a Client.

        Raises ReedError.
        """
        return await self.connections.ask(session_of(request).user, method, *args, **named)

    async def require_admin(self, request: Request) -> None:
        """Before something that this process does by itself for the user. Raises PermissionDenied."""
        user = session_of(request).user
        if not await self.connections.may_administrate(user):
            raise PermissionDenied(f"only the group admin may do this, and {user.name if user else 'you'} is not in it")

    def render(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self.fragment(request, template, **values), status)

    def fragment(self, request: Request, template: str, **values: Any) -> str:
        """The text of a template, for a part of a page."""
        session: Session | None = request.scope.get("reed.session")
        given = {
            "csrf": session.csrf if session else "",
            "navigation": self._navigation if session else (),
            "notices": session.take_notices() if session else (),
            "path": request.url.path,
            "session": session,
        }
        return self._templates.get_template(template).render(given | values)

    def redirect(self, request: Request, path: str, notice: str = "", problem: ReedError | None = None) -> Response:
        """After a POST: show another page, with what was done, or what was not and why."""
        if notice:
            session_of(request).notice(notice)
        if problem:
            session_of(request).notice(str(problem), "problem")
        return RedirectResponse(path, 303)

    def json(self, value: Any, status: int = 200) -> JSONResponse:
        return JSONResponse(value, status)

    def events(self, pairs: AsyncIterator[tuple[str, Any]]) -> StreamingResponse:
        """Server-sent events: each (name, value as JSON), until they or the connection end."""

        async def lines() -> AsyncIterator[str]:
            async for name, value in pairs:
                yield f"event: {name}\ndata: {json.dumps(value)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    def error(self, request: Request, error: ReedError, status: int = 0) -> Response:
        """The page of an error, or its JSON."""
        status = status or status_of(error)
        what = {"status": status, "message": safe_lines(error.message), "hint": safe_lines(error.hint)}
        if wants_json(request):
            return self.json({"error": what}, status)
        is_away = isinstance(error, CoreNotRunning) and request.method == "GET"
        code = ErrorCode(error.error_code).name if isinstance(error, CallError) and error.error_code in _CODES else ""
        answer = self.render(
            request, "error.html", status=status, error=what, code=code, is_away=is_away, retry=RETRY_SECONDS
        )
        if is_away:
            answer.headers["Refresh"] = str(RETRY_SECONDS)
        return answer


_CODES = frozenset(map(int, ErrorCode))


def status_of(error: ReedError) -> int:
    """The HTTP status that tells of the error."""
    if isinstance(error, CoreNotRunning):
        return 503
    if isinstance(error, CallError):
        return error.status if 400 <= error.status <= 599 else 502
    return 504 if isinstance(error, NoAnswer) else 500


def context_of(request: Request) -> Context:
    found: Context = request.app.state.context
    return found


def session_of(request: Request) -> Session:
    found: Session = request.scope["reed.session"]
    return found


def form_of(request: Request) -> Form:
    """The fields of a POST, without its CSRF token."""
    found: Form = request.scope["reed.form"]
    return found


def field_of(request: Request, name: str) -> str:
    """The field of a POST. Raises Malformed for a form that lacks it."""
    form = form_of(request)
    if name not in form:
        raise Malformed(f"the form has no field {name}", hint="reload the page and send it again")
    return form[name]


def number_of(request: Request, name: str, default: int = 0, most: int = 99_999) -> int:
    """The parameter of the address as a number, but not above `most`; `default` if it is no number."""
    text = request.query_params.get(name, "")
    return min(int(text[:9]), most) if text.isascii() and text.isdecimal() else default


def ref_of(text: str) -> str:
    """NAME, '$NAME', or an id or the start of one, as a person typed it."""
    return text.strip().removeprefix("$")


def wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def pretty(data: Any) -> str:
    """JSON with line feeds and indents; other bytes as text."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        text = bytes(data).decode("utf-8", "replace")
        try:
            data = json.loads(text)
        except ValueError:
            return safe_lines(text)
    return json.dumps(data, ensure_ascii=False, indent=2)
