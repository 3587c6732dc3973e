"""`python3 -m pytest` in this folder: the program against a core of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from app import NOTE, app
from fastapi.testclient import TestClient

from reed.testing import Core

pytestmark = pytest.mark.reed_core(
    types={"note": NOTE},
    content=[
        {"type": "note", "name": "tomatoes", "content": {"title": "Tomatoes", "body": "Water them daily."}},
        {"type": "note", "name": "leeks", "content": {"title": "Leeks", "body": "Plant them deep."}},
    ],
)


@pytest.fixture
def http(reed_core: Core, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("REED_RUNTIME_DIR", str(reed_core.runtime_dir))
    with TestClient(app) as client:
        yield client


def test_notes_are_listed_page_by_page(http: TestClient) -> None:
    first = http.get("/notes", params={"limit": 1}).json()
    assert [note["title"] for note in first["notes"]] == ["Tomatoes"]
    rest = http.get("/notes", params={"after": first["next"]}).json()
    assert [note["title"] for note in rest["notes"]] == ["Leeks"]
    assert rest["next"] == ""


def test_a_note_is_created_shown_and_found(http: TestClient) -> None:
    created = http.post("/notes", json={"name": "herbs", "title": "Herbs", "body": "Basil likes the sun."})
    assert created.status_code == 201
    shown = http.get("/notes/herbs").json()
    assert (shown["id"], shown["title"], shown["version"]) == (created.json()["id"], "Herbs", 1)
    assert [hit["name"] for hit in http.get("/search", params={"q": "basil"}).json()] == ["herbs"]


def test_what_the_core_refuses_has_the_status_of_http(http: TestClient) -> None:
    assert http.get("/notes/nothing").status_code == 404
    assert http.post("/notes", json={"name": "leeks", "title": "Leeks"}).status_code == 409
    refused = http.post("/notes", json={"title": ""})
    assert refused.status_code == 422
    assert "title" in refused.json()["error"]


def test_without_a_core_the_answer_is_503(http: TestClient, reed_core: Core) -> None:
    reed_core.kill()
    assert http.get("/notes").status_code == 503
