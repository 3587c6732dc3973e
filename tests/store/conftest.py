"""Shared by contract/, which runs over every store, and sqlite/. The modules beside this file are imported by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # harness, late_store, model, stores


@pytest.fixture(scope="session")
def page_type() -> dict:
    return {
        "description": "A page of a site",
        "schema": {
            "type": "object",
            "properties": {
                "title": {"type": "string", "minLength": 1},
                "keywords": {"type": "array", "items": {"type": "string"}},
                "body": {"type": "string"},
            },
            "required": ["title"],
        },
        "searchable": {"title": 10, "description": 5, "keywords": 4, "body": 1},
    }


@pytest.fixture
def driver(open_store, page_type):
    """An empty store with a searchable type `page` and a type `note` without a schema."""
    driver = open_store()
    driver.define("page", page_type)
    driver.define("note", {})
    return driver


@pytest.fixture(scope="session")
def pages() -> list[bytes]:
    """The contents of 942 real pages."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "pages.jsonl"
    path = Path(os.environ.get("REED_PAGES", beside))
    if not path.exists():
        pytest.skip(f"no real pages at {path}: name them in REED_PAGES")
    return path.read_bytes().splitlines()
