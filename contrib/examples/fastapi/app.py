"""Notes over HTTP: FastAPI lists, shows, creates and searches snippets of a reed core.

requests ── FastAPI ── one AsyncClient, which pipelines their calls ── core.sock ── core
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from reed.client.aio import AsyncClient
from reed.errors import CallError, ReedError
from reed.wire.snippets import Record

NOTE = {
    "schema": {
        "type": "object",
        "required": ["title", "body"],
        "properties": {"title": {"type": "string", "minLength": 1}, "body": {"type": "string"}},
    },
    "searchable": {"title": 3, "body": 1},
}


class Note(BaseModel):
    name: str = ""  # such as "garden/tomatoes"
    title: str
    body: str = ""


def as_json(record: Record) -> dict[str, Any]:
    return {"id": record.id, "name": record.name, "version": record.version, **record.json()}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncClient() as core:  # in REED_RUNTIME_DIR
        await core.registry_define("note", NOTE)
        app.state.core = core
        yield


def core_of(request: Request) -> AsyncClient:
    found: AsyncClient = request.app.state.core
    return found


Core = Annotated[AsyncClient, Depends(core_of)]
app = FastAPI(title="Notes", lifespan=lifespan)


@app.get("/notes")
async def list_notes(core: Core, after: str = "", limit: Annotated[int, Query(ge=1, le=100)] = 20) -> dict[str, Any]:
    """A page of notes, and where the next one begins."""
    page = await core.snippet_list("note", after, limit)
    return {"notes": [as_json(record) for record in page.records], "next": page.cursor}


@app.post("/notes", status_code=201)
async def create_note(core: Core, note: Note) -> dict[str, str]:
    return {"id": await core.snippet_create("note", note.name, note.model_dump(exclude={"name"}))}


@app.get("/notes/{ref:path}")
async def show_note(core: Core, ref: str) -> dict[str, Any]:
    """By name, or by id."""
    return as_json(await core.snippet_get(ref))


@app.get("/search")
async def search(core: Core, q: str) -> list[dict[str, Any]]:
    return [{"name": hit.semantic_name, "excerpt": hit.excerpt} for hit in (await core.search(q, "note")).hits]


@app.exception_handler(ReedError)
async def refused(_: Request, error: ReedError) -> JSONResponse:
    """What the core refuses has the status of HTTP: 404, 409, 422. Without a core: 503."""
    return JSONResponse({"error": str(error)}, error.status if isinstance(error, CallError) else 503)
