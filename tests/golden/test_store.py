"""Texts of the store's errors, word for word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reed.errors import CallError
from reed.store.sqlite.store import SqliteStore
from tests.inline_store import inline_store

PAGE = {
    "schema": {
        "properties": {"title": {"type": "string"}, "keywords": {"items": {"type": "string"}}},
        "required": ["title"],
    }
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Types page, note and folder; notes a > b > c."""
    store = inline_store(tmp_path / "content.db")
    for name, definition in ("page", PAGE), ("note", {}), ("folder", {"composed_of": ["page", "folder"]}):
        call(store, "define", name, definition)
    call(store, "define", "leaf", {"composed_of": []})
    call(store, "define", "book", {"max_depth": 0})
    call(store, "create", "page", "blog/intro", {"title": "a"})
    for name in ("a", "b", "c"):
        call(store, "create", "note", name, {})
    for name in ("folder", "leaf", "book"):
        call(store, "create", name, name, {})
    call(store, "bond", "a", "b", 0, "")
    call(store, "bond", "b", "c", 0, "")
    yield store
    store.close()


def call(store: SqliteStore, operation: str, *args: Any) -> Any:
    values: list[Any] = []
    errors: list[CallError] = []
    encoded = [json.dumps(arg).encode() if isinstance(arg, dict) else arg for arg in args]
    getattr(store, operation)(*encoded, values.append, errors.append)
    store.commit()
    if errors:
        raise errors[0]
    return values[0]


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (("create", "pag", "", {"title": "a"}), "type 'pag' is not defined; did you mean 'page'?"),
        (
            ("create", "video", "", {}),
            "type 'video' is not defined; define it: reed registry define video --file video.json",
        ),
        (
            ("create", "page", "", {"title": "a", "keywords": ["x", 5]}),
            "the content does not fit its type 'page': $.keywords[1]: 5 is not of type \"string\";"
            " `reed registry get page` shows what is expected",
        ),
        (
            ("create", "note", "blog/intro", {}),
            "the name 'blog/intro' is in use by ID; choose another, or update that snippet",
        ),
        (("get", "blog/intor"), "no snippet 'blog/intor'; did you mean 'blog/intro'?"),
        (("get", "ü"), "no snippet 'ü'; `reed snippet list` shows what there is"),
        (
            ("update", "a", 7, {}),
            "a has version 1, not 7: it was changed meanwhile; read it again and repeat the change",
        ),
        (("update", "a", 0, b"5"), "the patch is a number: the content must stay an object; send a JSON Merge Patch"),
        (("page", "", "", 1001), "limit 1001; at most 1000; use the cursor for more"),
        (("page", "", "intro", 1), "after: 'intro' is not an id; send the cursor of the page before"),
        (("page", "pge", "", 1), "no type 'pge'; did you mean 'page'?"),
        (("search", "-", "", 0, 0), "the query has no word to search for; search for letters or digits"),
        (
            ("search", "a", "", 1, 100_000),
            "offset 100000; offset + limit is at most 100000; narrow the query",
        ),
        (("bond", "c", "a", 0, ""), "this bond would close a cycle: c > a > b > c"),
        (("bond", "a", "a", 0, ""), "a cannot be its own parent"),
        (("bond", "a", "b", 0, ""), "a and b are already bonded; unbond them first to change weight or path"),
        (("unbond", "b", "a"), "a is not a child of b; `reed schema tree` shows the bonds there are"),
        (("delete", "a", False), "a has bonds; delete with cascade (--cascade) to remove them too"),
        (
            ("bond", "folder", "a", 0, ""),
            "a snippet of type 'folder' cannot have children of type 'note'; composed_of of 'folder' allows:"
            " folder, page",
        ),
        (
            ("bond", "leaf", "a", 0, ""),
            "a snippet of type 'leaf' cannot have children of type 'note'; composed_of of 'leaf' allows: none",
        ),
        (
            ("bond", "book", "a", 0, ""),
            "book would get more than 0 levels below it; max_depth of its type 'book'",
        ),
        (("define", "x", {"descripton": "x"}), "type 'x': unknown key 'descripton'; did you mean 'description'?"),
        (("define", "x", {"description": 5}), "type 'x': description: expected a string, found a number"),
        (
            ("define", "x", {"schema": {"$ref": "other.json"}}),
            "type 'x': schema: .*; a schema may refer to its own parts only (#/…)",
        ),
        (
            ("define", "x", {"searchable": ["title"]}),
            "type 'x': searchable: expected an object of weights by field, found an array",
        ),
        (
            ("define", "x", {"searchable": {"title": 0}}),
            "type 'x': searchable.title: expected a weight above 0, found 0",
        ),
        (
            ("define", "x", {"composed_of": ["note", "A b"]}),
            "type 'x': composed_of[1]: \"A b\" is not a type name; expected a-z, then a-z 0-9 -",
        ),
        (("define", "x", {"max_depth": -1}), "type 'x': max_depth: expected a whole number, 0 or more, found -1"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_refused_operations(store: SqliteStore, operation: tuple[Any, ...], text: str) -> None:
    with pytest.raises(CallError) as caught:
        call(store, *operation)
    pattern = re.escape(text).replace("ID", "[0-9a-f-]{36}").replace(r"\.\*", ".*")
    assert re.fullmatch(pattern, str(caught.value)), str(caught.value)


def test_opening(tmp_path: Path) -> None:
    path = tmp_path / "content.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(CallError) as caught:
        inline_store(path)
    assert str(caught.value) == f"{path} is not a database; move it away, or use another data folder (--data-dir)"
    path.unlink()
    store = inline_store(path)
    with pytest.raises(CallError) as caught:
        inline_store(path)
    assert str(caught.value) == f"another core holds the store {path}; stop it: reed stop"
    store.close()
