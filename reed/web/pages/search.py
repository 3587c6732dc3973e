"""Search: hits for words and phrases, with the words marked in their excerpts."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import CallError
from reed.web.context import context_of, number_of, status_of
from reed.web.definitions import type_names
from reed.web.marks import marked
from reed.web.titles import title_of
from reed.wire.search import SearchPage

PAGE_SIZE = 20
MAX_PAGE = 4999  # the core counts hits up to 100,000


async def show(request: Request) -> Response:
    web = context_of(request)
    given = request.query_params
    query, snippet_type = given.get("q", ""), given.get("type", "")
    page = number_of(request, "page", most=MAX_PAGE)
    types = await type_names(request)
    found, problem, status = SearchPage(200, 0, []), "", 200
    titles: list[str] = []
    if query.strip():
        try:
            found, titles = await web.ask(request, _search, query, snippet_type, page)
        except CallError as error:
            problem, status = str(error), status_of(error)
    end = page * PAGE_SIZE + len(found.hits)
    return web.render(
        request,
        "search.html",
        status=status,
        query=query,
        type=snippet_type,
        types=types,
        total=found.total,
        hits=[(hit, title, marked(hit.excerpt, query)) for hit, title in zip(found.hits, titles, strict=True)],
        begin=page * PAGE_SIZE + 1,
        end=end,
        problem=problem,
        previous=_address(query, snippet_type, page - 1) if page else "",
        next=_address(query, snippet_type, page + 1) if end < found.total and found.hits else "",
    )


def _search(core: Client, query: str, snippet_type: str, page: int) -> tuple[SearchPage, list[str]]:
    """The hits, and a title of each, or "" where it cannot be read."""
    found = core.search(query, snippet_type, PAGE_SIZE, page * PAGE_SIZE)
    titles = []
    for hit in found.hits:
        try:
            titles.append(title_of(core.snippet_get(hit.id).content))
        except CallError:  # deleted meanwhile, or not permitted
            titles.append("")
    return found, titles


def _address(query: str, snippet_type: str, page: int) -> str:
    values = {"q": query, "type": snippet_type, "page": page}
    return "/search?" + urlencode({name: value for name, value in values.items() if value})


NAVIGATION = ("Search", "/search")
ROUTES = [Route("/search", show)]
