"""Notes over HTTP: FastAPI lists, shows, creates and searches snippets of a reed core.

    request ── FastAPI ── a thread of its pool ── Client ── core.sock ── core

A Client is one connection for one thread, so each request opens its own, which takes some 0.1 ms.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from reed.client import Client
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
    return {"id": record.id, "name": record.semantic_name, "version": record.version, **json.loads(record.content)}


def define_types() -> None:
    with Client() as core:  # in REED_RUNTIME_DIR
        core.registry_define("note", NOTE)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await run_in_threadpool(define_types)
    yield


def connect() -> Iterator[Client]:
    with Client() as core:
        yield core


Core = Annotated[Client, Depends(connect)]
app = FastAPI(title="Notes", lifespan=lifespan)


@app.get("/notes")
def list_notes(core: Core, after: str = "", limit: Annotated[int, Query(ge=1, le=100)] = 20) -> dict[str, Any]:
    """A page of notes, and where the next one begins."""
    page = core.snippet_list("note", after, limit)
    return {"notes": [as_json(record) for record in page.records], "next": page.cursor}


@app.post("/notes", status_code=201)
def create_note(core: Core, note: Note) -> dict[str, str]:
    return {"id": core.snippet_create("note", note.name, note.model_dump(exclude={"name"}))}


@app.get("/notes/{ref:path}")
def show_note(core: Core, ref: str) -> dict[str, Any]:
    """By name, or by id."""
    return as_json(core.snippet_get(ref))


@app.get("/search")
def search(core: Core, q: str) -> list[dict[str, Any]]:
    return [{"name": hit.semantic_name, "excerpt": hit.excerpt} for hit in core.search(q, "note").hits]


@app.exception_handler(ReedError)
def refused(_: Request, error: ReedError) -> JSONResponse:
    """What the core refuses has the status of HTTP: 404, 409, 422. Without a core: 503."""
    return JSONResponse({"error": str(error)}, error.status if isinstance(error, CallError) else 503)
