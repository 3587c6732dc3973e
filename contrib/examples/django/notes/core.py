"""The reed core of this site: connections to it, its types, and its errors as responses.

Django answers each request in a thread, and threads that share a Client wait for each other. So a view opens a Client
for its request, which takes some 0.1 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from reed.client import Client, core_socket
from reed.errors import CallError, ReedError
from reed.wire.snippets import Record

TYPES = {
    "note": {
        "schema": {
            "type": "object",
            "required": ["title", "body"],
            "properties": {"title": {"type": "string", "minLength": 1}, "body": {"type": "string"}},
        },
        "searchable": {"title": 3, "body": 1},
    },
}


def connect() -> Client:
    return Client(core_socket(settings.REED_RUNTIME_DIR))


def as_json(record: Record) -> dict[str, Any]:
    return {"id": record.id, "name": record.name, "version": record.version, **record.json()}


class ErrorsOfTheCore:
    """Middleware: what the core refuses has the status of HTTP: 404, 409, 422. Without a core: 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, ReedError):
            return None
        return JsonResponse({"error": str(error)}, status=error.status if isinstance(error, CallError) else 503)
