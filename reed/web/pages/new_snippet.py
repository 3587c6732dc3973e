"""A new snippet, as a form with the defaults of its type, or as JSON."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import Malformed, ReedError
from reed.web.context import context_of, field_of, form_of, ref_of, status_of
from reed.web.definitions import definition_of, type_names
from reed.web.form_page import filled, json_problem, placed, values_of
from reed.web.forms import Field, Problems, content_of, form
from reed.wire.exact_json import ABSENT, dumps, loads
from reed.wire.identifiers import is_semantic_name

_NAME_IN_USE = "the name "  # begins the error of the core
_SHAPE = "A-Z a-z 0-9 _, then also . / -, at most 31 characters"


async def show(request: Request) -> Response:
    given = request.query_params
    snippet_type = given.get("type", "")
    if not snippet_type:
        return context_of(request).render(request, "choose-type.html", types=await type_names(request))
    shown = await _form(request, snippet_type)
    if given.get("as") == "json":
        return _page(request, snippet_type, text=dumps(content_of(shown)[0], 2))
    return _page(request, snippet_type, shown=shown)


async def create(request: Request) -> Response:
    sent = form_of(request)
    snippet_type, name = field_of(request, "type"), ref_of(sent.get("name", ""))
    if "content" in sent:
        return await _create_from_json(request, snippet_type, name, sent["content"])
    shown, content, problems, focus = filled(await definition_of(request, snippet_type), ABSENT, sent)
    problems |= name_problems(name)
    if focus:
        return _page(request, snippet_type, name, shown=shown, focus=focus)
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
        problems |= json_problem(error)
    if problems:
        return _page(request, snippet_type, name, text=text, problems=problems, status=422)
    try:
        return await _create(request, snippet_type, name, text)
    except ReedError as error:
        found = _placed(await _form(request, snippet_type), error)
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
    return placed(shown, str(error))


async def _form(request: Request, snippet_type: str) -> Field:
    return form(await definition_of(request, snippet_type), ABSENT)


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
    return context_of(request).render(
        request,
        "new.html",
        status=status,
        type=snippet_type,
        name=name,
        text=text,
        **values_of(shown, problems or {}, focus),
    )


ROUTES = [Route("/content/new", show), Route("/content/new", create, methods=["POST"])]
