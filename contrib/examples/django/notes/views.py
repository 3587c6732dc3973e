"""List, create, show and search notes, as JSON; and a page of them for a browser."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods

from notes.core import as_json, connect


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    with connect() as core:
        return render(request, "notes/index.html", {"notes": [as_json(record) for record in core.snippets("note")]})


@require_http_methods(["GET", "POST"])
def notes(request: HttpRequest) -> JsonResponse:
    """GET: a page of notes, and where the next one begins. POST: a new note."""
    with connect() as core:
        if request.method == "GET":
            page = core.snippet_list("note", request.GET.get("after", ""), 20)
            return JsonResponse({"notes": [as_json(record) for record in page.records], "next": page.cursor})
        try:
            content = json.loads(request.body)
            name = content.pop("name", "")
        except (ValueError, AttributeError):
            return JsonResponse({"error": "expected a JSON object with title and body"}, status=400)
        return JsonResponse({"id": core.snippet_create("note", name, content)}, status=201)


@require_GET
def note(_: HttpRequest, ref: str) -> JsonResponse:
    """By name, or by id."""
    with connect() as core:
        return JsonResponse(as_json(core.snippet_get(ref)))


@require_GET
def search(request: HttpRequest) -> JsonResponse:
    with connect() as core:
        hits = core.search(request.GET.get("q", ""), "note").hits
    return JsonResponse({"hits": [{"name": hit.semantic_name, "excerpt": hit.excerpt} for hit in hits]})
