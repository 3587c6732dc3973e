"""The cost of a schema: one that is too heavy is refused before it is compiled."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.errors import Invalid
from reed.store.schema_cost import MAX_WEIGHT, nodes_of, weigh

NAMES = st.sampled_from("abcde")
PLAIN = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"enum": ["a", "b"]}, {"minLength": 2, "maxLength": 9}]),
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=4).map(lambda found: {"type": "object", "properties": found}),
        inner.map(lambda found: {"items": found, "maxItems": 5}),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found}),
    ),
    max_leaves=12,
)


def doubled(levels: int) -> dict:
    definitions = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": {**definitions, f"l{levels}": {"type": "string"}}}


def count(schema: object) -> int:
    """The schemas in one without references."""
    if not isinstance(schema, dict):
        return 0
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    return 1 + sum(map(count, inner + ([schema["items"]] if "items" in schema else [])))


@given(PLAIN)
def test_a_schema_without_references_weighs_as_many_as_it_has_schemas(schema):
    cost = weigh("type 'x'", schema)
    assert cost.weight == count(schema)
    assert cost.is_bounded
    assert not cost.has_pattern


@pytest.mark.parametrize("levels", range(14, 60, 5))
def test_doubled_references_are_refused_at_once(levels):
    """Expanded they are 2 to the power of their levels; the time to find that out grows with their levels only."""
    with pytest.raises(Invalid):
        weigh("type 'x'", doubled(levels))


def test_a_schema_just_within_the_limit_is_accepted():
    wide = {"properties": {f"p{n}": {} for n in range(MAX_WEIGHT - 1)}}
    assert weigh("type 'x'", wide).weight == MAX_WEIGHT
    wide["properties"]["one more"] = {}
    with pytest.raises(Invalid):
        weigh("type 'x'", wide)


def test_definitions_that_nothing_refers_to_weigh_nothing():
    assert weigh("type 'x'", {"$defs": {"a": {"properties": {"b": {}}}}}).weight == 1


@pytest.mark.parametrize(
    ("schema", "is_bounded"),
    [
        ({"properties": {"children": {"items": {"$ref": "#"}}}}, True),  # a tree by one list
        ({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}, False),
        ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, False),
        ({"unevaluatedProperties": False}, False),
        ({"uniqueItems": True}, False),
        ({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}, False),
        ({"$ref": "#/$defs/missing"}, False),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {}}}, True),
        ({"somethingNew": {"a": 1}}, False),
        (True, True),
    ],
)
def test_what_cannot_be_told_beforehand_is_not_bounded(schema, is_bounded):
    assert weigh("type 'x'", schema).is_bounded is is_bounded


def test_each_object_of_an_enum_is_compared():
    assert weigh("type 'x'", {"enum": [{"n": n} for n in range(1000)]}).weight > 1000
    assert weigh("type 'x'", {"enum": [f"{n}" for n in range(1000)]}).weight == 1


@pytest.mark.parametrize("schema", [{"pattern": "^a"}, {"properties": {"x": {"patternProperties": {"^a": {}}}}}])
def test_a_pattern_allows_short_contents_only(schema):
    cost = weigh("type 'x'", schema)
    assert cost.fits_loop(b'{"x": "' + b"a" * 1000 + b'"}')
    assert not cost.fits_loop(b'{"x": "' + b"a" * 5000 + b'"}')


PAGE = {"properties": {"title": {"type": "string"}, "body": {"type": "string"}, "tags": {"items": {}}}}


def content(size: int, nodes: int = 1) -> bytes:
    return b'{"body": "' + b"," * (nodes - 2) + b"a" * (size - nodes - 10) + b'"}'


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        (PAGE, content(130_000, nodes=2000), True),  # a long page
        (PAGE, content(130_000, nodes=4500), False),
        (PAGE, content(300_000), False),
        ({"allOf": [PAGE, PAGE, PAGE]}, content(130_000), False),  # each of its schemas may read the text
        ({"allOf": [PAGE, PAGE, PAGE]}, content(60_000), True),
        ({**PAGE, "unevaluatedProperties": False}, content(130_000), False),
        ({"properties": {"body": {"pattern": "^a"}}}, content(130_000), False),
    ],
)
def test_a_long_text_with_few_nodes_is_validated_in_the_loop(schema, text, fits):
    assert weigh("type 'x'", schema).fits_loop(text) is fits


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_nodes_are_at_least_the_values(value):
    def values(part: object) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return 1 + sum(map(values, inner))

    assert nodes_of(json.dumps(value).encode()) >= values(value) - 1
