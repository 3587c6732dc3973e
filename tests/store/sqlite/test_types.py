"""Types of older stores."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from reed.errors import Invalid


def doubled(levels: int) -> dict:
    definitions = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": {**definitions, f"l{levels}": {"type": "string"}}}


def test_a_stored_type_that_is_too_heavy_is_switched_off_and_the_rest_of_the_store_works(open_store):
    """An older core accepted it. Its snippets can be read; a new definition switches it on again."""
    driver = open_store()
    driver.define("heavy", {"schema": {"type": "object"}, "searchable": {"title": 5}})
    driver.define("light", {})
    snippet = driver.create("heavy", "one", {"title": "words"})
    path = driver.store.stats()["path"]
    driver.store.close()
    with closing(sqlite3.connect(path)) as file:
        definition = json.dumps({"schema": doubled(24), "searchable": {"title": 5}}).encode()
        file.execute("UPDATE types SET definition = ? WHERE name = 'heavy'", (definition,))
        file.commit()
    driver = open_store()
    assert driver.get("one").id == snippet
    assert driver.search("words", "", 0, 0).total == 1
    assert driver.create("light", "", {})
    with pytest.raises(Invalid) as refused:
        driver.create("heavy", "", {})
    assert "registry define" in refused.value.hint
    driver.define("heavy", {"schema": {"type": "object"}})
    assert driver.create("heavy", "", {})
