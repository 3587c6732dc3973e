"""Content: the list of snippets with its filters, and the types with their schemas."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import Malformed, NotFound
from reed.web.context import context_of, number_of, ref_of, wants_json
from reed.web.definitions import type_names
from reed.web.form_schema import Schemas, required_of, rules_of
from reed.web.pages import conflict, new_snippet, snippet, tree
from reed.web.titles import title_of
from reed.wire import strict_json
from reed.wire.exact_json import Json, Number, dumps, loads
from reed.wire.snippets import Record, conditions_of

T = TypeVar("T")

PAGE_SIZE = 50
MAX_SORTED = 2000  # snippets that are read in order to sort them; the core lists them in creation order
MAX_NAMES = 1000
_EMPTY_PARTS = 20  # of the snippets, without one that fits: then the list is shown empty, with a link to the next part
SORTS = {"": "oldest first", "updated": "changed last", "created": "newest first", "name": "by name"}


class Filter(NamedTuple):
    """What the list shows; each is a parameter of the page's address."""

    type: str
    name: str  # the beginning of a name
    where: tuple[str, ...]  # FIELD=VALUE
    sort: str
    after: str  # the cursor of the page before
    page: int  # of a sorted list, from 0

    def address(self, **changes: Any) -> str:
        values = self._replace(**changes)._asdict()
        return "/content?" + urlencode({name: value for name, value in values.items() if value}, doseq=True)


class Found(NamedTuple):
    records: list[Record]
    next_page: dict[str, Any]  # changes of the filter; {}: there is none
    note: str = ""


async def show(request: Request) -> Response:
    web = context_of(request)
    wanted = _filter_of(request)
    types = await type_names(request)
    problem, found = "", Found([], {})
    try:
        found = await web.ask(request, _find, wanted, _conditions(wanted))
    except (Malformed, NotFound) as error:
        problem = str(error)
    return web.render(
        request,
        "content.html",
        status=400 if problem else 200,
        types=types,
        wanted=wanted,
        sorts=SORTS,
        problem=problem,
        rows=[(record, title_of(record.content)) for record in found.records],
        note=found.note,
        first=wanted.address(after="", page=0) if wanted.after or wanted.page else "",
        next=wanted.address(**found.next_page) if found.next_page else "",
    )


async def open_snippet(request: Request) -> Response:
    """The page of a snippet that a person named."""
    web = context_of(request)
    record = await web.ask(request, Client.snippet_get, ref_of(request.query_params.get("name", "")))
    return web.redirect(request, f"/content/snippets/{record.id}")


async def names(request: Request) -> Response:
    """Names that begin as typed, for suggestions."""
    web = context_of(request)
    return web.json(await web.ask(request, Client.snippet_names, request.query_params.get("prefix", ""), 20))


async def list_types(request: Request) -> Response:
    web = context_of(request)
    types = await web.ask(request, Client.registry_list)
    read = [(name, loads(bytes(definition))) for name, definition in types]
    rows = [(name, definition, [row.name for row in _fields(definition)]) for name, definition in read]
    return web.render(request, "types.html", rows=rows)


async def show_type(request: Request) -> Response:
    web = context_of(request)
    name = request.path_params["name"]
    text = (await web.ask(request, Client.registry_get, name)).definition
    if wants_json(request):
        return web.json(strict_json.loads(text))
    definition = loads(bytes(text))
    return web.render(
        request,
        "type.html",
        name=name,
        definition=definition,
        fields=list(_fields(definition)),
        rules=list(_rules(definition)),
        text=dumps(definition, 2),
    )


def _filter_of(request: Request) -> Filter:
    given = request.query_params
    return Filter(
        type=given.get("type", ""),
        name=given.get("name", "").strip(),
        where=tuple(text.strip() for text in given.getlist("where") if text.strip()),
        sort=given.get("sort", "") if given.get("sort") in SORTS else "",
        after=given.get("after", ""),
        page=number_of(request, "page"),
    )


def _conditions(wanted: Filter) -> bytes | None:
    """Raises Malformed."""
    if wanted.where and not wanted.type:
        raise Malformed("a condition needs a type", hint="choose one, since fields are those of a type")
    return conditions_of(wanted.where)


def _find(core: Client, wanted: Filter, conditions: bytes | None) -> Found:
    if wanted.name:
        return _find_named(core, wanted, conditions)
    if wanted.sort:
        # One more than are sorted, to see whether there are more.
        return _sorted([*islice(core.snippets(wanted.type, 1000, conditions), MAX_SORTED + 1)], wanted)
    if conditions is None:
        page = core.snippet_list(wanted.type, wanted.after, PAGE_SIZE)
    else:
        page = core.snippet_find(wanted.type, conditions, wanted.after, PAGE_SIZE)
        for _ in range(_EMPTY_PARTS):
            if page.records or not page.cursor:
                break
            page = core.snippet_find(wanted.type, conditions, page.cursor, PAGE_SIZE)
    return Found(page.records, {"after": page.cursor} if page.cursor else {})


def _find_named(core: Client, wanted: Filter, conditions: bytes | None) -> Found:
    """Snippets whose names begin so, in the order of names."""
    if conditions is not None:
        raise Malformed("a name and conditions together", hint="use one of them")
    known = core.snippet_names(wanted.name.removeprefix("$"), MAX_NAMES)
    if wanted.type or wanted.sort not in {"", "name"}:
        records = [record for record in _named(core, known) if wanted.type in {"", record.snippet_type}]
        return _sorted(records, wanted._replace(sort=wanted.sort or "name"))
    names, next_page = _part(known, wanted)
    note = f"Only the first {MAX_NAMES} names; write more of the name." if len(known) == MAX_NAMES else ""
    return Found(_named(core, names), next_page, note)


def _named(core: Client, known: list[str]) -> list[Record]:
    records = []
    for name in known:
        try:
            records.append(core.snippet_get(name))
        except NotFound:  # deleted or renamed meanwhile
            continue
    return records


def _sorted(records: list[Record], wanted: Filter) -> Found:
    note = ""
    if len(records) > MAX_SORTED:
        note = f"Sorted are the oldest {MAX_SORTED:,} snippets only; narrow the list by type, name or condition."
        records = records[:MAX_SORTED]
    if wanted.sort == "name":
        records.sort(key=lambda record: (not record.semantic_name, record.semantic_name or record.id))
    else:
        records.sort(key=lambda r: r.created_at if wanted.sort == "created" else r.updated_at, reverse=True)
    return Found(*_part(records, wanted), note)


def _part(items: list[T], wanted: Filter) -> tuple[list[T], dict[str, Any]]:
    """The items of the page that is wanted, and the changes of the filter for the next one."""
    begin = wanted.page * PAGE_SIZE
    end = begin + PAGE_SIZE
    return items[begin:end], {"page": wanted.page + 1} if end < len(items) else {}


class FieldRow(NamedTuple):
    name: str
    kind: str
    is_required: bool
    description: str
    rules: tuple[str, ...]


def _fields(definition: dict[str, Json]) -> Iterator[FieldRow]:
    """The top-level fields of a type."""
    schemas = Schemas(definition)
    required = set(required_of(schemas.root))
    declared = schemas.root.get("properties", {})
    for name in [*declared, *sorted(required - declared.keys())]:
        schema = schemas.resolved(declared.get(name, {}))
        kind = schema.get("type", "one of" if "enum" in schema else "any")
        kind = " or ".join(kind) if isinstance(kind, list) else str(kind)
        description = schema.get("description", "")
        rules = tuple(rules_of(schema))
        if "enum" in schema:
            rules = (dumps(schema["enum"])[1:-1][:200], *rules)
        yield FieldRow(name, kind, name in required, description if isinstance(description, str) else "", rules)


def _rules(definition: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """What the definition says besides its schema: (title, text)."""
    searchable = definition.get("searchable", {})
    weights = (f"{name} {weight.text if isinstance(weight, Number) else ''}" for name, weight in searchable.items())
    yield "Searched", ", ".join(weights) or "nothing"
    yield "Indexed", ", ".join(definition.get("indexed", [])) or "nothing"
    yield "Unique", ", ".join(definition.get("unique", [])) or "nothing"
    if "composed_of" in definition:
        yield "Children", ", ".join(definition["composed_of"]) or "none"
    if "max_depth" in definition:
        yield "Levels below", definition["max_depth"].text


NAVIGATION = ("Content", "/content")
ROUTES = [
    Route("/content", show),
    Route("/content/open", open_snippet),
    Route("/content/names", names),
    Route("/content/types", list_types),
    Route("/content/types/{name}", show_type),
    *new_snippet.ROUTES,
    *snippet.ROUTES,
    *conflict.ROUTES,
    *tree.ROUTES,
]
