"""A new snippet, as a form with the defaults of its type, or as JSON."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import Malformed, ReedError
from reed.web import form_errors
from reed.web.context import context_of, field_of, form_of, status_of
from reed.web.definitions import definition_of, type_names
from reed.web.forms import ORIGIN, Field, Problems, content_of, form, rearranged
from reed.web.pages.snippet import control_id, summary_of, typed
from reed.wire.exact_json import ABSENT, dumps, loads
from reed.wire.identifiers import is_semantic_name

_NAME_IN_USE = "the name "  # begins the error of the core
_SHAPE = "A-Z a-z 0-9 _, then also . / -, at most 31 characters"


async def show(request: Request) -> Response:
    given = request.query_params
    snippet_type = given.get("type", "")
    if not snippet_type:
        return context_of(request).render(request, "choose-type.html", types=await type_names(request))
    shown = await _form(request, snippet_type, None)
    if given.get("as") == "json":
        return _page(request, snippet_type, text=dumps(content_of(shown)[0], 2))
    return _page(request, snippet_type, shown=shown)


async def create(request: Request) -> Response:
    sent = form_of(request)
    snippet_type, name = field_of(request, "type"), sent.get("name", "").strip().removeprefix("$")
    if "content" in sent:
        return await _create_from_json(request, snippet_type, name, sent["content"])
    submitted, target = typed(sent), ""
    action = sent.get("action", "save")
    if action != "save":
        submitted, target = rearranged(submitted, action)
    shown = await _form(request, snippet_type, submitted)
    content, problems = content_of(shown)
    problems |= name_problems(name)
    if target:
        return _page(request, snippet_type, name, shown=shown, focus=target)
    if problems:
        return _page(request, snippet_type, name, shown=shown, problems=problems, status=422)
    try:
        return await _create(request, snippet_type, name, dumps(content))
    except ReedError as error:
        found = _placed(shown, error)
        return _page(request, snippet_type, name, shown=shown, problems=found, status=status_of(error))


async def _create_from_json(request: Request, snippet_type: str, name: str, text: str) -> Response:
    text = text.replace("\r\n", "\n")
    problems = name_problems(name)
    try:
        loads(text)
    except Malformed as error:
        problems["content"] = [error.message.removeprefix("JSON: ")]
    if problems:
        return _page(request, snippet_type, name, text=text, problems=problems, status=422)
    try:
        return await _create(request, snippet_type, name, text)
    except ReedError as error:
        found = _placed(await _form(request, snippet_type, None), error)
        return _page(request, snippet_type, name, text=text, problems=found, status=status_of(error))


async def _create(request: Request, snippet_type: str, name: str, text: str) -> Response:
    web = context_of(request)
    snippet_id = await web.ask(request, Client.snippet_create, snippet_type, name, text.encode())
    return web.redirect(request, f"/content/snippets/{snippet_id}", "created")


def name_problems(name: str) -> Problems:
    return {} if not name or is_semantic_name(name) else {"name": [f"expected {_SHAPE}"]}


def _placed(shown: Field, error: ReedError) -> Problems:
    if error.message.startswith(_NAME_IN_USE):
        return {"name": [str(error)]}
    return form_errors.placed(shown, str(error))


async def _form(request: Request, snippet_type: str, submitted: dict[str, str] | None) -> Field:
    return form(await definition_of(request, snippet_type), ABSENT, submitted)


def _page(
    request: Request,
    snippet_type: str,
    name: str = "",
    *,
    shown: Field | None = None,
    text: str = "",
    problems: Problems | None = None,
    status: int = 200,
    focus: str = "",
) -> Response:
    problems = problems or {}
    return context_of(request).render(
        request,
        "new.html",
        status=status,
        type=snippet_type,
        name=name,
        form=shown,
        text=text,
        problems=problems,
        summary=summary_of(shown, problems),
        focus=focus,
        control_id=control_id,
        origin=ORIGIN,
    )


ROUTES = [Route("/content/new", show), Route("/content/new", create, methods=["POST"])]
