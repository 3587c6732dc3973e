"""A snippet: as a form and as JSON, saved with its version checked; renamed, deleted, and restored.

    GET form ── hidden: version, base ── POST ── patch(base, typed) ── SNIPPET_UPDATE if_version
                                                                       ├─ 200   the page again
                                                                       ├─ 409   another version: pages/conflict.py
                                                                       └─ 422   the form again, errors at their fields

A page carries what it began with, so nothing is kept between two requests.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reed.client import Client
from reed.errors import CallError, Conflict, Malformed, NotFound, ReedError
from reed.web.arrangement import Place, bonds_of
from reed.web.context import Form, context_of, field_of, form_of, ref_of, status_of
from reed.web.definitions import definition_of
from reed.web.form_page import filled, json_problem, placed, values_of
from reed.web.form_schema import Kind
from reed.web.forms import Field, Problems, form
from reed.web.pages import conflict
from reed.wire.exact_json import Json, dumps, load_object, loads, patch
from reed.wire.snippets import Record

MAX_EDITED = 1024 * 1024  # bytes of a content that a page can change; it is sent several times
_MAX_SHOWN = 256 * 1024  # characters of a longer one


class Draft(NamedTuple):
    """What a person is editing. `base` is the content that the page began with, `version` its version."""

    record: Record
    base: Json
    version: int


async def show(request: Request, problems: Problems | None = None, status: int = 200) -> Response:
    """The page of the snippet as it is."""
    record = await _record(request)
    if len(record.content) > MAX_EDITED:
        text = bytes(record.content[:_MAX_SHOWN]).decode("utf-8", "replace")
        return await _page(request, Draft(record, {}, record.version), "too-long", text=text, problems=problems)
    draft = Draft(record, loads(bytes(record.content)), record.version)
    if request.url.path.endswith("/json"):
        return await _page(request, draft, "json", text=dumps(draft.base, 2))
    shown_form = form(await definition_of(request, record.snippet_type), draft.base)
    return await _page(request, draft, "form", shown=shown_form, problems=problems, status=status)


async def save_form(request: Request) -> Response:
    sent = form_of(request)
    draft = await _draft(request, sent)
    definition = await definition_of(request, draft.record.snippet_type)
    shown_form, content, problems, focus = filled(definition, draft.base, sent)
    if focus:
        return await _page(request, draft, "form", shown=shown_form, focus=focus)
    if problems:
        return await _page(request, draft, "form", shown=shown_form, problems=problems, status=422)

    async def refused(error: ReedError) -> Response:
        found = placed(shown_form, str(error))
        lost = content if isinstance(error, NotFound) else None
        return await _page(request, draft, "form", shown=shown_form, problems=found, status=status_of(error), lost=lost)

    return await _save(request, draft, content, refused)


async def save_json(request: Request) -> Response:
    draft = await _draft(request, form_of(request))
    text = field_of(request, "content")

    async def refused(error: ReedError) -> Response:
        found = placed(form({}, draft.base), str(error)) if not isinstance(error, Malformed) else {}
        found = found or json_problem(error)
        return await _page(request, draft, "json", text=text, problems=found, status=status_of(error))

    try:
        content = load_object(text.encode())
    except Malformed as error:
        return await refused(error)
    return await _save(request, draft, content, refused)


async def _save(
    request: Request, draft: Draft, content: Json, refused: Callable[[ReedError], Awaitable[Response]]
) -> Response:
    """Write the changes; `refused` makes the page of an error."""
    web = context_of(request)
    record = draft.record
    try:
        change = patch(draft.base, content)
        if not change:
            return web.redirect(request, request.url.path, "nothing was changed")
        await web.ask(request, Client.snippet_update, record.id, dumps(change).encode(), draft.version)
    except Conflict as error:
        now = await web.ask(request, Client.snippet_get, record.id)
        if now.version != draft.version:
            return conflict.page(request, conflict.Clash(draft.base, content, now), status=409)
        return await refused(error)
    except ReedError as error:
        return await refused(error)
    return web.redirect(request, request.url.path, f"saved as version {draft.version + 1}")


async def _page(
    request: Request,
    draft: Draft,
    tab: str,
    *,
    shown: Field | None = None,
    text: str = "",
    problems: Problems | None = None,
    status: int = 200,
    focus: str = "",
    lost: Json = None,
) -> Response:
    """The page of a snippet; `focus` is the pointer of the control to go to, `lost` a content that cannot be saved."""
    web = context_of(request)
    try:
        tree = await web.ask(request, Client.schema_tree, draft.record.id, 1)
    except CallError:  # not permitted, or deleted
        tree = {"children": []}
    is_json = shown is not None and shown.kind == Kind.JSON
    return web.render(
        request,
        "snippet.html",
        status=status,
        record=draft.record,
        seen_version=draft.version,
        base=dumps(draft.base),
        tab="json" if is_json else tab,
        text=text or (dumps(draft.base, 2) if is_json else ""),
        children=tree["children"],
        lost=None if lost is None else dumps(lost),
        **values_of(shown, problems or {}, focus),
    )


async def _record(request: Request) -> Record:
    found: Record = await context_of(request).ask(request, Client.snippet_get, request.path_params["id"])
    return found


async def _draft(request: Request, sent: Form) -> Draft:
    """What the page that was sent began with. A snippet that was deleted meanwhile is known by the page only."""
    base, version = loads(field_of(request, "base")), field_of(request, "version")
    if not isinstance(base, dict) or not version.isdecimal() or len(version) > 10:
        raise Malformed("the form is incomplete", hint="reload the page and send it again")
    try:
        record = await _record(request)
    except NotFound:
        snippet_id, snippet_type = request.path_params["id"], field_of(request, "type")
        record = Record(snippet_id, snippet_type, sent.get("name", ""), int(version), 0, 0, b"{}")
    return Draft(record, base, int(version))


# Rename, delete, restore.


async def rename(request: Request) -> Response:
    web = context_of(request)
    snippet_id = request.path_params["id"]
    name = ref_of(field_of(request, "name"))
    try:
        await web.ask(request, Client.snippet_rename, snippet_id, name)
    except CallError as error:
        return await show(request, problems={"name": [str(error)]}, status=status_of(error))
    return web.redirect(request, f"/content/snippets/{snippet_id}", f"renamed to {name}" if name else "name removed")


async def ask_delete(request: Request) -> Response:
    web = context_of(request)
    record = await _record(request)
    bonds = await web.ask(request, _bonds, record.id)
    return web.render(request, "delete.html", record=record, bonds=bonds)


async def delete(request: Request) -> Response:
    """Delete, and offer to undo it: the page has all that was deleted."""
    web = context_of(request)
    cascade = form_of(request).get("cascade") == "1"
    record, bonds = await web.ask(request, _delete, request.path_params["id"], cascade)
    content = bytes(record.content).decode()
    return web.render(
        request,
        "deleted.html",
        record=record,
        content=content if len(content) <= MAX_EDITED else None,
        bonds=json.dumps([[parent, *place] for parent, place in bonds]),
        bond_count=len(bonds),
    )


def _delete(core: Client, ref: str, cascade: bool) -> tuple[Record, list[tuple[str, Place]]]:
    record = core.snippet_get(ref)
    bonds = (_bonds(core, record.id) or []) if cascade else []
    core.snippet_delete(record.id, cascade=cascade)
    return record, bonds


def _bonds(core: Client, snippet_id: str) -> list[tuple[str, Place]] | None:
    """All bonds of a snippet, with their parents; None if there are too many to look through, or that is denied."""
    try:
        return bonds_of(core.schema_tree(), snippet_id)
    except CallError:
        return None


async def restore(request: Request) -> Response:
    web = context_of(request)
    sent = form_of(request)
    snippet_id, snippet_type, name = (field_of(request, name) for name in ("id", "type", "name"))
    try:
        version, created, updated = (int(field_of(request, name)) for name in ("version", "created_at", "updated_at"))
        bonds = [(parent, Place(*place)) for parent, *place in json.loads(sent.get("bonds", "[]"))]
        content = field_of(request, "content").encode()
        record = Record(snippet_id, snippet_type, name, version, created, updated, content)
    except (ValueError, TypeError):
        raise Malformed("the form is incomplete", hint="nothing was restored") from None
    missing = await web.ask(request, _restore, record, bonds)
    notice = "restored" if not missing else f"restored, without {len(missing)} of its bonds: {missing[0]}"
    return web.redirect(request, f"/content/snippets/{record.id}", notice)


def _restore(core: Client, record: Record, bonds: list[tuple[str, Place]]) -> list[str]:
    """Returns why bonds could not be restored."""
    core.snippet_restore(record)
    missing = []
    for parent, place in bonds:
        try:
            core.schema_bond(parent, place.child, place.weight, place.path)
        except CallError as error:
            missing.append(error.message)
    return missing


_PATH = "/content/snippets/{id}"
ROUTES = [
    Route(_PATH, show),
    Route(_PATH, save_form, methods=["POST"]),
    Route(f"{_PATH}/json", show),
    Route(f"{_PATH}/json", save_json, methods=["POST"]),
    Route(f"{_PATH}/rename", rename, methods=["POST"]),
    Route(f"{_PATH}/delete", ask_delete),
    Route(f"{_PATH}/delete", delete, methods=["POST"]),
    Route("/content/restore", restore, methods=["POST"]),
]
