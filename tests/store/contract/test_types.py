"""Definitions of types, and checking content against them (protocol.md#types; store.md#content)."""

from __future__ import annotations

import pytest

from reed.errors import Conflict, Invalid, Malformed, NotFound


def test_a_definition_is_returned_byte_for_byte(driver, open_store):
    text = (
        b'{ "description": "x",\n "schema": {"type":"object"}, "composed_of":["note"], "max_depth":3, "routable":true }'
    )
    assert driver.define("article", text) is True
    assert driver.define("article", text) is False
    assert driver.definition("article") == ("article", text)
    assert [name for name, _ in driver.definitions()] == ["article", "note", "page"]
    driver.close()
    assert open_store().definition("article") == ("article", text)


@pytest.mark.parametrize(
    ("definition", "place"),
    [
        ({"descripton": "x"}, "descripton"),
        ({"foo": 1}, "foo"),
        ({"description": 5}, "description"),
        ({"schema": 5}, "schema"),
        ({"schema": {"type": "strin"}}, "schema.type"),
        ({"schema": {"pattern": "("}}, "schema.pattern"),
        ({"schema": {"$ref": "#/$defs/none"}}, "/$defs/none"),
        ({"schema": {"$ref": "http://localhost/x.json"}}, "schema"),
        ({"schema": {"properties": {"a": {"$ref": "file:///etc/passwd"}}}}, "schema"),
        ({"schema": {"$ref": "other.json"}}, "schema"),
        ({"schema": {"$schema": "http://example.com/mine"}}, "schema"),
        ({"searchable": ["title"]}, "searchable"),
        ({"searchable": {"title": 0}}, "searchable.title"),
        ({"searchable": {"title": True}}, "searchable.title"),
        ({"composed_of": "note"}, "composed_of"),
        ({"composed_of": ["note", "A b"]}, "composed_of[1]"),
        ({"max_depth": -1}, "max_depth"),
        ({"max_depth": 1.5}, "max_depth"),
    ],
)
def test_an_invalid_definition_is_refused(driver, definition, place):
    with pytest.raises(Invalid) as caught:
        driver.define("x", definition)
    assert "'x'" in caught.value.message
    assert place in caught.value.message
    with pytest.raises(NotFound):
        driver.definition("x")


def test_a_definition_that_is_not_an_object_is_malformed(driver):
    for text in (b"", b"[]", b"{", b'{"description":"a","description":"b"}'):
        with pytest.raises(Malformed):
            driver.define("x", text)
    with pytest.raises(Malformed):
        driver.define("X", {})


def test_an_unknown_type_is_not_found(driver):
    with pytest.raises(NotFound) as caught:
        driver.definition("pge")
    assert "page" in caught.value.hint


def test_a_new_definition_applies_to_later_writes(driver):
    driver.create("note", "old", {"n": 1})
    driver.define("note", {"schema": {"required": ["title"]}})
    assert driver.get("old").content == b'{"n": 1}'
    with pytest.raises(Invalid, match="title"):
        driver.create("note", "", {"n": 1})
    with pytest.raises(Invalid, match="title"):
        driver.update("old", 0, {"n": 2})
    driver.update("old", 0, {"n": 2, "title": "x"})


def test_formats_and_local_references_are_checked(driver):
    schema = {"$defs": {"mail": {"type": "string", "format": "email"}}, "properties": {"to": {"$ref": "#/$defs/mail"}}}
    driver.define("letter", {"schema": schema})
    driver.create("letter", "", {"to": "a@example.com"})
    with pytest.raises(Invalid, match=r"\$\.to"):
        driver.create("letter", "", {"to": "nobody"})


def test_a_recursive_schema_terminates(driver):
    driver.define("loop", {"schema": {"allOf": [{"$ref": "#"}], "properties": {"a": {"$ref": "#"}}}})
    driver.create("loop", "", {"a": {"a": {"a": {}}}})


def test_a_type_without_snippets_is_deleted(driver, open_store):
    driver.define("draft", {"unique": ["path"]})
    driver.delete_type("draft")
    with pytest.raises(NotFound):
        driver.definition("draft")
    with pytest.raises(NotFound):
        driver.delete_type("draft")
    with pytest.raises(NotFound):
        driver.page("draft", "", 10)
    with pytest.raises(Invalid, match="draft"):
        driver.create("draft", "", {})
    driver.close()
    assert [name for name, _ in open_store().definitions()] == ["note", "page"]


def test_a_type_that_has_snippets_is_not_deleted(driver):
    driver.define("draft", {})
    driver.create("draft", "first", {})
    with pytest.raises(Conflict, match="1 snippet;") as caught:
        driver.delete_type("draft")
    assert "reed snippet list --type draft" in caught.value.hint
    driver.create("draft", "", {})
    driver.delete("first", False)
    with pytest.raises(Conflict, match="1 snippet;"):
        driver.delete_type("draft")
    assert driver.definition("draft").definition == b"{}"


def test_a_write_and_the_deletion_of_its_type_take_effect_in_their_order(driver):
    driver.define("draft", {})
    driver.create("draft", "first", {})
    answers = [driver.start("delete", "first", False), driver.start("delete_type", "draft")]
    late = driver.start("create", "draft", "late", {})
    driver.settle()
    assert [answer.errors for answer in answers] == [[], []]
    assert isinstance(late.error, Invalid)


def test_a_deleted_type_may_be_defined_again_with_other_fields(driver):
    driver.define("draft", {"unique": ["path"], "schema": {"required": ["path"]}})
    driver.create("draft", "first", {"path": "a"})
    driver.delete("first", False)
    driver.delete_type("draft")
    assert driver.define("draft", {"indexed": ["path"]}) is True
    driver.create("draft", "first", {"path": "b"})
    driver.create("draft", "second", {"path": "b"})
    driver.create("draft", "third", {})
    found = driver.find("draft", {"path": "b"}, "", 10)
    assert [record.semantic_name for record in found.records] == ["first", "second"]
