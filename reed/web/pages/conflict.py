"""A version conflict: both versions value by value, and what is to be saved of each."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import CallError, Conflict, Malformed
from reed.web.context import context_of, field_of, form_of, status_of
from reed.web.differences import Difference, Line, Side, changed_lines, differences, resolved
from reed.wire.exact_json import ABSENT, Json, dumps, loads, patch, shown
from reed.wire.snippets import Record

CHOOSE = "choose:"  # and a pointer: the name of a choice
_LONG = 80  # characters; longer texts are compared line by line
_SAYS = {
    Side.MINE: "only you changed it",
    Side.THEIRS: "only they changed it",
    Side.BOTH: "both changed it",
    Side.UNKNOWN: "",
}


class Clash(NamedTuple):
    """`now` is the snippet as the core has it."""

    base: Json
    mine: Json
    now: Record


class Row(NamedTuple):
    pointer: str
    label: str
    says: str
    choice: str  # what is chosen so far
    mine: str | None  # JSON or text; None: it is not there
    theirs: str | None
    lines: list[Line]  # from theirs to mine, if both are long texts
    is_missing: bool  # a choice that has to be made


def page(
    request: Request, clash: Clash, *, status: int, choices: dict[str, str] | None = None, problem: str = ""
) -> Response:
    web = context_of(request)
    found = differences(clash.base, clash.mine, loads(bytes(clash.now.content)))
    chosen = choices or {}
    rows = [_row(each, chosen.get(each.pointer, each.suggested), asked=choices is not None) for each in found]
    return web.render(
        request,
        "conflict.html",
        status=status,
        record=clash.now,
        rows=rows,
        base=dumps(clash.base),
        mine=dumps(clash.mine),
        choose=CHOOSE,
        problem=problem,
        open_choices=sum(not row.choice for row in rows),
    )


async def resolve(request: Request) -> Response:
    web = context_of(request)
    sent = form_of(request)
    base, mine = loads(field_of(request, "base")), loads(field_of(request, "mine"))
    if not isinstance(base, dict) or not isinstance(mine, dict):
        raise Malformed("the form is incomplete", hint="reload the snippet")
    now = await web.ask(request, Client.snippet_get, request.path_params["id"])
    clash = Clash(base, mine, now)
    if str(now.version) != field_of(request, "version"):
        return page(request, clash, status=409, problem="It was changed again: these are the differences now.")
    theirs = loads(bytes(now.content))
    found = differences(base, mine, theirs)
    choices = {name.removeprefix(CHOOSE): sent[name] for name in sent if name.startswith(CHOOSE)}
    if sent.get("action") == "mine":
        choices = {each.pointer: "mine" for each in found}
    content, undecided = resolved(found, theirs, choices)
    if undecided:
        problem = f"Choose one version of: {', '.join(map(shown, undecided))}."
        return page(request, clash, status=422, choices=choices, problem=problem)
    return await _save(request, clash, content, choices)


async def _save(request: Request, clash: Clash, content: Json, choices: dict[str, str]) -> Response:
    web = context_of(request)
    now = clash.now
    path = f"/content/snippets/{now.id}"
    try:
        change = patch(loads(bytes(now.content)), content)
        if not change:
            return web.redirect(request, path, f"version {now.version} stays as it is")
        await web.ask(request, Client.snippet_update, now.id, dumps(change).encode(), now.version)
    except Conflict as error:
        later = await web.ask(request, Client.snippet_get, now.id)
        is_later = later.version != now.version
        problem = "It was changed again: these are the differences now." if is_later else str(error)
        return page(request, clash._replace(now=later), status=409, choices=choices, problem=problem)
    except CallError as error:
        return page(request, clash, status=status_of(error), choices=choices, problem=str(error))
    return web.redirect(request, path, f"saved as version {now.version + 1}")


def _row(difference: Difference, choice: str, *, asked: bool) -> Row:
    mine, theirs = difference.mine, difference.theirs
    lines: list[Line] = []
    if isinstance(mine, str) and isinstance(theirs, str) and (len(mine) + len(theirs) > _LONG or "\n" in mine + theirs):
        lines = changed_lines(theirs, mine)
    return Row(
        pointer=difference.pointer,
        label=shown(difference.pointer) or "the whole content",
        says=_SAYS[difference.side],
        choice=choice if choice in {"mine", "theirs"} else "",
        mine=_text(mine),
        theirs=_text(theirs),
        lines=lines,
        is_missing=asked and choice not in {"mine", "theirs"},
    )


def _text(value: Json) -> str | None:
    if value is ABSENT:
        return None
    return value if isinstance(value, str) and value else dumps(value, 2)


ROUTES = [Route("/content/snippets/{id}/resolve", resolve, methods=["POST"])]
