"""Forms: what a browser sends back for a form that nobody touched is the content itself, to the digit."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reed.store.types import compile_type
from reed.web.form_page import placed
from reed.web.form_schema import Kind
from reed.web.forms import ORIGIN, Field, content_of, form, rearranged
from reed.wire.exact_json import ABSENT, Number, dumps, loads
from tests.wire.test_exact_json import SCALARS, TEXTS, VALUES

KEYS = st.sampled_from(["a", "b", "title", "body", "a/b", "a~b", "", "a.b", "0"]) | TEXTS
CONTENTS = st.dictionaries(KEYS, VALUES, max_size=6)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "number", "integer", "boolean", "null", "object", "array"])
            | st.lists(st.sampled_from(["string", "null", "number"]), min_size=1, max_size=2, unique=True),
            "format": st.sampled_from(["date", "date-time", "email"]),
            "enum": st.lists(SCALARS, min_size=1, max_size=3),
            "default": VALUES,
            "maxLength": st.sampled_from([Number("5"), Number("5000")]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array"]),
            "properties": st.dictionaries(KEYS, inner, max_size=4),
            "required": st.lists(KEYS, max_size=3),
            "items": inner,
            "additionalProperties": inner | st.booleans(),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "$ref": st.sampled_from(["#", "#/properties/a", "#/nowhere", "elsewhere"]),
        },
    ),
    max_leaves=8,
)


def sent(field: Field) -> dict[str, str]:
    """What a browser sends for the form."""
    found = {}
    for each in field.walk():
        if each.is_item:
            found[ORIGIN + each.pointer] = each.origin
        if each.kind not in {Kind.OBJECT, Kind.ARRAY}:
            found[each.pointer] = as_sent(each)
    return found


def as_sent(field: Field) -> str:
    text = field.text.replace("\0", "\ufffd")
    if field.kind in {Kind.LONG, Kind.JSON}:
        return re.sub(r"\r\n|\r|\n", "\r\n", text)
    if field.options:
        values = [value for value, _ in field.options]
        return text if text in values else values[0]
    if field.kind == Kind.DATE:
        return text if re.fullmatch(r"\d{4}-\d\d-\d\d", text) and date.fromisoformat(text) else ""
    return re.sub(r"[\r\n]", "", text)


def saved(definition: object, content: object, changes: dict[str, str]) -> object:
    """The content after a person typed `changes` and sent the form."""
    typed = sent(form(definition, content)) | changes
    value, problems = content_of(form(definition, content, typed))
    assert not problems
    return value


@settings(max_examples=100, deadline=None)
@given(SCHEMAS, CONTENTS)
def test_a_form_that_nobody_touched_gives_the_same_content(schema: object, content: object) -> None:
    shown = form({"schema": schema}, content)
    assert content_of(shown) == (content, {})
    again = form({"schema": schema}, content, sent(shown))
    value, problems = content_of(again)
    assert (dumps(value), problems) == (dumps(content), {})


@settings(max_examples=100, deadline=None)
@given(SCHEMAS, CONTENTS, st.data())
def test_an_array_whose_items_went_there_and_back_is_the_same(
    schema: object, content: dict, data: st.DataObject
) -> None:
    shown = form({"schema": schema}, content)
    items = [each for each in shown.walk() if each.is_item]
    typed = sent(shown)
    if items:
        item = data.draw(st.sampled_from(items)).pointer
        moved, target = rearranged(typed, f"down:{item}")
        if target != item:
            typed, back = rearranged(sent(form({"schema": schema}, content, moved)), f"up:{target}")
            assert back == item
    assert content_of(form({"schema": schema}, content, typed)) == (content, {})


@settings(max_examples=100, deadline=None)
@given(CONTENTS, TEXTS)
def test_one_change_changes_one_value(content: dict, text: str) -> None:
    content = content | {"title": "before"}
    clean = re.sub(r"[\r\n]", "", text)
    expected = content | {"title": clean}
    if not clean:
        del expected["title"]
    assert saved({}, content, {"/title": clean}) == expected


PAGE = loads("""{"schema": {"type": "object", "required": ["title"], "properties": {
    "title": {"type": "string", "minLength": 1, "maxLength": 60, "title": "Title", "description": "Of the page"},
    "draft": {"type": "boolean"}, "rating": {"type": "integer", "minimum": 1, "maximum": 5},
    "state": {"enum": ["new", "done", 3]}, "day": {"type": "string", "format": "date"},
    "keywords": {"type": "array", "items": {"type": "string"}},
    "author": {"$ref": "#/$defs/person"}, "extra": {"anyOf": [{"type": "string"}, {"type": "array"}]},
    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
    "$defs": {"person": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
      "age": {"type": "number", "default": 1.0}}}}}, "searchable": {"title": 3, "body": 1}}""")


def fields(content: object = ABSENT) -> dict[str, Field]:
    return {each.pointer: each for each in form(PAGE, content).walk()}


def test_each_kind_of_schema_has_its_control() -> None:
    kinds = {pointer: field.kind.value for pointer, field in fields().items()}
    assert kinds == {
        "": "object",
        "/title": "text",
        "/draft": "boolean",
        "/rating": "number",
        "/state": "enum",
        "/day": "date",
        "/keywords": "array",
        "/author": "object",
        "/author/name": "text",
        "/author/age": "number",
        "/extra": "json",
        "/note": "text",
        "/body": "long",
    }


def test_a_field_says_what_its_schema_says() -> None:
    found = fields()
    assert (found["/title"].label, found["/title"].description) == ("Title", "Of the page")
    assert found["/title"].is_required
    assert not found["/body"].is_required
    assert found["/title"].rules == ("1 to 60 characters",)
    assert found["/rating"].rules == ("1 to 5", "a whole number")
    assert [label for _, label in found["/state"].options] == ["–", "new", "done", "3"]


def test_a_new_content_has_the_defaults_of_its_schema_and_an_old_one_does_not() -> None:
    assert fields()["/author/age"].text == "1.0"
    assert saved(PAGE, ABSENT, {"/title": "T"}) == {"title": "T", "author": {"age": Number("1.0")}}
    assert saved(PAGE, {"title": "T"}, {}) == {"title": "T"}


def test_values_are_read_as_their_schema_says() -> None:
    typed = {"/draft": "true", "/rating": " 12345678901234567890 ", "/state": "3", "/extra": "[1.0]", "/note": "x"}
    assert saved(PAGE, {}, typed) == loads(
        '{"draft": true, "rating": 12345678901234567890, "state": 3, "extra": [1.0], "note": "x"}'
    )


def test_keys_that_the_schema_does_not_know_are_kept_and_can_be_edited() -> None:
    content = loads('{"z": {"deep": [1, "two", null]}, "title": "T", "count": 1.50}')
    assert dumps(saved(PAGE, content, {"/title": "U"})) == dumps(content).replace('"T"', '"U"')
    assert saved(PAGE, content, {"/count": "2"})["count"] == Number("2")


def test_an_empty_optional_field_removes_the_member_and_an_empty_required_text_stays() -> None:
    content = {"title": "T", "day": "2026-01-01", "rating": Number("3")}
    assert saved(PAGE, content, {"/title": "", "/day": "", "/rating": ""}) == {"title": ""}


def test_what_cannot_be_read_is_a_problem_of_its_field() -> None:
    content = {"title": "T"}
    typed = sent(form(PAGE, content)) | {"/rating": "1,5", "/extra": '{"a": '}
    value, problems = content_of(form(PAGE, content, typed))
    assert value == content
    assert problems["/rating"] == ["this is no number; write it like 1234.5"]
    assert "line 1 column" in problems["/extra"][0]
    shown = {each.pointer: each.text for each in form(PAGE, content, typed).walk()}
    assert (shown["/rating"], shown["/extra"]) == ("1,5", '{"a": ')  # what was typed is shown again


def test_items_are_added_removed_and_moved_with_what_the_form_does_not_show() -> None:
    content = loads('{"authors": [{"name": "A", "x": 1.0}, {"name": "B", "tags": ["t"]}, {"name": "C"}]}')
    typed = sent(form({}, content))
    typed, target = rearranged(typed, "up:/authors/2")
    assert target == "/authors/1"
    typed, target = rearranged(sent(form({}, content, typed)), "remove:/authors/0")
    assert target == "/authors/0"
    typed, target = rearranged(sent(form({}, content, typed)), "add:/authors/1/tags")
    typed = sent(form({}, content, typed)) | {target: "new", "/authors/0/name": "C2"}
    value, _ = content_of(form({}, content, typed))
    assert value == loads('{"authors": [{"name": "C2"}, {"name": "B", "tags": ["t", "new"]}]}')


def test_a_new_item_that_stays_empty_is_left_out() -> None:
    typed, target = rearranged(sent(form(PAGE, {"title": "T"})), "add:/keywords")
    assert target == "/keywords/0"
    assert content_of(form(PAGE, {"title": "T"}, typed)) == ({"title": "T"}, {})


def test_lines_end_as_they_did_before() -> None:
    content = {"body": "one\r\ntwo", "text": "one\ntwo"}
    typed = {"/body": "one\r\n2", "/text": "one\r\n2"}
    assert saved({}, content, typed) == {"body": "one\r\n2", "text": "one\n2"}


def test_a_large_array_and_a_schema_without_end_are_edited_as_json() -> None:
    many = form({}, {"many": [Number(str(n)) for n in range(300)]})
    assert [each.kind for each in many.walk()] == [Kind.OBJECT, Kind.JSON]
    node = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    assert len(list(form({"schema": node}, ABSENT).walk())) < 20


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"title": "T", "keywords": ["a", 3]}', {"/keywords/1": '3 is not of type "string"'}),
        ('{"keywords": []}', {"/title": "is required"}),
        ('{"title": "T", "author": {}}', {"/author/name": "is required"}),
        (
            '{"title": "T", "author": {"name": "; $.title: no"}, "rating": "x"}',
            {"/rating": '"x" is not of type "integer"'},
        ),
        ('{"title": "T", "day": "2026-13-01"}', {"/day": '"2026-13-01" is not a "date"'}),
        (
            '{"title": "T", "extra": 1}',
            {"/extra": "1 is not valid under any of the schemas listed in the 'anyOf' keyword"},
        ),
    ],
)
def test_what_the_core_refuses_is_said_at_its_field(content: str, expected: dict[str, str]) -> None:
    type_ = compile_type("page", dumps(PAGE).encode())
    problems = type_.schema.problems(loads_plain(content))
    message = str(type_.unfit(problems))
    assert placed(form(PAGE, loads(content)), message) == {at: [text] for at, text in expected.items()}


def loads_plain(text: str) -> object:
    import json

    return json.loads(text)


def test_keys_with_dots_and_members_that_are_not_permitted_are_found() -> None:
    definition = loads(
        '{"schema": {"properties": {"a": {"type": "object"}, "a.b": {"properties": {"c: d": {"type": "string"}}}},'
        ' "additionalProperties": false}}'
    )
    content = loads('{"a": {}, "a.b": {"c: d": 1}, "q": 2}')
    message = (
        "the content does not fit its type 'page': $.a.b.c: d: 1 is not of type \"string\"; $: Additional "
        "properties are not allowed ('q' was unexpected)"
    )
    assert placed(form(definition, content), message) == {
        "/a.b/c: d": ['1 is not of type "string"'],
        "/q": ["is not permitted by the type"],
    }


def test_other_errors_are_those_of_the_whole_content() -> None:
    shown = form(PAGE, {"title": "T"})
    assert placed(shown, "the filter of checker refused it") == {"": ["the filter of checker refused it"]}
    unique = "title is unique among snippets of type 'page': \"T\" is the value of home; choose another value"
    assert placed(shown, unique) == {"/title": [unique]}
