"""`python3 -m pytest` in this folder: the site against a core of its own for each test."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import django
import pytest

from reed.testing import Core

os.environ["DJANGO_SETTINGS_MODULE"] = "notes.settings"
django.setup()

from django.core.management import CommandError, call_command  # noqa: E402
from django.test import Client, override_settings  # noqa: E402

LEEKS = {"name": "leeks", "title": "Leeks", "body": "Plant them <deep>."}


@pytest.fixture
def http(reed_core: Core) -> Iterator[Client]:
    with override_settings(REED_RUNTIME_DIR=reed_core.runtime_dir):
        call_command("define_types", stdout=io.StringIO())
        yield Client()


def create(http: Client, note: object) -> tuple[int, dict[str, str]]:
    answer = http.post("/notes", note, content_type="application/json")
    return answer.status_code, answer.json()


def test_a_note_is_created_listed_shown_and_found(http: Client) -> None:
    status, created = create(http, LEEKS)
    assert status == 201
    listed = http.get("/notes").json()
    assert [note["id"] for note in listed["notes"]] == [created["id"]]
    assert listed["next"] == ""
    assert http.get("/notes/leeks").json()["title"] == "Leeks"
    assert [hit["name"] for hit in http.get("/search", {"q": "plant"}).json()["hits"]] == ["leeks"]


def test_the_page_escapes_what_people_wrote(http: Client) -> None:
    assert "There are no notes yet." in http.get("/").content.decode()
    create(http, LEEKS)
    assert "<p>Plant them &lt;deep&gt;.</p>" in http.get("/").content.decode()


def test_what_the_core_refuses_has_the_status_of_http(http: Client) -> None:
    create(http, LEEKS)
    assert http.get("/notes/nothing").status_code == 404
    assert create(http, LEEKS)[0] == 409
    status, refused = create(http, {"title": "", "body": ""})
    assert (status, "title" in refused["error"]) == (422, True)
    assert create(http, "no object")[0] == 400


def test_the_command_defines_types_once(reed_core: Core) -> None:
    with override_settings(REED_RUNTIME_DIR=reed_core.runtime_dir):
        printed = io.StringIO()
        call_command("define_types", stdout=printed)
        call_command("define_types", stdout=printed)
        assert printed.getvalue().splitlines() == ["note: defined", "note: up to date"]
        reed_core.kill()
        with pytest.raises(CommandError, match="core"):
            call_command("define_types")
        assert Client().get("/notes").status_code == 503
