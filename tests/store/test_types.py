"""Definitions: what they may say, and what they check (protocol.md#types; store.md#content)."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reed.errors import Invalid, Malformed, NotFound
from reed.store.types import compile_type


def test_a_definition_comes_back_as_it_came(driver, open_store):
    text = (
        b'{ "description": "x",\n "schema": {"type":"object"}, "composed_of":["note"], "max_depth":3, "routable":true }'
    )
    assert driver.define("article", text) is True
    assert driver.define("article", text) is False
    assert driver.definition("article") == ("article", text)
    assert [name for name, _ in driver.definitions()] == ["article", "note", "page"]
    driver.store.close()
    assert open_store().definition("article") == ("article", text)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"descripton": "x"}, "type 'x': unknown key 'descripton'; did you mean 'description'?"),
        ({"foo": 1}, "unknown key 'foo'; expected one of description, schema"),
        ({"description": 5}, "type 'x': description: expected a string, found a number"),
        ({"schema": 5}, "schema: expected a JSON Schema, found a number"),
        ({"schema": {"type": "strin"}}, 'schema.type: "strin" is not'),
        ({"schema": {"pattern": "("}}, 'schema.pattern: "(" is not a "regex"'),
        ({"schema": {"$ref": "#/$defs/none"}}, "schema: Pointer '/$defs/none' does not exist"),
        ({"schema": {"$ref": "http://localhost/x.json"}}, "a schema may refer to its own parts only"),
        ({"schema": {"properties": {"a": {"$ref": "file:///etc/passwd"}}}}, "a schema may refer to its own parts only"),
        ({"schema": {"$ref": "other.json"}}, "a schema may refer to its own parts only"),
        ({"schema": {"$schema": "http://example.com/mine"}}, "Unknown meta-schema"),
        ({"searchable": ["title"]}, "searchable: expected an object of weights by field, found an array"),
        ({"searchable": {"title": 0}}, "searchable.title: expected a weight above 0, found 0"),
        ({"searchable": {"title": True}}, "searchable.title: expected a weight above 0, found true"),
        ({"composed_of": "note"}, "composed_of: expected an array of type names, found a string"),
        ({"composed_of": ["note", "A b"]}, 'composed_of[1]: "A b" is not a type name'),
        ({"max_depth": -1}, "max_depth: expected a whole number from 0 on, found -1"),
        ({"max_depth": 1.5}, "max_depth: expected a whole number from 0 on, found 1.5"),
        ({"routable": "yes"}, "routable: expected true or false, found a string"),
    ],
)
def test_a_definition_that_is_none(driver, definition, words):
    with pytest.raises(Invalid) as caught:
        driver.define("x", definition)
    assert words in str(caught.value)
    with pytest.raises(NotFound):
        driver.definition("x")


def test_a_definition_that_is_no_json_object(driver):
    for text in (b"", b"[]", b"{", b'{"description":"a","description":"b"}'):
        with pytest.raises(Malformed):
            driver.define("x", text)
    with pytest.raises(Malformed, match="'X' is not a type name"):
        driver.define("X", {})


def test_a_type_that_is_not_there_names_its_neighbour(driver):
    with pytest.raises(NotFound, match="no type 'pge'; did you mean 'page'"):
        driver.definition("pge")


def test_redefining_leaves_snippets_and_checks_later_writes(driver):
    driver.create("note", "old", {"n": 1})
    driver.define("note", {"schema": {"required": ["title"]}})
    assert driver.get("old").content == b'{"n": 1}'
    with pytest.raises(Invalid, match="title"):
        driver.create("note", "", {"n": 1})
    with pytest.raises(Invalid, match="title"):
        driver.update("old", 0, {"n": 2})
    driver.update("old", 0, {"n": 2, "title": "x"})


def test_formats_are_checked_and_references_within_work(driver):
    schema = {"$defs": {"mail": {"type": "string", "format": "email"}}, "properties": {"to": {"$ref": "#/$defs/mail"}}}
    driver.define("letter", {"schema": schema})
    driver.create("letter", "", {"to": "a@example.com"})
    with pytest.raises(Invalid, match=r"\$\.to: .* is not a"):
        driver.create("letter", "", {"to": "nobody"})


def test_a_schema_without_end_ends(driver):
    driver.define("loop", {"schema": {"allOf": [{"$ref": "#"}], "properties": {"a": {"$ref": "#"}}}})
    driver.create("loop", "", {"a": {"a": {"a": {}}}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=8,
)
KEYWORDS = st.sampled_from(
    ["type", "properties", "required", "items", "not", "if", "then", "enum", "const", "pattern", "format", "$id"]
) | st.sampled_from(["$ref", "$defs", "$schema", "$anchor", "$dynamicRef", "allOf", "anyOf", "minimum", "contains"])
SCHEMAS = st.recursive(
    JSON,
    lambda part: st.dictionaries(KEYWORDS, part | st.sampled_from(["#", "string", "(a+)+$", "#/$defs"]), max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS, st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_any_schema_is_taken_or_refused_and_then_checks_any_content(schema, content):
    try:
        kind = compile_type("x", json.dumps({"schema": schema}).encode())
    except (Invalid, Malformed):
        return
    with contextlib.suppress(Invalid):
        kind.check(content)
