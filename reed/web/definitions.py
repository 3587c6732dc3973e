"""The types of content as pages need them. Somebody who may not read types still reads and edits snippets."""

from __future__ import annotations

from starlette.requests import Request

from reed.client import Client
from reed.errors import PermissionDenied
from reed.web.context import context_of
from reed.wire.exact_json import Json, loads


async def type_names(request: Request) -> list[str]:
    """All of them; none if they may not be read."""
    try:
        return [name for name, _ in await context_of(request).ask(request, Client.registry_list)]
    except PermissionDenied:
        return []


async def definition_of(request: Request, snippet_type: str) -> Json:
    """{} if it may not be read: then a form shows what the content has. Raises NotFound."""
    try:
        found = await context_of(request).ask(request, Client.registry_get, snippet_type)
    except PermissionDenied:
        return {}
    return loads(bytes(found.definition))
