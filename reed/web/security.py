"""Guard: what every request must have before a page sees it, and what every response has.

    Host          a name of this server            421   a page of another site whose name points here (DNS rebinding)
    Origin        this server's, on a POST         403   a form of another site
    cookie        a session, except for PUBLIC     401   somebody who was not given the link
      or proxy    a trusted one that names the user      somebody who names another user
      or token    for METRICS, as a bearer               a program that was not given it
    body          a form of at most MAX_BODY       413, 415
    CSRF token    that of the session, on a POST   403   a form of another site, in browsers without the above

Every POST is read and checked here, so that no page can forget it. Its fields are in `form_of(request)`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reed.web.context import Context
from reed.web.proxy import Proxy, Refused
from reed.web.sessions import Session

MAX_BODY = 16 * 1024 * 1024
_MAX_FIELDS = 10_000
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_FORM = "application/x-www-form-urlencoded"
METRICS = "/metrics"
PUBLIC = ("/static/", "/sign-in/")  # paths without a session

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in. `hosts` are the values of Host that name this server; `cookie` is the name of the cookie."""

    hosts: frozenset[str]
    cookie: str
    proxy: Proxy | None = None
    metrics_token: str = ""  # which opens METRICS without a session; "": nothing does


class Guard:
    def __init__(self, app: ASGIApp, context: Context, access: Access) -> None:
        self._app = app
        self._context = context
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        app: ASGIApp
        try:
            receive = await self._admit(request)
            app = self._app
        except ClientDisconnect:
            return
        except Refused as refused:
            app = self._refusal(request, refused)
        added = _RAW_HEADERS
        if "reed.new_session" in scope:
            added = [*added, (b"set-cookie", cookie_of(request, self._access, scope["reed.new_session"]).encode())]
        await app(scope, receive, _with_headers(send, added))

    async def _admit(self, request: Request) -> Receive:
        """Raises Refused. Returns what the page may receive."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._access.hosts:
            named = hosts[0][:100] if hosts else ""
            raise Refused(421, f"this server is not called {named!r}", hint="another name: reed web --host NAME")
        path = request.url.path
        if request.method not in _SAFE_METHODS:
            _check_origin(request, hosts[0])
        if path.startswith(PUBLIC):
            if request.method not in _SAFE_METHODS:
                raise Refused(405, f"{request.method} is not possible here")
            return request.receive
        if path == METRICS and request.method in _SAFE_METHODS and self._has_metrics_token(request):
            return request.receive
        session = self._session(request)
        request.scope["reed.session"] = session
        if request.method in _SAFE_METHODS:
            return request.receive
        return await _read_form(request, session)

    def _has_metrics_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        wanted = self._access.metrics_token
        is_right = secrets.compare_digest(token.strip().encode("utf-8", "replace"), wanted.encode())
        return bool(wanted) and scheme.lower() == "bearer" and is_right

    def _session(self, request: Request) -> Session:
        """Raises Refused."""
        sessions, proxy = self._context.sessions, self._access.proxy
        token = _cookie(request, self._access.cookie)
        session = sessions.find(token) if token else None
        if proxy is not None:
            user = proxy.user_of(request)
            if session is None or session.user != user:
                session = sessions.begin(user)
                request.scope["reed.new_session"] = session
        if session is None:
            hint = "open the link that `reed web` printed when it was started; `kill -USR1` makes it print a new one"
            raise Refused(401, "you are not signed in", hint=hint)
        return session

    def _refusal(self, request: Request, refused: Refused) -> Response:
        if refused.status == 421:  # nothing of this server is shown to another site
            return PlainTextResponse(f"{refused}\n", 421)
        return self._context.error(request, refused, refused.status)


def cookie_of(request: Request, access: Access, session: Session) -> str:
    """The header Set-Cookie that signs in."""
    is_secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    return f"{access.cookie}={session.token}; HttpOnly; SameSite=Strict; Path=/{'; Secure' if is_secure else ''}"


def _check_origin(request: Request, host: str) -> None:
    """Browsers send Origin or Sec-Fetch-Site with a form; other programs send neither."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"} or (origin is not None and urlsplit(origin).netloc.lower() != host.lower()):
        raise Refused(403, "this form was sent by another site", hint="nothing was done")


async def _read_form(request: Request, session: Session) -> Receive:
    kind = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    if kind != _FORM:
        raise Refused(415, f"a form must be sent as {_FORM}, not as {kind[:100]}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Refused(413, f"the form has more than {MAX_BODY // 1024 // 1024} MiB")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise Refused(400, f"the form cannot be read: {error}") from None
    given = request.headers.get("x-csrf-token") or dict(fields).get("csrf", "")
    if not secrets.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode()):
        hint = "go back, reload the page and send it again"
        raise Refused(403, "the form has no valid token of this session (CSRF); nothing was done", hint=hint)
    request.scope["reed.form"] = ImmutableMultiDict([field for field in fields if field[0] != "csrf"])
    return request.receive


def _cookie(request: Request, name: str) -> str:
    for header in request.headers.getlist("cookie"):
        try:
            found = SimpleCookie(header).get(name)
        except CookieError:
            continue
        if found is not None:
            return found.value
    return ""


def _with_headers(send: Send, added: list[tuple[bytes, bytes]]) -> Send:
    replaced = {name for name, _ in _RAW_HEADERS}

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [header for header in message.get("headers", ()) if header[0].lower() not in replaced]
            message = {**message, "headers": [*headers, *added]}
        await send(message)

    return wrapped
